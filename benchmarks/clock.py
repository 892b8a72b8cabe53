"""A limit of time on a piece of work."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN = 5.0  # seconds after which it is raised again, where a library has swallowed it


class TimeIsUp(Exception):
    """The work took as long as it was given."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUp` in what runs inside once the seconds are over; of limits inside each other the nearest holds.

    Work in a compiled library is ended when it comes back to Python. Only the main thread can be ended so.
    """
    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield
        return
    if seconds <= 0:
        raise TimeIsUp("no time was left for it")
    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, _end)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    if outer and outer < seconds:
        signal.setitimer(signal.ITIMER_REAL, outer, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - begun), 1e-3), _AGAIN)


def _end(*_: object) -> None:
    raise TimeIsUp("it took longer than there was time for")
