"""A language model in parts over real processes: it computes what one process does, and goes on after a kill."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "spanning.py"


def _started(folder, generations, processes=1, devices=1):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parent.parent)])
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": where}
    return [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *map(str, (generations, processes, number, port, devices))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for number in range(processes)
    ]  # fmt: skip


def _ended(running):
    """Return what each process says at its end."""
    said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def _close(rows, others):
    """The same tokens, and losses to the rounding of sums over devices: 1e-5 of numbers near 3, of 1,000 terms."""
    for row, other in zip(rows, others, strict=True):
        assert row["texts"] == other["texts"]
        for name in ("loss", "validation_loss"):
            np.testing.assert_allclose(row[name], other[name], atol=1e-5)


def test_a_model_spans_processes_and_goes_on_after_a_kill(tmp_path):
    """Two processes compute what one does; killed after a generation, they go on to the same bits; so does one."""
    (alone,) = _ended(_started(tmp_path / "alone", 2))
    one, other = _ended(_started(tmp_path / "both", 2, processes=2))
    assert one == other
    _close(one["rows"], alone["rows"])
    assert sum(one["weights"]) < 0.6 * sum(one["whole"]) and alone["weights"] == alone["whole"]

    killed = _started(tmp_path / "killed", 60, processes=2)
    assert killed[0].stdout is not None
    while killed[0].stdout.readline().split() != ["generation", "1"]:
        assert killed[0].poll() is None
    for process in killed:
        process.kill()
        process.communicate()
    for path in (tmp_path / "killed").glob("*"):  # whatever it still managed to write after that generation
        if "gen00000001" not in path.name:
            shutil.rmtree(path)
    shutil.copytree(tmp_path / "killed", tmp_path / "elsewhere")

    again, _ = _ended(_started(tmp_path / "killed", 2, processes=2))
    assert (again["resumed"], again["damaged"]) == (1, 0) and again["rows"] == one["rows"][2:]
    (elsewhere,) = _ended(_started(tmp_path / "elsewhere", 2, devices=2))
    assert elsewhere["resumed"] == 1
    _close(elsewhere["rows"], one["rows"][2:])


_RUN = [
    "run",
    "opt",
    "--preset",
    "smoke",
    "--num-samples",
    "8",
    "--num-evaluated",
    "8",
    "--seeds",
    "1",
    "--spread",
    "weights",
    "--arms",
]


def _command(arguments, folder):
    """Start a command line in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_COMPILATION_CACHE_DIR": str(folder)}
    program = [sys.executable, "-m", "collapse_jax.cli", *arguments, *job]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment}
    return [subprocess.Popen([*program, str(number)], **quiet) for number in range(2)]


def _codes(running):
    said = [process.communicate(timeout=400)[1] for process in running]
    return [process.returncode for process in running], [text[-500:] for text in said]


def test_one_process_asked_to_stop_stops_both_and_they_go_on_to_the_same_bits(tmp_path):
    """SIGTERM to the second of two: both leave with 75 after a piece; what `resume` ends with is the whole run's."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _codes(_command([*_RUN, "A1 sample", "--out", str(whole)], tmp_path / "cache"))[0] == [0, 0]
    running = _command([*_RUN, "A1 sample", "--out", str(cut)], tmp_path / "cache")
    while not list((cut / "checkpoints").glob("arm*-piece-*.orbax")):
        assert running[1].poll() is None, running[1].communicate()
        time.sleep(0.05)
    running[1].terminate()
    codes, said = _codes(running)
    assert codes == [75, 75], said
    codes, said = _codes(_command(["resume", str(cut)], tmp_path / "cache"))
    assert codes == [0, 0], said
    one, other = (xr.load_dataset(path / "trajectory.nc", engine="h5netcdf") for path in (whole, cut))
    xr.testing.assert_identical(one, other)
