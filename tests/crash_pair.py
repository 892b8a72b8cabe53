"""One of two processes of a run, which keeps every state of the directory; started by `test_crash_points`.

    python crash_pair.py FOLDER NUMBER PORT
"""

import os
import sys
from pathlib import Path

import jax


def run(folder: Path, number: int, port: int) -> None:
    """Begin, or go on."""
    jax.config.update("jax_num_cpu_devices", 1)  # before anything is computed, at import as well
    import crash_studies
    from crash_points import CrashPoints

    from collapse_jax.runs.execute import execute, resume
    from collapse_jax.runs.job import Job
    from collapse_jax.runs.processes import join_processes
    from collapse_jax.studies.registry import STUDIES, Entry

    config = crash_studies.Config(generations=6, seeds=4)
    STUDIES["crashing"] = Entry("crashing", "of two processes", {"smoke": config}, "crash_studies")
    place, path = join_processes(f"127.0.0.1:{port}", 2, number), folder / "run"
    if (path / "config.json").is_file():
        assert resume(path, on_progress=lambda progress: None, place=place)
        return
    with CrashPoints(path, folder / f"points{number}", folder / "turn"):
        job = Job(STUDIES["crashing"], config, path, "smoke", "a command")
        execute(job, on_progress=lambda progress: None, place=place)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    os._exit(0)  # the other may have ended already
