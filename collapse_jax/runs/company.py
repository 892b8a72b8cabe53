"""The processes of one run hear of each other's ends by files in its directory: none waits for one that is gone.

    .part-process-N    a number that process N counts up while it lives
    .part-ending       who ends the run, and why: "stopped", "interrupted" or "failed"

Whoever hears that the run ends stops at the next checkpoint. Who cannot come there in time (a long segment, a meeting
to which somebody will not come any more) is ended by a thread: what was finished is on disk, and a kill loses
nothing. What an earlier company left is removed with all other parts by whoever prepares the directory.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from collapse_jax.files.writing import PART, write_atomically
from collapse_jax.runs.processes import Place

_BEAT = 1.0  # seconds between two signs of life
_SILENCE = 15.0  # seconds without one after which a process is gone
_GRACE = 15.0  # seconds in which a process must come to an end that another one asked for
_FAILED = "another process failed, see what it says"
CODES = {"stopped": 75, "interrupted": 130, "failed": 75}


class Company:
    """Within it the processes of a run watch each other; a process alone watches nobody.

    Args:
        folder: the run directory, which all processes see.
        place: of this process.
        leave: (exit code, sentence) -> never returns; ends the process from the watching thread.
    """

    def __init__(self, folder: Path, place: Place, leave: Callable[[int, str], None] | None = None) -> None:
        self.folder, self.place = folder, place
        self._leave = leave or _leave
        self._over = threading.Event()
        self._is_mine = False  # the end that all come to
        self._is_told = True  # where it could not be told, the sign of life stays, and stands still

    def __enter__(self) -> "Company":
        if self.place.num_processes > 1:
            self._beat(0)
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.place.num_processes > 1 and self._is_told:
            self._sign(self.place.number).unlink(missing_ok=True)

    def end(self, why: str) -> None:
        """Tell the others to end, "stopped", "interrupted" or "failed"; who told it first is right."""
        if self.place.num_processes > 1 and not self.asked:
            self._is_mine = True
            try:
                told = f"{why} {self.place.number}"
                write_atomically(self._ending, lambda part: part.write_text(told, encoding="utf-8"))
            except (OSError, ValueError):  # a full disk, say: others hear of it by the silence
                self._is_told = False

    def hear(self) -> None:
        """After a meeting to which somebody did not come: wait for the word why, or until a silence shows who is gone.

        Whoever hears it ends here; who comes back is alone, or is itself the reason.
        """
        until = time.monotonic() + _SILENCE + 3 * _BEAT
        while self.place.num_processes > 1 and not self._is_mine and time.monotonic() < until:
            if self.asked:
                self._leave(*self._word(self.asked))
                return
            time.sleep(_BEAT / 4)

    @property
    def asked(self) -> str:
        """Why the run is to end; "" while it is not."""
        if self.place.num_processes == 1:
            return ""
        told = (_read(self._ending) or "").split()
        return told[0] if told and told[0] in CODES else ""

    @property
    def _ending(self) -> Path:
        return self.folder / f"{PART}ending"

    def _sign(self, number: int) -> Path:
        return self.folder / f"{PART}process-{number}"

    def _beat(self, count: int) -> None:
        try:
            sign = os.open(self._sign(self.place.number), os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.write(sign, b"%020d" % count)  # in place: it needs no room on a disk that is full
            finally:
                os.close(sign)
        except OSError:
            return  # a full disk is the run's own matter

    def _watch(self) -> None:
        others = [number for number in range(self.place.num_processes) if number != self.place.number]
        last: dict[int, tuple[str, float]] = {}
        ending_since, count, before = None, 0, time.monotonic()
        while not self._over.wait(_BEAT):
            count += 1
            self._beat(count)
            now = time.monotonic()
            if now - before > _SILENCE / 3:  # this process was stopped itself, and perhaps all were
                ending_since = None
                last.clear()
            before = now
            for number in others:
                sign = _read(self._sign(number))
                if sign is None:  # not yet there, or ended as it should
                    last.pop(number, None)
                    continue
                if number not in last or sign != last[number][0]:
                    last[number] = sign, now
                elif now - last[number][1] > _SILENCE:
                    self._leave(75, self._sentence(f"process {number} of {self.place.num_processes} is gone"))
                    return
            why = self.asked
            if why and not (self._is_mine and why == "failed"):  # who failed says so itself
                ending_since = ending_since or now
                if now - ending_since > _GRACE:
                    self._leave(*self._word(why))
                    return

    def _word(self, why: str) -> tuple[int, str]:
        by = "" if self._is_mine else " by another process"
        return CODES[why], self._sentence(f"the run was {why}{by}" if why != "failed" else _FAILED)

    def _sentence(self, what: str) -> str:
        return f"{what}; what was finished is on disk: go on with collapse-jax resume {self.folder}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _leave(code: int, sentence: str) -> None:
    print(f"collapse-jax: {sentence}", file=sys.stderr, flush=True)
    os._exit(code)
