"""The records of a run under way: a file for each segment of each shard of seeds, in a folder.

    LABEL-FIRST-LAST.npz    arrays [num_seeds, num_recorded, ...] of generations FIRST to LAST
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from collapse_jax.drivers.results import Records
from collapse_jax.files.arrays import Damaged, load_arrays, save_arrays

_NAME = re.compile(r"(?P<label>.+)-(?P<first>\d{8})-(?P<last>\d{8})\.npz")


class RecordFiles:
    """A folder of records; what reads it goes by generations, not by files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, label: str, start: int, stop: int, records: Records, every: int = 1) -> None:
        """Write one segment's records durably; what other files hold of the same generations goes.

        Such files are what a run left that was killed between its records and its state, and then went on from an
        older state by other steps.

        Args:
            label: of the shard.
            start: the first generation that it covers.
            stop: the last one.
            records: arrays [num_seeds, num_recorded, ...].
            every: generations 0, k, 2k, ... are recorded.
        """
        self._write(label, start, stop, records)
        for path, first, last in self._of(label):
            if last < start or first > stop or (first, last) == (start, stop):
                continue
            if first < start:  # its beginning is still needed
                with contextlib.suppress(Damaged):
                    held, _ = load_arrays(path)
                    num = (start - 1) // every - (first - 1) // every
                    head = {name: array[:, :num] for name, array in held.items()}
                    self._write(label, first, start - 1, head)
            path.unlink()

    def segments(self, label: str) -> list[Records]:
        """Return a shard's records, segment by segment, up to the first that is not there or damaged."""
        return [records for _, records in self.readable(label)]

    def reached(self, label: str) -> int:
        """Return the generation up to which a shard's records are there, from generation 0 on; -1 for none."""
        return max((stop for stop, _ in self.readable(label)), default=-1)

    def damaged_after(self, label: str, reached: int) -> list[Path]:
        """Return the files that should go on where a shard's whole records end, at generation `reached`."""
        return [path for path, first, _ in self._of(label) if first == reached + 1]

    def readable(self, label: str) -> Iterator[tuple[int, Records]]:
        """Yield the last generation and the records of file after file, from generation 0 on.

        Of several that begin where the last ended, the longest whole one.
        """
        files, reached = self._of(label), -1
        while True:
            following = sorted(((last, path) for path, first, last in files if first == reached + 1), reverse=True)
            for last, path in following:
                if (records := self._read(path, reached + 1, last)) is not None:
                    yield last, records
                    reached = last
                    break
            else:
                return

    def _of(self, label: str) -> list[tuple[Path, int, int]]:
        """Return a shard's files with the first and the last generation that their names say."""
        found = [(path, _NAME.fullmatch(path.name)) for path in self.folder.glob(f"{label}-*.npz")]
        return sorted((path, int(name["first"]), int(name["last"])) for path, name in found if name is not None)

    def _read(self, path: Path, first: int, last: int) -> Records | None:
        """Return what a file holds; None where it is damaged, or not of the generations that its name says."""
        try:
            records, about = load_arrays(path)
        except Damaged:
            return None
        return records if (about.get("first"), about.get("last")) == (first, last) else None

    def _write(self, label: str, first: int, last: int, records: Records) -> None:
        path = self.folder / f"{label}-{first:08d}-{last:08d}.npz"
        save_arrays(path, records, {"first": first, "last": last})
