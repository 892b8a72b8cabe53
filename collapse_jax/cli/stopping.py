"""How a command ends that is stopped from outside, whatever it is doing: importing, compiling, drawing.

No package is imported here, so that it can be said before the first is. A run under way has better manners (see
`runs.shards`): it goes to its next checkpoint first.
"""

import contextlib
import os
import signal
import sys
from typing import Any

STOPPED = 75  # the system's code for "try again later"
_SENTENCE = (
    "collapse-jax: stopped by a signal; what a run had finished is on disk: go on with collapse-jax resume, or begin "
    "again where there was nothing yet.\n"
)


def stop_at_once() -> None:
    """From here on SIGTERM, or a terminal that is closed (SIGHUP), ends the process with a sentence and exit code 75.

    A signal that is ignored (nohup) stays so, as does one that somebody else handles.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(*_: Any) -> None:
    """End now: an exception could be caught on its way, and what is on disk is whole at any moment."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # in the midst of a write, or to nobody
            stream.flush()
    try:
        os.write(2, _SENTENCE.encode())
    finally:
        os._exit(STOPPED)
