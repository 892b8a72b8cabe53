"""A run that is killed at any moment goes on to the same bits; so does one that several processes or devices share."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.arrays import load_arrays

pytestmark = pytest.mark.slow
_HERE = Path(__file__).parents[1]


def _same_ending(path, other):
    assert read_netcdf(path / "trajectory.nc").equals(read_netcdf(other / "trajectory.nc"))
    states = [_states(run) for run in (path, other)]
    assert states[0].keys() == states[1].keys() and states[0]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=str(name))


def _states(path):
    """Arrays of the last checkpoints by arm, place and seed: however the seeds were cut."""
    parts = {}
    for file in sorted((path / "checkpoints").iterdir()):
        arm, seed, generation = file.stem.split("-")
        for name, array in load_arrays(file)[0].items():
            parts.setdefault((arm, generation, name), []).append((int(seed[4:]), array))
    in_order = {place: sorted(found, key=lambda part: part[0]) for place, found in parts.items()}
    return {place: np.concatenate([rows for _, rows in found]) for place, found in in_order.items()}


def _heavy(*values):
    return pytest.param(*values, marks=pytest.mark.heavy)


@pytest.mark.parametrize(
    ("study", "num_kills", "num_places"),
    [_heavy("gaussian", 4, 2), _heavy("pieces", 4, 2), _heavy("gmm", 20, 8), _heavy("pieces", 20, 8)],
)
def test_kills_change_no_bit(study, num_kills, num_places, tmp_path):
    """Models by the compiled driver, an OPT from the host: SIGKILL at random moments, and on from there."""
    environment = {**os.environ, "JAX_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(_HERE / "survivor.py"), study, str(tmp_path), str(num_kills), "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    fallen = [tuple(where) for life in told["lives"] for where in life]
    assert len(fallen) == num_kills and len(set(fallen)) >= num_places, told  # at many different places
    for number in range(len(told["lives"])):
        _same_ending(tmp_path / f"life{number}", tmp_path / "whole")


_SHARED = """
import sys, jax
from pathlib import Path
jax.config.update("jax_compilation_cache_dir", sys.argv[6])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_num_cpu_devices", int(sys.argv[5]))
from collapse_jax.runs import execute as runs
from collapse_jax.runs.job import Job
from collapse_jax.runs.processes import Place, join_processes
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.registry import find_study
path, count, number, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
place = join_processes(f"127.0.0.1:{port}", count, number) if count > 1 else Place()
runs.draw = lambda *_: []
config = GaussianConfig(num_samples=(30,), generations=1200, regime_generations=0, seeds=27, lanes=4)
runs.execute(Job(find_study("gaussian"), config, path, "", ""), on_progress=lambda progress: None, place=place)
"""


def _shared(path, cache, processes=1, devices=1):
    """Run one study by some processes with some devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(path), str(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _SHARED, *arguments, str(number), str(port), str(devices), str(cache)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes, said
    return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with the run of one process on one device, and the cache of what it compiled."""
    folder = tmp_path_factory.mktemp("shared")
    _shared(folder / "alone", folder / "cache")
    return folder


@pytest.mark.parametrize(
    ("processes", "devices"), [(2, 2), *(_heavy(*shared) for shared in ((2, 1), (4, 1), (1, 2), (1, 8)))]
)
def test_processes_and_devices_give_the_bits_of_one(processes, devices, alone, tmp_path):
    """27 seeds in 7 blocks: shared by 2 processes of 2 devices; by 2 and 4 processes, by 2 and 8 devices."""
    path = _shared(tmp_path / "run", alone / "cache", processes, devices)
    assert len(json.loads((path / "config.json").read_text())["shards"]) == processes
    _same_ending(path, alone / "alone")
