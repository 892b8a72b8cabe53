"""A study of one's own, from a Python file: what the built-in studies have, and a sentence for every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.cli.display import console
from collapse_jax.cli.main import run_command
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.runs import execute as runs
from collapse_jax.runs import shards as advance
from collapse_jax.runs.manifest import sealed
from collapse_jax.runs.record_files import RecordFiles
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study

# a model in Python under a regime whose state is a class of the file; a file named in BREAK says where it breaks
HEAD = '''"""A Gaussian in NumPy.

More of it.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from collapse_jax import Metric, Regime, build_chain, external, gaussian, gaussian_metrics, gaussian_truth, replace


@dataclass(frozen=True)
class Config:
    generations: int = 4
    """Not many."""
    seeds: int = 3
    seed: int = 0
    num_samples: int = 20
    bias: float = 1.0
    """What the standard deviation is multiplied by."""
'''
HOST = '''

class Count(NamedTuple):
    updates: object


def counted():
    return Regime(lambda real, s: Count(jnp.zeros(())), lambda key, s, state: (s, Count(state.updates + 1)))


def chain(config):
    def fit(seed, params, rows, weight):
        where = Path(os.environ.get("BREAK", "/proc/nowhere"))
        if params is not None and where.is_file() and params["fits"] == 2:
            if where.read_text() == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("no convergence")
        fits = 1 if params is None else params["fits"] + 1
        return {"mean": rows.mean(axis=0), "std": config.bias * rows.std(axis=0), "fits": fits}

    def sample(seed, params, num_samples):
        return params["mean"] + params["std"] * np.random.default_rng(seed).normal(size=(num_samples, 1))

    metrics = [
        Metric("std", (), "data units", lambda key, s: s.params["std"][0]),
        Metric("mean", ("axis",), "data units", lambda key, s: s.params["mean"]),
    ]
    real = gaussian_truth(1).sampler(config.num_samples)
    return build_chain(external(fit, sample), counted(), real, config.num_samples, metrics)
'''
COMPILED = '''

def chain(config):
    real = gaussian_truth(1).sampler(config.num_samples)
    model = gaussian(1, bias=config.bias)
    return build_chain(model, replace(), real, config.num_samples, gaussian_metrics())
'''
CLAIM = '''

def evidence(config, dataset):
    from collapse_jax.analysis.claims import ANALOGUE, Claim, measured

    claim = Claim("narrow", "The deviation stays below 9.", "nobody", (0.0, 9.0), "mean", 3)
    last = int(dataset.generation[-1])
    return [measured(claim, 2, last, lambda g: dataset["std"].sel(generation=g), ANALOGUE)]
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a study's file in an empty folder, where everything happens; return its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(*parts, name="mine.py"):
        (tmp_path / name).write_text("".join(parts))
        sys.modules.pop(f"study_{Path(name).stem}", None)  # as a new process would
        return tmp_path / name

    return write


def _read(arguments, capsys):
    code = run_command(arguments)
    captured = capsys.readouterr()
    told = [line for line in captured.err.splitlines(keepends=True) if not line.startswith("[0:")]  # not progress
    return code, captured.out.replace("\n", ""), "".join(told)


def _trajectory(folder):
    return read_netcdf(Path(folder) / "trajectory.nc")


def _description(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def test_a_file_is_a_study_like_any_other(mine, capsys):
    """Figures of what is a number, the title, the fields and the file itself are in the run and its report."""
    path = mine(HEAD, HOST)
    code, out, err = _read(["run", "mine.py", "--num-samples", "15", "--out", "run"], capsys)
    assert code == 0 and "report.html" in out, err
    told = _description("run")
    assert (told["study"], told["title"], told["preset"]) == ("mine", "A Gaussian in NumPy", "default")
    assert told["config"] == {"generations": 4, "seeds": 3, "seed": 0, "num_samples": 15, "bias": 1.0}
    assert told["file"]["path"] == str(path) and {"numpy", "jax"} <= told["file"]["versions"].keys()
    assert Path("run/study.py").read_bytes() == path.read_bytes()
    found = _trajectory("run")
    assert dict(found["std"].sizes) == {"seed": 3, "generation": 5} and found["std"].attrs["units"] == "data units"
    assert found["mean"].dims == ("seed", "generation", "axis")
    captions = json.loads(Path("run/figures/captions.json").read_text())
    assert [c["name"] for c in captions] == ["metrics"] and "3 seeds" in captions[0]["caption"]
    page = Path("run/report.html").read_text()
    assert "<h1>A Gaussian in NumPy</h1>" in page and str(path) in page and "<th>Verdict" not in page


def test_a_run_is_what_simulate_gives(mine, capsys):
    """The same key, the same chain: to the bit, for a model in Python."""
    import jax

    from collapse_jax import simulate

    path = mine(HEAD, HOST)
    assert _read(["run", str(path), "--seed", "7", "--out", "run"], capsys)[0] == 0
    study = find_study(str(path))
    chain = load(study).build(study.preset("default")).arms[0].chain
    expected = simulate(chain, jax.random.key(7), 3, 4)
    np.testing.assert_array_equal(_trajectory("run")["std"], expected["std"])


def test_a_fit_that_raises_says_where_and_the_run_goes_on_to_the_same_bits(mine, capsys, monkeypatch):
    path = mine(HEAD, HOST)
    assert _read(["run", "mine.py", "--out", "whole"], capsys)[0] == 0
    monkeypatch.setenv("BREAK", "broken")
    Path("broken").write_text("raise")
    code, _, err = _read(["run", "mine.py", "--out", "run"], capsys)
    line = 1 + path.read_text().splitlines().index('            raise ArithmeticError("no convergence")')
    assert code == 1 and err == (
        f"collapse-jax: in seed 0, generation 2, line {line} of {path}: ArithmeticError: no convergence; what was "
        "finished before is kept: go on with collapse-jax resume run (and --despite-differences, if the file had to be "
        "mended).\n"
    )
    assert _description("run")["status"] == "stopped" and any(Path("run/checkpoints").iterdir())
    assert _read(["report", "run"], capsys)[0] == 0 and "This run is stopped" in Path("run/report.html").read_text()
    Path("broken").unlink()
    code, _, err = _read(["resume", "run"], capsys)
    assert code == 0, err
    assert _trajectory("run").equals(_trajectory("whole")) and _description("run")["status"] == "finished"


def test_a_fit_that_raises_at_once_leaves_nothing_to_go_on_from(mine, capsys):
    path = mine(HEAD, HOST.replace("rows.mean(axis=0)", "rows.mean(axes=0)"))
    code, _, err = _read(["run", "mine.py", "--out", "run"], capsys)
    assert code == 1 and f"in seed 0, generation 0, line 45 of {path}: " in err and "unexpected keyword" in err
    assert err.endswith("; nothing was finished before: mend it, and run it again.\n")
    mine(HEAD, HOST)
    assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 0


def test_a_sample_that_raises_at_once_leaves_the_fit(mine, capsys):
    """Which may have taken hours: it is not fitted again."""
    mine(HEAD, HOST.replace("return params", "raise KeyError('x')\n        return params"))
    code, _, err = _read(["run", "mine.py", "--seeds", "1", "--out", "run"], capsys)
    assert code == 1 and "KeyError: 'x'; what was finished before is kept: go on with collapse-jax resume run" in err
    code, _, err = _read(["run", "mine.py", "--seeds", "1", "--out", "run"], capsys)
    assert code == 2 and "already holds a run" in err
    mine(HEAD, HOST.replace("fits = 1 if params is None", "fits = 1 / 0 if params is None"))
    code, _, err = _read(["resume", "run", "--despite-differences"], capsys)
    assert code == 0, err


def test_a_run_that_was_killed_goes_on_in_another_process_to_the_same_bits(mine, capsys):
    """The state of its regime is a class of the file: the other process finds it by the name of its module."""
    mine(HEAD, HOST)
    assert _read(["run", "mine.py", "--out", "whole"], capsys)[0] == 0
    Path("broken").write_text("kill")
    command = [sys.executable, "-m", "collapse_jax.cli.main"]
    environment = {**os.environ, "BREAK": "broken"}
    begun = subprocess.run([*command, "run", "mine.py", "--out", "run"], env=environment, check=False)
    assert begun.returncode < 0 and _description("run")["status"] == "running"
    assert list(Path("run/records").iterdir())
    done = subprocess.run([*command, "resume", "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _trajectory("run").equals(_trajectory("whole"))


def _stop_at(monkeypatch, generation):
    told = runs.advance_arm

    def stop(*args):
        for reached in told(*args):
            yield reached
            if reached >= generation:
                raise runs.Stopped

    monkeypatch.setattr(runs, "advance_arm", stop)


def test_a_compiled_chain_goes_on_to_the_same_bits(mine, capsys, monkeypatch):
    mine(HEAD, COMPILED)
    options = ["--generations", "60", "--bias", "0.9"]
    assert _read(["run", "mine.py", *options, "--out", "whole"], capsys)[0] == 0
    with monkeypatch.context() as patch:
        _stop_at(patch, 20)
        assert _read(["run", "mine.py", *options, "--out", "run"], capsys)[0] == 75
    assert _read(["resume", "run"], capsys)[0] == 0
    found = _trajectory("run")
    assert found.equals(_trajectory("whole")) and found.sizes["generation"] == 61
    assert "is_finite" in found and found.log_total_variance.isel(generation=-1).mean() < -5


def test_a_changed_file_is_refused_unless_asked_for(mine, capsys, monkeypatch):
    path = mine(HEAD, HOST)
    with monkeypatch.context() as patch:
        _stop_at(patch, 1)
        assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 75
    before = {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}
    mine(HEAD, HOST, "# a word\n")
    code, _, err = _read(["resume", "run"], capsys)
    assert code == 2 and f"{path} was changed after the run began" in err and "--despite-differences" in err
    path.unlink()
    code, _, err = _read(["resume", "run", "--despite-differences"], capsys)
    assert code == 2 and f"{path}, the study of this run, is gone; put it back, for example from run/study.py" in err
    assert {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()} == before
    mine(HEAD, HOST, "# a word\n")
    assert _read(["resume", "run", "--despite-differences"], capsys)[0] == 0
    assert Path("run/study.py").read_bytes() == path.read_bytes()
    assert "file was changed after the run began" in Path("run/report.html").read_text()
    mine(HEAD, HOST)
    assert _trajectory("run").sizes["generation"] == 5


PLAN = '''

def build(config):
    from collapse_jax import Arm, Plan

    return Plan(None, (Arm("one", chain_of(config)),), 1, 3, data=lambda: {"numbers": Path("numbers").read_text()})
'''


def test_data_that_changed_since_the_run_began_are_refused_unless_asked_for(mine, capsys, monkeypatch):
    """What was read stands in config.json and in the records; of mixed data neither says that it was the one or the
    other."""
    mine(HEAD, HOST.replace("def chain(", "def chain_of("), PLAN)
    Path("numbers").write_text("3 4")
    with monkeypatch.context() as patch:
        _stop_at(patch, 1)
        assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 75
    assert _description("run")["data"] == {"numbers": "3 4"}
    Path("numbers").write_text("5 6")
    code, _, err = _read(["resume", "run"], capsys)
    assert code == 2 and "the data that run read were changed after it began (numbers); put them back" in err
    assert _description("run")["data"] == {"numbers": "3 4"}
    assert _read(["resume", "run", "--despite-differences"], capsys)[0] == 0
    mixed = {"numbers": "changed while the run was under way"}
    assert _description("run")["data"] == json.loads(_trajectory("run").attrs["data"]) == mixed


def test_data_that_are_back_go_on_as_they_were(mine, capsys, monkeypatch):
    mine(HEAD, HOST.replace("def chain(", "def chain_of("), PLAN)
    Path("numbers").write_text("3 4")
    with monkeypatch.context() as patch:
        _stop_at(patch, 1)
        assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 75
    assert _read(["resume", "run"], capsys)[0] == 0
    assert json.loads(_trajectory("run").attrs["data"]) == {"numbers": "3 4"}


def test_what_seeds_share_is_said_beside_the_interval(mine, capsys):
    """On the screen, in claims.json and on the page; whose words hold markup shows it."""
    shared = CLAIM.replace("ANALOGUE)]", "ANALOGUE)._replace(shared='the [b]teacher[/b]', departure='<i>tiny</i>')]")
    mine(HEAD, HOST, shared)
    code, out, _ = _read(["run", "mine.py", "--claims", "--out", "run"], capsys)
    assert code == 0 and "all seeds share: the [b]teacher[/b]" in re.sub(" +", " ", out)
    assert "analogue: <i>tiny</i>." in out
    (claim,) = json.loads(Path("run/claims.json").read_text())
    assert (claim["shared"], claim["departure"]) == ("the [b]teacher[/b]", "<i>tiny</i>")
    page = Path("run/report.html").read_text()
    assert "all seeds share: the [b]teacher[/b]" in page and "[1] &lt;i&gt;tiny&lt;/i&gt;." in page


def test_other_versions_of_what_the_file_imports_are_refused(mine, capsys, monkeypatch):
    mine(HEAD, HOST, "import sklearn\n")
    with monkeypatch.context() as patch:
        _stop_at(patch, 1)
        assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 75
    told = _description("run")
    told["file"]["versions"]["scikit-learn"] = "0.1"
    Path("run/config.json").write_text(json.dumps(sealed(told)))
    code, _, err = _read(["resume", "run"], capsys)
    assert code == 2 and "begun elsewhere (scikit-learn 0.1, now " in err


def test_report_draws_by_the_file_as_it_is_and_says_so(mine, capsys):
    path = mine(HEAD, HOST)
    assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 0
    assert _read(["report", "run"], capsys)[0] == 0
    assert "changed after" not in Path("run/report.html").read_text()
    mine(HEAD, HOST, CLAIM)
    code, out, _ = _read(["report", "run"], capsys)  # the tally says so
    page = Path("run/report.html").read_text()
    assert code == 0 and "holds" in out and f"{path} was changed after the run: figures and verdicts" in page
    path.unlink()
    sys.modules.pop("study_mine")
    code, out, err = _read(["report", "run"], capsys)
    assert code == 0 and f"{path} is gone: figures and verdicts are those of before" in err and "holds" in out
    Path("run/figures/captions.json").unlink()
    code, _, err = _read(["report", "run"], capsys)
    assert code == 2 and "put it back" in err


def test_a_file_that_is_being_edited_does_not_disturb_its_run(mine, capsys, monkeypatch):
    """What this process has read is what it draws and judges by."""
    path = mine(HEAD, HOST, CLAIM)
    told = runs.advance_arm

    def edit(*args):
        path.write_text("half a line (")
        yield from told(*args)

    monkeypatch.setattr(runs, "advance_arm", edit)
    code, out, err = _read(["run", "mine.py", "--out", "run"], capsys)
    assert code == 0 and "holds" in out, err


def test_claims_are_judged(mine, capsys, monkeypatch):
    monkeypatch.setattr(console, "width", 200)
    mine(HEAD, HOST, CLAIM)
    code, out, _ = _read(["run", "mine.py", "--claims", "--out", "run"], capsys)
    assert code == 0 and "claims of mine" in out and "holds" in out
    assert "<th>Verdict" in Path("run/report.html").read_text()
    code, out, _ = _read(["run", "mine.py", "--seeds", "2", "--claims", "--out", "few"], capsys)
    assert "not testable" in out and "needs 3 seeds, the run has 2" in out


@pytest.mark.parametrize(
    ("judging", "sentence"),
    [
        ("def evidence(config, dataset):\n    return dataset['sdt']\n", "line {line} of {path}: .*sdt"),
        ("def evidence(config, dataset):\n    return 3.0\n", "{path}: `evidence` must return a list of Evidence, got"),
        ("def figures(config, dataset):\n    return [None]\n", "`figures` must return a list of Illustration"),
    ],
)  # fmt: skip
def test_drawing_that_fails_loses_no_measurement(judging, sentence, mine, capsys):
    path = mine(HEAD, HOST, "\n\n", judging)
    code, _, err = _read(["run", "mine.py", "--out", "run"], capsys)
    place = {"path": re.escape(str(path)), "line": len(path.read_text().splitlines())}
    assert code == 2 and re.search(sentence.format(**place), err) and len(err.splitlines()) == 1
    assert "collapse-jax report run" in err or err.rstrip().endswith(".")
    assert _description("run")["status"] == "finished" and _trajectory("run").sizes["generation"] == 5
    mine(HEAD, HOST)
    assert _read(["report", "run"], capsys)[0] == 0


@pytest.mark.parametrize(("share", "num_written"), [(0, 5), (1e9, 2)])
def test_how_often_is_written_changes_no_bit(share, num_written, mine, capsys, monkeypatch):
    """Writing may take no time at all: the first and the last generation; or any: each of 0 to 4."""
    mine(HEAD, HOST)
    assert _read(["run", "mine.py", "--out", "whole"], capsys)[0] == 0
    written, append = [], RecordFiles.append
    monkeypatch.setattr(RecordFiles, "append", lambda *args: written.append(args[1]) or append(*args))
    monkeypatch.setattr(advance, "_STATES_SHARE", share)
    assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 0
    assert len(written) == 3 * num_written and len(set(written)) == 3
    assert _trajectory("run").equals(_trajectory("whole"))


def test_presets(mine, capsys):
    mine(HEAD, HOST, "\n\nPRESETS = {'quick': Config(generations=1), 'long': Config(generations=2)}\n")
    assert _read(["run", "mine.py"], capsys)[0] == 0 and _description("runs/mine-quick")["config"]["generations"] == 1
    assert _read(["run", "mine.py", "--preset", "long", "--seeds", "1"], capsys)[0] == 0
    long = _description("runs/mine-long")["config"]
    assert (long["generations"], long["seeds"]) == (2, 1)
    code, _, err = _read(["run", "mine.py", "--preset", "lon"], capsys)
    assert code == 2 and "study 'mine' has no preset 'lon'; did you mean 'long'?" in err


@pytest.mark.parametrize("chain", [HOST, COMPILED])
def test_a_sweep_of_a_file(chain, mine, capsys, monkeypatch):
    """Every cell is the run that it would be alone: to the bit from the host, to float32 rounding as lanes."""
    mine(HEAD, chain)
    command = ["sweep", "mine.py", "--axis", "bias=0.5,0.9", "--record-every", "2", "--out"]
    code, _, err = _read([*command, "grid"], capsys)
    assert code == 0, err
    with monkeypatch.context() as patch:
        _stop_at(patch, 2)
        assert _read([*command, "stopped"], capsys)[0] == 75
    assert _read(["resume", "stopped"], capsys)[0] == 0
    found = _trajectory("grid")
    assert found.equals(_trajectory("stopped")) and found.generation.values.tolist() == [0, 2, 4]
    assert _read(["run", "mine.py", "--bias", "0.9", "--out", "run"], capsys)[0] == 0
    name = "std" if chain == HOST else "log_total_variance"
    alone, cell = _trajectory("run")[name].sel(generation=[0, 2, 4]), found[name].sel(bias=0.9)
    np.testing.assert_allclose(cell, alone, rtol=0 if chain == HOST else 1e-4)
    assert not np.allclose(found[name].sel(bias=0.5), alone)
    assert Path(f"grid/figures/{name}.png").is_file()
    for axis in ("generations=2,4", "seed=0,1", "bais=1,2"):
        code, _, err = _read(["sweep", "mine.py", "--axis", axis], capsys)
        assert code == 2 and f"there is no field '{axis.split('=')[0]}' to sweep" in err


BUILD = '''

from collapse_jax.studies.plan import Arm, Plan


def build(config):
    arms = tuple(Arm(bias, chain_of(Config(bias=bias))) for bias in (0.5, 1.0))
    return Plan("bias", arms, segment_length=1, lanes=1)


def remarks(config):
    return ["Both arms see the same seeds."]
'''


def test_a_whole_plan_of_several_arms(mine, capsys):
    mine(HEAD, HOST.replace("def chain(", "def chain_of("), BUILD)
    assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 0
    found = _trajectory("run")
    assert dict(found["std"].sizes) == {"bias": 2, "seed": 3, "generation": 5}
    assert "Both arms see the same seeds." in Path("run/report.html").read_text()


NO_CHAIN = HEAD + "\n\nclass Model: pass\n"
_MISTAKES = {
    "no closing bracket": (HEAD + "x = (1,\n", "line 27 of {path}: '(' was never closed; mend it"),
    "a module that is not there": (HEAD + "import skleran\n", "line 27 of {path}: No module named 'skleran'; install"),
    "a name that is not there": (HEAD + "from numpy import zeroes\n", "line 27 of {path}: cannot import name 'zeroes'"),
    "an exception": (HEAD + "x = {}['a']\n", "line 27 of {path}: KeyError: 'a'; mend it; COLLAPSE_JAX_TRACEBACK=1"),
    "an end": (HEAD + "raise SystemExit(3)\n", "line 27 of {path}: SystemExit: 3"),
    "no Config": ("import numpy\n", "{path} has no dataclass `Config`; add @dataclass(frozen=True) class Config"),
    "a plain Config": ("class Config: pass\n", "{path} has no dataclass `Config`"),
    "a mutable Config": (HEAD.replace("(frozen=True)", ""), "`Config` in {path} may be changed while it runs; write"),
    "no seeds": (HEAD.replace("seeds: int = 3", "sedes: int = 3"), "has no field `seeds`; add seeds: int = 8."),
    "an option": (HEAD + "    out: str = 'here'\n", "has a field `out`, which is an option of the command; rename it."),
    "no such type": (HEAD + "    name: 'Nope' = 'a'\n", "{path}: NameError: name 'Nope' is not defined; mend the"),
    "no default": (HEAD.replace("seeds: int = 3", "seeds: int"), "non-default argument 'seeds' follows"),
    "no default of a field": (
        HEAD.replace("(frozen=True)", "(frozen=True, kw_only=True)").replace("seeds: int = 3", "seeds: int") + HOST,
        "`seeds` of `Config` in {path} has no default; give it one, or add PRESETS = ",
    ),
    "no chain": (NO_CHAIN, "{path} has no function `chain`; `chain(config)` returns what build_chain(...) does."),
    "two": (HEAD + HOST + "\n\ndef build(config): pass\n", "{path} has both `chain` and `build`; keep one"),
    "another thing": (HEAD + "\n\ndef chain(config):\n    return 3\n", "`chain`, line 29, must return a Chain, from "
        "build_chain(...), got int."),
    "a chain that raises": (HEAD + "\n\ndef chain(config):\n    return {}['a']\n", "line 30 of {path}: KeyError: 'a'; "
        "mend `chain`."),
    "a chain without config": (HEAD + "\n\ndef chain():\n    return 3\n", "{path}: chain() takes 0 positional argum"),
    "a small M": (HEAD.replace("= 20", "= 1") + HOST, "line 55 of {path}: `num_samples` must be at least 2, got 1"),
    "presets": (HEAD + HOST + "PRESETS = {'a': 3}\n", "`PRESETS` in {path} must be a dict of name to Config(...)"),
    "a field that JSON lacks": (
        HEAD + "    where: Path = Path('/tmp')\n" + HOST, "`where` is PosixPath('/tmp'), which config.json cannot keep"
    ),
    "no generations": (HEAD.replace("= 4", "= 0") + HOST, "`generations` must be at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_mistake_in_the_file_gets_one_sentence_and_writes_nothing(mistake, mine, capsys):
    content, sentence = _MISTAKES[mistake]
    path = mine(content)
    code, _, err = _read(["run", "mine.py", "--out", "run"], capsys)
    assert code == 2 and sentence.format(path=path) in err and len(err.strip().splitlines()) == 1, err
    assert not Path("run").exists() and not Path("__pycache__").exists()


def test_a_traceback_is_there_for_who_asks(mine, monkeypatch):
    mine(HEAD, "x = {}['a']\n")
    monkeypatch.setenv("COLLAPSE_JAX_TRACEBACK", "1")
    with pytest.raises(ValueError, match="KeyError") as raised:
        run_command(["run", "mine.py"])
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_file_that_is_not_there(mine, capsys):
    path = mine(HEAD, HOST)
    code, _, err = _read(["run", "mien.py"], capsys)
    assert code == 2 and f"there is no file {path.with_name('mien.py')}; did you mean 'mine.py'?" in err
    code, _, err = _read(["run", "mine"], capsys)
    assert code == 2 and "there is no study 'mine'; for the file of that name write mine.py." in err
    code, _, err = _read(["run", "nowhere/mine.py"], capsys)
    assert code == 2 and "name a Python file, or a study of `collapse-jax list`" in err


def test_help_lists_the_fields_and_imports_no_jax_by_itself(mine):
    mine(
        '"""Light."""\nfrom dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Config:\n'
        "    generations: int = 4\n    seeds: int = 3\n    seed: int = 0\n    width: float = 0.5\n"
        '    """Of the kernel."""\n\ndef chain(config):\n    pass\n'
    )
    code = (
        "import sys, collapse_jax.cli.main as c\ntry:\n    c.run_command(['run', 'mine.py', '--help'])\n"
        "except SystemExit:\n    sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--width" in done.stdout and "Of the kernel." in done.stdout and "Light." in done.stdout


def test_the_file_in_the_docs_runs_as_told_there(mine, capsys):
    """Kernel noise adds up under replace and averages out under accumulate."""
    page = (Path(__file__).parents[2] / "docs" / "your_own.md").read_text()
    (block,) = re.findall(r"```python\n(\"\"\"A kernel density.*?)```", page, re.DOTALL)
    mine(block)
    commands = re.findall(r"\$ collapse-jax ((?:run|sweep) mine\.py [^#\n]*--out \S+)\n", page)
    assert len(commands) == 2
    for command in commands:
        code, _, err = _read(command.split(), capsys)
        assert code == 0, err
    spread = _trajectory("runs/grid").spread.sel(bandwidth=0.4).isel(generation=-1).mean("seed")
    assert float(spread.sel(regime="replace")) > 1.2 * float(spread.sel(regime="accumulate"))


def test_what_lies_beside_the_file_can_be_imported(mine, capsys, tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("STEPS = 2\n")
    mine(HEAD.replace("import os\n", "import os\n\nfrom helper_of_mine import STEPS\n").replace("= 4", "= STEPS"), HOST)
    assert _read(["run", "mine.py", "--out", "run"], capsys)[0] == 0
    assert _trajectory("run").sizes["generation"] == 3
