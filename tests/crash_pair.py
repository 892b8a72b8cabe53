"""One of two processes of a run, which keeps every state of the directory; started by `test_crash_points`.

    python crash_pair.py FOLDER NUMBER PORT
"""

import os
import sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 1)  # before anything is computed

import crash_studies  # noqa: E402
from crash_points import CrashPoints  # noqa: E402

from collapse_jax.processes import join_processes  # noqa: E402
from collapse_jax.runs import execute, resume  # noqa: E402
from collapse_jax.studies.registry import STUDIES, Study  # noqa: E402

CONFIG = crash_studies.Config(generations=6, seeds=4)


def run(folder: Path, number: int, port: int) -> None:
    """Begin, or go on."""
    STUDIES["crashing"] = Study("crashing", "of two processes", {"smoke": CONFIG}, "crash_studies")
    place, path = join_processes(f"127.0.0.1:{port}", 2, number), folder / "run"
    if (path / "config.json").is_file():
        assert resume(path, on_progress=lambda progress: None, place=place)
        return
    with CrashPoints(path, folder / f"points{number}", folder / "turn"):
        execute(
            STUDIES["crashing"], CONFIG, path, preset="smoke", command="a command", overwrite=False,
            on_progress=lambda progress: None, place=place,
        )  # fmt: skip


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    os._exit(0)  # the other may have ended already
