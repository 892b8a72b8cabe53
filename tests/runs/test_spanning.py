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

PROGRAM = Path(__file__).parents[1] / "spanning.py"


def _port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _environment(cache):
    """That of the tests; the processes of one test compile a program once."""
    cached = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, **cached}


def _started(folder, generations, processes=1, devices=1):
    port = _port()
    where = os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parent.parent)])
    environment = {**_environment(folder.parent / "cache"), "PYTHONPATH": where}
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


@pytest.fixture
def fully_optimised(monkeypatch):
    """Programs as users compile them."""
    monkeypatch.setenv("XLA_FLAGS", "")


@pytest.mark.heavy
@pytest.mark.usefixtures("fully_optimised")
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


_SMALL = ["run", str(PROGRAM.with_name("spanning_study.py"))]
_FEW = ["--num-samples", "8", "--num-evaluated", "8", "--seeds", "1"]
_OPT = ["run", "opt", "--preset", "smoke", *_FEW, "--spread", "weights", "--arms", "A1 sample"]


def _command(arguments, folder, processes=2):
    """Start a command line in some processes."""
    job = ["--coordinator", f"127.0.0.1:{_port()}", "--num-processes", str(processes), "--process-id"]
    jobs = [[*job, str(number)] for number in range(processes)] if processes > 1 else [[]]
    program = [sys.executable, "-m", "collapse_jax.cli.main", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": _environment(folder)}
    return [subprocess.Popen([*program, *job], **quiet) for job in jobs]


def _codes(running):
    said = [process.communicate(timeout=400)[1] for process in running]
    return [process.returncode for process in running], [text[-500:] for text in said]


def _stopped(run, folder):
    """Run in two processes to the end in `whole`; in `cut` until the second is asked to stop, and on from there."""
    whole, cut, cache = (folder / name for name in ("whole", "cut", "cache"))
    codes, said = _codes(_command([*run, "--out", str(whole)], cache))
    assert codes == [0, 0], said
    running = _command([*run, "--out", str(cut)], cache)
    while not list((cut / "checkpoints").glob("arm*-piece-*.orbax")):
        assert running[1].poll() is None, running[1].communicate()
        time.sleep(0.05)
    running[1].terminate()
    codes, said = _codes(running)
    assert codes == [75, 75], said
    codes, said = _codes(_command(["resume", str(cut)], cache))
    assert codes == [0, 0], said
    return (xr.load_dataset(path / "trajectory.nc", engine="h5netcdf") for path in (whole, cut))


@pytest.mark.heavy
def test_one_process_asked_to_stop_stops_both_and_they_go_on_to_the_same_bits(tmp_path):
    """SIGTERM to the second of two: both leave with 75 after a piece; what `resume` ends with is the whole run's.

    Which is that of one process, to the rounding of sums over devices.
    """
    whole, cut = _stopped(_SMALL, tmp_path)
    xr.testing.assert_identical(whole, cut)
    codes, said = _codes(_command([*_SMALL, "--out", str(tmp_path / "alone")], tmp_path / "cache", processes=1))
    assert codes == [0], said
    alone = xr.load_dataset(tmp_path / "alone" / "trajectory.nc", engine="h5netcdf")
    xr.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5)
    assert float(abs(alone["rows"]).mean()) > 0.1


@pytest.mark.heavy
@pytest.mark.usefixtures("fully_optimised")
def test_processes_of_the_language_study_are_stopped_alike(tmp_path):
    """The shipped model, by the study's own pieces."""
    xr.testing.assert_identical(*_stopped(_OPT, tmp_path))
