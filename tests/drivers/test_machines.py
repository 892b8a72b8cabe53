"""Machines that are not as JAX or the shell would have them: one sentence, or a run that goes on all the same."""

import os
import signal
import subprocess
import sys
import time

import pytest

from collapse_jax.cli.main import run_command
from collapse_jax.drivers import machine
from collapse_jax.drivers.results import read_netcdf

STUDY = '''"""Resampled."""
import os, signal
from dataclasses import dataclass
import jax.numpy as jnp
from collapse_jax import Metric, build_chain, external, gaussian_truth, replace
@dataclass(frozen=True)
class Config:
    generations: int = 2
    seeds: int = 1
    seed: int = 0
    end: str = ""
def chain(config):
    def fit(seed, params, rows, weight):
        if config.end and params is not None:
            raise {"exit": SystemExit(0), "stop": StopIteration, "close": GeneratorExit, "own": BaseException("x")}[config.end]
        return {"rows": rows}
    def sample(seed, params, num_samples):
        return params["rows"]
    size = Metric("größe", (), "µ", lambda key, s: jnp.sum(s.synthetic.x))
    return build_chain(external(fit, sample), replace(), gaussian_truth(1).sampler(4), 4, [size])
'''  # noqa: E501


@pytest.fixture
def study(tmp_path):
    (tmp_path / "mine.py").write_text(STUDY, encoding="utf-8")
    return tmp_path


def _run(folder, *arguments, without=(), **variables):
    """Return the exit code of a command line in a process of its own, and what it said."""
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", *without)}
    done = subprocess.run(
        [sys.executable, "-m", "collapse_jax", *arguments], cwd=folder, capture_output=True, env={**kept, **variables}
    )
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _is_one_sentence(said):
    lines = [line for line in said.splitlines() if line.startswith("collapse-jax: ")]
    return len(lines) == 1 and lines[0].endswith(".") and "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_PLATFORMS", "cuda"), ("JAX_PLATFORMS", "gpuu"), ("XLA_FLAGS", "--xla_nonsense=1"),
        ("JAX_ENABLE_X64", "maybe"), ("JAX_NUM_CPU_DEVICES", "0"), ("JAX_COMPILATION_CACHE_DIR", "mine.py"),
    ],
)  # fmt: skip
def test_what_keeps_jax_from_starting_is_named_in_one_sentence(name, value, study):
    code, _, said = _run(study, "run", "mine.py", "--out", "out", **{name: value})
    assert code == 2 and _is_one_sentence(said) and name in said and not (study / "out").exists(), said


def test_a_file_that_touches_jax_first_is_not_blamed(study):
    (study / "mine.py").write_text("import jax.numpy as jnp\nx = jnp.ones(2)\n" + STUDY)
    code, _, said = _run(study, "run", "mine.py", JAX_PLATFORMS="cuda")
    assert code == 2 and "JAX_PLATFORMS=cuda" in said and "mine.py" not in said


def test_two_numbers_of_devices_are_refused_and_one_is_obeyed(monkeypatch):
    monkeypatch.setattr(machine, "_ours", set())
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    with pytest.raises(ValueError, match="asks for 3 CPU devices, and JAX_NUM_CPU_DEVICES for 2"):
        machine.check_flags()
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    machine.use_every_core()
    machine.check_flags()
    assert "JAX_NUM_CPU_DEVICES" not in os.environ
    monkeypatch.setenv("XLA_FLAGS", "")
    machine.use_every_core()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == str(min(machine.num_threads(), 8))


def test_a_shell_without_utf8_and_a_cache_that_cannot_be_are_no_obstacle(study):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    away = ("JAX_COMPILATION_CACHE_DIR", "HOME")
    code, _, said = _run(
        study, "run", "mine.py", "--out", "out", without=away, XDG_CACHE_HOME=str(study / "mine.py"), **plain
    )
    assert code == 0 and "Traceback" not in said, said
    assert "größe" in read_netcdf(study / "out" / "trajectory.nc")
    assert "charset" in (study / "out" / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_programs_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_trouble", lambda folder: "it cannot be written")
    jax = machine.import_jax()
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert str(tmp_path) in machine.keep_programs()
    assert jax.config.jax_persistent_cache_min_compile_time_secs > 1e6
    jax.config.update("jax_compilation_cache_dir", None)
    assert machine.keep_programs() == "" and jax.config.jax_compilation_cache_dir is None
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


@pytest.mark.parametrize("end", ["exit", "stop", "close", "own"])
def test_whatever_a_fit_raises_is_no_end_of_the_run(end, study, monkeypatch, capsys):
    monkeypatch.chdir(study)
    assert run_command(["run", "mine.py", "--end", end, "--out", "out"]) == 1
    said = capsys.readouterr().err
    assert _is_one_sentence(said) and "seed 0, generation 1" in said and "resume" in said


@pytest.mark.parametrize("after", [0.15, 0.6])
def test_a_signal_in_the_first_seconds_ends_with_a_sentence(after, study):
    started = subprocess.Popen(
        [sys.executable, "-c", "import collapse_jax.__main__ as m, sys; m.stop_at_once(); print('ready', flush=True);"
         "sys.argv = ['c', 'run', 'gaussian', '--out', 'o']; m.main()"],
        cwd=study, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout.readline() == "ready\n"
    time.sleep(after)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 75 and _is_one_sentence(said), said


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_nobody_reads_ends_no_command(stream, tmp_path):
    read, write = os.pipe()
    os.close(read)
    arguments = ["--help"] if stream == "stdout" else ["resume", str(tmp_path / "none")]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    done = subprocess.run([sys.executable, "-m", "collapse_jax", *arguments], text=True, **given)
    os.close(write)
    assert done.returncode == (0 if stream == "stdout" else 2) and not (done.stderr or "")
