"""The command line as a person types it: answers, exit codes, one sentence for every mistake."""

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from collapse_jax import as_samples, build_chain, replace
from collapse_jax.cli import main as cli
from collapse_jax.cli import running
from collapse_jax.cli.completion import SHELLS, options_of, script
from collapse_jax.cli.main import run_command
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.models.kde import bootstrap
from collapse_jax.runs import execute as runs
from collapse_jax.selfcheck import speed
from collapse_jax.selfcheck.laws.checks import Check
from collapse_jax.selfcheck.laws.running import Part
from collapse_jax.selfcheck.verify import Program
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm.config import GMMConfig


def _read(arguments, capsys):
    code = run_command(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_is_quick_and_imports_no_jax():
    code = "import sys, collapse_jax.cli.main as c; c.run_command(['--help']); sys.exit('jax' in sys.modules)"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "reproduce" in done.stdout
    assert time.monotonic() - begun < 3  # the target is 1 s on a quiet machine


def test_list_names_every_study_and_preset(capsys):
    code, out, _ = _read(["list"], capsys)
    assert code == 0 and all(word in out for word in ("gmm", "vae", "diffusion", "smoke", "laptop", "paper"))


# the program of `test_a_reproduce_that_was_stopped`
_SMALL = ["--preset", "smoke", "--num-samples", "40", "--generations", "50", "--seeds", "2", "--lanes", "2"]


def test_run_ends_with_verdicts_and_the_path_of_the_report(capsys, tmp_path):
    out_dir = tmp_path / "run"
    code, out, _ = _read(["run", "gmm", *_SMALL, "--held-out", "10", "--claims", "--out", str(out_dir)], capsys)
    assert code == 0 and "not testable" in out and "need preset laptop" in out
    assert not (out_dir / "checkpoints").exists()  # nobody asked for the states
    assert str(out_dir / "report.html") in out.replace("\n", "")
    assert (out_dir / "report.html").is_file()
    code, out, _ = _read(["report", str(out_dir)], capsys)
    assert code == 0 and "report.html" in out
    code, _, err = _read(["run", "gmm", *_SMALL, "--out", str(out_dir)], capsys)
    assert code == 2 and "--overwrite" in err


def test_json_is_all_of_stdout_and_quiet_is_nothing(capsys, tmp_path):
    out_dir = tmp_path / "run"
    code, out, err = _read(["run", "gmm", *_SMALL, "--json", "--keep-states", "--out", str(out_dir)], capsys)
    told = json.loads(out)
    assert code == 0 and told["status"] == "finished" and "of 2 seeds by generation 50" in told["answer"]
    assert told["report"] == str(out_dir / "report.html") and told["runs"][0]["path"] == str(out_dir)
    assert sum(told["tally"]["needs"].values()) + told["tally"]["undecidable"] == len(told["claims"]) == 4
    assert "whole run 100 %" in err or "drawing" in err
    assert [path.name for path in (out_dir / "checkpoints").iterdir()] == ["arm000-seed00000000-gen00000050.npz"]
    assert _read(["resume", str(out_dir), "--quiet"], capsys) == (0, "", "")
    code, out, err = _read(["resume", str(out_dir)], capsys)
    assert code == 0 and len(out.splitlines()) <= 5 and "is finished already" in err


def test_reproduce_runs_the_studies_that_are_named(capsys, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(running, "run_jobs", lambda jobs, *args: ran.extend(job.study.name for job in jobs) or 0)
    assert _read(["reproduce", "vae", "gmm", "--preset", "smoke", "--out", str(tmp_path)], capsys)[0] == 0
    assert ran == ["gmm", "vae"]
    code, _, err = _read(["reproduce", "gmm", "gmn"], capsys)
    assert code == 2 and "did you mean 'gmm'?" in err


def test_a_sweep_ends_with_a_report_and_goes_on_when_it_was_stopped(capsys, tmp_path, monkeypatch, unchecked):
    axes = ["--axis", "bias=0.9:1:2", "--axis", "num_samples=10,100,1000", "--draws", "statistics"]
    command = ["sweep", "gaussian", *axes, "--generations", "40", "--seeds", "4", "--record-every", "2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    code, out, err = _read([*command, "--out", str(whole)], capsys)
    assert code == 0, err
    assert (whole / "report.html").is_file() and (whole / "figures" / "log_total_variance.png").is_file()

    told = runs.advance_arm

    def stop_soon(*args):
        for reached in told(*args):
            yield reached
            if reached >= 20:
                raise runs.Stopped

    monkeypatch.setattr(runs, "advance_arm", stop_soon)
    code, out, _ = _read([*command, "--out", str(stopped)], capsys)
    assert code == 75 and f"collapse-jax resume {stopped}" in out.replace("\n", "")
    monkeypatch.undo()
    assert _read(["resume", str(stopped)], capsys)[0] == 0
    found, expected = (read_netcdf(path / "trajectory.nc") for path in (stopped, whole))
    sizes = {"bias": 2, "num_samples": 3, "seed": 4, "generation": 21}
    assert found.equals(expected) and dict(found.log_total_variance.sizes) == sizes
    assert found.generation.values[-1] == 40 and np.isfinite(found.log_total_variance).all()


def test_a_reproduce_that_was_stopped_goes_on_with_the_rest(capsys, tmp_path, monkeypatch, unchecked):
    """The first study is finished, the second under way, the others not begun: resume does what is left."""
    chosen = {name: cli.STUDIES[name] for name in ("gaussian", "gmm")}
    walks = GaussianConfig(num_samples=(40,), generations=20, regime_generations=0, seeds=2, lanes=2)
    monkeypatch.setitem(chosen["gaussian"].presets, "smoke", walks)
    small = GMMConfig(num_samples=(40,), generations=100, seeds=2, lanes=2, held_out=10)
    monkeypatch.setitem(chosen["gmm"].presets, "smoke", small)
    monkeypatch.setattr(running, "STUDIES", chosen)
    told = runs.advance_arm

    def stop_at_fifty(work, *args):
        for reached in told(work, *args):
            yield reached
            if work.plan.dim == "num_samples" and reached == 50:
                raise runs.Stopped

    monkeypatch.setattr(runs, "advance_arm", stop_at_fifty)
    assert _read(["reproduce", "--preset", "smoke", "--out", str(tmp_path / "all")], capsys)[0] == 75
    monkeypatch.setattr(runs, "advance_arm", told)
    code, _, err = _read(["resume", str(tmp_path / "all")], capsys)
    assert code == 0, err
    page = (tmp_path / "all" / "report.html").read_text()
    assert "study <b>gaussian</b>" in page and "study <b>gmm</b>" in page and "is stopped" not in page


@pytest.mark.parametrize(
    ("names", "units"),
    [
        (("statistics", "MLP"), ["chain-generations", "images"]),
        pytest.param(("",), ["chain-generations"] * 3 + ["images"] + ["tokens"] * 3, marks=pytest.mark.heavy),
    ],
)
def test_bench_times_every_kind_of_work(names, units, capsys, monkeypatch):
    """One warm run of each; a rate that is not positive, or a program without memory, would show."""
    monkeypatch.setattr(cli.console, "width", 200)
    measured, all_work, measure = [], speed.all_work, speed.measure
    chosen = [work for work in all_work(quick=True) if any(name in work.name for name in names)]
    monkeypatch.setattr(speed, "all_work", lambda *, quick: chosen)
    monkeypatch.setattr(speed, "measure", lambda work, repeats: measured.append(measure(work, 1)) or measured[-1])
    code, out, _ = _read(["bench", "--quick"], capsys)
    assert code == 0 and [item.unit for item in measured] == units
    assert all(item.rate > 0 and item.program_mib > 0 for item in measured)
    assert all(item.name in out for item in measured) and "GFLOP/s" in out and "peak memory" in out


_MISTAKES = {
    "no such command": (["rum"], "did you mean 'run'?"),
    "no such study": (["run", "gmn"], "did you mean 'gmm'?"),
    "no such preset": (["run", "gmm", "--preset", "laptob"], "did you mean 'laptop'?"),
    "no such preset to reproduce": (["reproduce", "--preset", "papper"], "did you mean 'paper'?"),
    "M below 2": (["run", "gmm", "--num-samples", "1"], "`num_samples` must be at least 2"),
    "no M": (["run", "gmm", "--num-samples"], "at least one M"),
    "K below 1": (["run", "gmm", "--num-components", "0"], "`num_components` must be at least 1"),
    "few points": (["run", "gmm", "--num-samples", "3", "--num-components", "5"], "at least as many points"),
    "fraction above 1": (["run", "gmm", "--regime", "replace-part", "--real-fraction", "1.5"], "must lie in [0, 1]"),
    "fraction without a regime": (["run", "gmm", "--real-fraction", "0.5"], "has no meaning"),
    "sweep without an axis": (["sweep", "gmm"], "a sweep needs an axis"),
    "no such axis": (["sweep", "gmm", "--axis", "seperation=1,2"], "did you mean 'separation'?"),
    "an axis of words": (["sweep", "gaussian", "--axis", "bias=few,many"], "write --axis bias=LOW:HIGH:COUNT"),
    "an axis of one": (["sweep", "gaussian", "--axis", "bias=0:1:1"], "with two values or more"),
    "nothing to resume": (["resume", "/proc/nowhere"], "holds no run"),
    "half a cluster": (["run", "gmm", "--process-id", "1"], "together, or --distributed alone"),
    "no seeds": (["run", "gmm", "--seeds", "0"], "`seeds` must be at least 1"),
    "no generations": (["run", "gmm", "--generations", "-3"], "`generations` must be at least 1"),
    "no lanes": (["run", "gmm", "--lanes", "0"], "`lanes` must be at least 1"),
    "negative tolerance": (["run", "gmm", "--tol", "-1"], "`tol` must be positive"),
    "no such folder": (["run", "vae", "--data-folder", "/proc/no/such/folder"], "does not exist"),
    "one step of a solver": (["run", "diffusion", "--arms", "ddim:1"], "`num_steps` must be"),
    "an arm that is none": (["run", "diffusion", "--arms", "ddim"], "such as 'ddim:50'"),
    "a share that no arm takes": (["run", "diffusion", "--real-fraction", "0.1"], "has no meaning for these arms"),
    "too many digits": (["run", "vae", "--num-digits", "20000"], "at most the 9500 digits"),
    "nothing to store": (["run", "vae", "--synthetic", "fresh", "--regime", "accumulate"], "must store data"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_mistake_gets_one_sentence_and_writes_nothing(mistake, capsys, tmp_path):
    arguments, sentence = _MISTAKES[mistake]
    if arguments[0] in ("run", "reproduce"):
        arguments = [*arguments, "--out", str(tmp_path / "run")]
    code, _, err = _read(arguments, capsys)
    assert code == 2 and sentence in err and "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "laptob", "run", "gmm"], ["run", "--seeds", "3", "--preset=laptob", "gmm"],
        ["run", "--num-samples", "10", "20", "gmm", "--preset", "laptob"],
        ["--overwrite", "run", "gmm", "--preset", "laptob"],
        ["--out", "run", "run", "gmm", "--preset", "laptob"],
    ],
)  # fmt: skip
def test_options_may_stand_anywhere(arguments, capsys):
    code, _, err = _read(arguments, capsys)
    assert code == 2 and "study 'gmm' has no preset 'laptob'; did you mean 'laptop'?" in err


def test_help_is_a_command(capsys):
    assert _read(["help"], capsys) == _read(["--help"], capsys)
    for arguments in (["help", "run", "gmm"], ["run", "gmm", "--help"], ["--help", "run", "gmm"]):
        with pytest.raises(SystemExit) as stopped:
            run_command(arguments)
        out = capsys.readouterr().out
        assert stopped.value.code == 0 and "{smoke,laptop,paper,published-code,em-stopping}" in out
    assert "did you mean 'run'?" in _read(["help", "rum"], capsys)[2]


def test_mistakes_are_told_before_jax_is_loaded():
    lines = [
        ["run", "gmm", "--seeds", "0"], ["reproduce", "gmn"], ["resume", "/proc/nowhere"],
        ["report", "/proc/nowhere"], ["sweep", "gaussian", "--axis", "bais=1,2"],
    ]  # fmt: skip
    begin, end = "import sys, collapse_jax.cli.main as c", "sys.exit('jax' in sys.modules)"
    code = f"{begin}; print([c.run_command(line) for line in {lines}]); {end}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "[2, 2, 2, 2, 2]\n", done.stderr


def _completed(*words):
    """What bash offers for the last of these words."""
    asked = " ".join(shlex.quote(word) for word in words)
    code = f"{script('bash')}\nCOMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _collapse_jax; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_studies_options_and_choices():
    assert _completed("collapse-jax", "re") == ["reproduce", "resume", "report"]
    assert _completed("collapse-jax", "run", "g") == ["gaussian", "gmm"]
    assert _completed("collapse-jax", "run", "gmm", "--preset", "p") == ["paper", "published-code"]
    assert _completed("collapse-jax", "run", "gmm", "--num-s") == ["--num-samples"]
    assert _completed("collapse-jax", "run", "gmm", "--start", "") == ["warm", "kmeans"]


@pytest.mark.parametrize(
    "command", ["run", "sweep", "reproduce", "resume", "report", "watch", "advise", "verify", "bench"]
)
def test_completion_knows_the_options_that_help_shows(command, capsys):
    study = [cli.STUDIES["vae"]] if command in ("run", "sweep") else []
    with pytest.raises(SystemExit):
        run_command([command, *[one.name for one in study], "--help"])
    shown = re.findall(r"^\W*(--(?!no-)[a-z][a-z-]*)", capsys.readouterr().out.replace("-h, ", ""), re.MULTILINE)
    assert set(options_of(command, *study)) == set(shown)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script(shell, capsys):
    code, out, _ = _read(["completion", shell], capsys)
    assert code == 0 and "published-code" in out and "keep-states" in out


@pytest.mark.parametrize("arguments", [["run", "gmm", "--seads", "3"], ["run", "gmm", "--start", "wram"]])
def test_an_unknown_option_or_choice_is_refused_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(arguments)
    assert stopped.value.code == 2
    assert "seeds" in capsys.readouterr().err or arguments[2] == "--start"


def test_truncated_digits_are_named(capsys, tmp_path):
    content = gzip.compress(b"\0\0\x08\x03" + (10).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content[:-9])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (10).to_bytes(4, "big") + bytes(10))
    code, _, err = _read(
        ["run", "vae", "--data-folder", str(tmp_path), "--out", str(tmp_path / "run")], capsys
    )
    assert code == 2 and "train-images-idx3-ubyte.gz" in err
    assert not (tmp_path / "run").exists()


def test_report_of_nothing_is_refused(capsys, tmp_path):
    code, _, err = _read(["report", str(tmp_path)], capsys)
    assert code == 2 and "holds no run" in err


def _one_chain():
    return {"points": build_chain(bootstrap(), replace(), as_samples([[1.0], [2.0], [3.0]]), 3)}


@pytest.mark.parametrize("simulated, code", [(1.0, 0), (1.4, 0), (1.6, 1), (float("nan"), 1)])
def test_verify_fails_when_a_law_does(simulated, code, capsys, monkeypatch):
    """Of two laws one is 0, 4 or 6 standard errors off, or not a number."""
    laws = [Check("exact", "a law E[x | y]", 1.0, 0.0, 1.0), Check("drawn", "another", simulated, 0.1, 1.0)]
    program = Program((Part("two laws", _one_chain, lambda records: laws),), 1, 1, quick=True)
    monkeypatch.setattr("collapse_jax.selfcheck.verify.PROGRAMS", (program,))
    found, out, _ = _read(["verify", "--quick"], capsys)
    assert found == code and f"{2 - code} of 2 laws hold" in out and "E[x | y]" in out


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 13651669848 bytes.")]
)
def test_too_little_memory_is_a_sentence(error, monkeypatch, capsys):
    def full(*_, **__):
        raise error

    monkeypatch.setattr("collapse_jax.cli.running.run_jobs", full)
    assert run_command(["run", "gmm", "--preset", "smoke"]) == 2
    assert "there is too little memory (" in capsys.readouterr().err
    fails = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a fault"))  # noqa: E731
    monkeypatch.setattr("collapse_jax.cli.running.run_jobs", fails)
    with pytest.raises(RuntimeError, match="a fault"):  # what nobody expects keeps its traceback
        run_command(["run", "gmm", "--preset", "smoke"])
