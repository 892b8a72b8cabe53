"""Errors of one line, and the test that each must fail: what the suite may not lose when it is cut.

    make mutants [ARGS='drivers metrics/text']

`mutants.toml` lists them: file, line (which occurs there once), the error in its place, the test. A copy of the package
gets one error at a time, and its test must fail. Exit code 1 if one does not, if a test is not part of `make test`, or
if it fails without the error.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
MARKS = os.environ.get("MARKS", "not long and not heavy and not parity")
LIMIT = 300  # seconds
FAILED, DESELECTED = 1, 5  # exit codes of pytest


class Mutant(NamedTuple):
    """One error.

    Attributes:
        file: of the package.
        line: as it stands there, without its indentation.
        error: what stands in its place.
        test: that must fail.
    """

    file: str
    line: str
    error: str
    test: str

    def spoil(self, text: str) -> str:
        """Return the file's text with the error.

        Raises:
            ValueError: the line does not occur, or more than once.
        """
        lines = text.splitlines(keepends=True)
        found = [place for place, line in enumerate(lines) if line.strip() == self.line]
        if len(found) != 1:
            raise ValueError(f"{self.file} has the line {self.line!r} {len(found)} times; mend tests/mutants.toml.")
        lines[found[0]] = lines[found[0]].replace(self.line, self.error)
        return "".join(lines)


def mutants() -> list[Mutant]:
    """Return all of them."""
    told = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    return [Mutant(**mutant) for mutant in told["mutant"]]


def copied(folder: Path) -> Path:
    """Return a copy of the package and its tests; compiled programs are shared with the repository's."""
    for name in ("collapse_jax", "tests", "docs", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, folder / name)
    (ROOT / ".jax_cache").mkdir(exist_ok=True)
    (folder / ".jax_cache").symlink_to(ROOT / ".jax_cache")
    return folder


def tried(tests: list[str], folder: Path) -> int:
    """Return pytest's exit code for some tests in a copy; FAILED for one that takes too long."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", MARKS, *tests]
    paths = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env={**os.environ, **paths}, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


def caught(mutant: Mutant, folder: Path) -> str:
    """Return "caught", or what is wrong."""
    file = folder / mutant.file
    text = file.read_text(encoding="utf-8")
    file.write_text(mutant.spoil(text), encoding="utf-8")
    try:
        code = tried([mutant.test], folder)
    finally:
        file.write_text(text, encoding="utf-8")
    return {FAILED: "caught", 0: "NOT CAUGHT", DESELECTED: "its test is not part of this run"}.get(
        code, f"pytest ends with {code}"
    )


def main(words: list[str]) -> int:
    """Try all mutants whose file has one of the words in its path, two at a time; return the exit code."""
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant.file for word in words)]
    num = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        copies: Queue[Path] = Queue()
        for index in range(num):
            copies.put(copied(Path(place) / str(index)))

        def one(mutant: Mutant) -> str:
            folder = copies.get()
            try:
                return caught(mutant, folder)
            finally:
                copies.put(folder)

        with ThreadPoolExecutor(num) as pool:
            found = []
            for mutant, word in zip(chosen, pool.map(one, chosen)):
                found.append(word)
                print(f"{word:12} {mutant.file}: {mutant.error}   [{mutant.test}]", flush=True)
        whole = tried(sorted({mutant.test for mutant in chosen}), copies.get())
    good = found.count("caught")
    print(f"{good} of {len(found)} caught; without an error their tests {'fail' if whole else 'pass'}")
    return int(good < len(found) or whole != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
