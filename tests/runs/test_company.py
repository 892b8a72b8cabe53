"""Processes of one run: nobody waits for one that is gone, or for an end that somebody else asked for."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.writing import remove_parts
from collapse_jax.runs import company
from collapse_jax.runs.company import Company
from collapse_jax.runs.processes import Place


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in (("_BEAT", 0.02), ("_SILENCE", 0.3), ("_GRACE", 0.3)):
        monkeypatch.setattr(company, name, seconds)


class _Member:
    """A process's company, whose end is noted instead of made."""

    def __init__(self, folder, number):
        self.left, self.gone = [], threading.Event()
        self.company = Company(folder, Place(number, 2), self._leave)

    def _leave(self, code, sentence):
        self.left.append((code, sentence))
        self.gone.set()


@pytest.fixture
def pair(tmp_path):
    return _Member(tmp_path, 0), _Member(tmp_path, 1)


def test_two_that_live_and_end_well_hear_nothing(pair, tmp_path):
    one, other = pair
    with one.company:
        with other.company:
            assert not one.gone.wait(0.6)
        assert not one.gone.wait(0.6) and not other.left  # the other has ended, and said so
    assert not list(tmp_path.iterdir())


def test_one_that_is_gone_ends_the_other(pair, tmp_path):
    one, _ = pair
    with one.company:
        (tmp_path / ".part-process-1").write_text("7")  # its last sign of life
        assert one.gone.wait(5)
    code, sentence = one.left[0]
    assert code == 75 and sentence.startswith("process 1 of 2 is gone;")
    assert sentence.endswith(f"go on with collapse-jax resume {tmp_path}")


@pytest.mark.parametrize("why, code", [("stopped", 75), ("interrupted", 130), ("failed", 75)])
def test_whoever_cannot_come_to_the_end_is_ended(pair, why, code):
    one, other = pair
    with one.company, other.company:
        other.company.end(why)
        one.company.end("stopped")  # too late: who said it first is right
        assert one.company.asked == other.company.asked == why
        assert one.gone.wait(5) and one.left[0][0] == code
        assert other.gone.wait(2)
        assert ("is gone" in other.left[0][1]) == (why == "failed")  # who failed says itself how it ends, here too late


@pytest.mark.parametrize("told", [True, False])
def test_a_meeting_that_came_to_nothing_is_explained_by_who_did_not_come(pair, told, monkeypatch):
    """Also where no word can be left, on a disk that is full."""
    one, other = pair
    with one.company:
        with other.company:
            if not told:
                monkeypatch.setattr(company, "write_atomically", _no_room)
            other.company.end("failed")
            assert bool(one.company.asked) == told
        one.company.hear()
        assert one.gone.is_set() and one.left[0][0] == 75
    assert ("another process failed" if told else "process 1 of 2 is gone") in one.left[0][1]


def test_all_that_were_stopped_and_go_on_wait_for_each_other(pair, tmp_path, monkeypatch):
    """A queue that lets others through stops every process for an hour: the clock goes on, and no count does."""
    one, _ = pair
    ahead = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0], sleep=time.sleep)
    monkeypatch.setattr(company, "time", clock)
    with one.company:
        (tmp_path / ".part-process-1").write_text("7")
        assert not one.gone.wait(0.1)
        ahead[0] = 3600.0
        assert not one.gone.wait(0.1)
        (tmp_path / ".part-process-1").write_text("8")  # it goes on as well
        assert not one.gone.wait(0.1)
        assert one.gone.wait(5)  # and falls silent


def test_who_is_alone_or_the_cause_of_it_waits_for_nobody(pair, tmp_path):
    one, other = pair
    with other.company, one.company:
        one.company.end("failed")
        one.company.hear()
    with Company(tmp_path, Place()) as alone:
        alone.hear()
    assert not one.left


def _no_room(path, write):
    raise ValueError(f"{path} cannot be written (No space left on device)")


def test_what_an_earlier_company_left_is_cleared(pair, tmp_path):
    one, other = pair
    other.company.end("failed")
    (tmp_path / ".part-process-1").touch()
    remove_parts(tmp_path)  # as `run` and `resume` do before the others come
    assert one.company.asked == "" and not list(tmp_path.iterdir())


def test_one_alone_watches_nobody(tmp_path):
    with Company(tmp_path, Place()) as alone:
        alone.end("stopped")
        assert alone.asked == "" and not list(tmp_path.iterdir())


RUN = ("gaussian", "--num-samples", "20", "--generations", "20000", "--regime-generations", "20", "--seeds", "8",
       "--lanes", "4")  # fmt: skip


def _begun(out, command, cache):
    """Two processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_NUM_CPU_DEVICES": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", "from collapse_jax.cli.main import main; main()", *command, *out,
             "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id", str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )
        for number in range(2)
    ]  # fmt: skip


def _ended(running, seconds):
    """Return code and words of each process, which must end in time."""
    deadline = time.monotonic() + seconds
    said = [process.communicate(timeout=max(deadline - time.monotonic(), 0.1))[0] for process in running]
    return [process.returncode for process in running], said


@pytest.mark.heavy
@pytest.mark.parametrize(
    "number, codes",
    [(signal.SIGTERM, {75}), (signal.SIGINT, {130}), (signal.SIGKILL, {75, -9}), ("no room", {75, 2})],
)
@pytest.mark.parametrize("victim", [0, 1])
def test_an_end_of_one_ends_both_and_the_run_goes_on_to_the_same_bits(number, codes, victim, tmp_path):
    path, whole = tmp_path / "run", tmp_path / "whole"
    running = _begun(["--out", str(path)], ["run", *RUN], tmp_path / "cache")
    try:
        deadline = time.monotonic() + 300
        while len(list(path.glob("checkpoints/*.npz"))) < 4:
            assert time.monotonic() < deadline and all(process.poll() is None for process in running)
            time.sleep(0.05)
        if number == "no room":  # for another record
            resource.prlimit(running[victim].pid, resource.RLIMIT_FSIZE, (500, 500))
        else:
            running[victim].send_signal(number)
        found, said = _ended(running, 60)
    finally:
        for process in running:
            process.kill()
    told = "".join(said)
    if (number, victim) == (signal.SIGKILL, 0):  # JAX's own service dies with it, and JAX aborts the others at once
        assert found[0] == -9 and found[1] in (75, -6), said
    else:
        assert set(found) <= codes and "Traceback" not in told and "collapse-jax resume" in told, said
    again = _begun([str(path)], ["resume"], tmp_path / "cache")
    codes, said = _ended(again, 300)
    assert codes == [0, 0], said
    alone = [sys.executable, "-c", "from collapse_jax.cli.main import main; main()", "run", *RUN, "--out", str(whole)]
    subprocess.run(alone, check=True, capture_output=True)
    assert read_netcdf(path / "trajectory.nc").equals(read_netcdf(whole / "trajectory.nc"))
