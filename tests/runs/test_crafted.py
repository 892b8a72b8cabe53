"""A directory that somebody made up: each thing that `config.json` says is another, with check sums that fit."""

import copy
import itertools
import json
import shutil

import crash_studies
import pytest

from collapse_jax.cli.main import run_command
from collapse_jax.runs import execute as runs
from collapse_jax.runs.directory import _digest
from collapse_jax.runs.job import Job
from collapse_jax.runs.manifest import sealed
from collapse_jax.studies.registry import STUDIES, Entry

CONFIG = crash_studies.Config("host", generations=6, seeds=2)
VALUES = (
    None, True, -5, 0, 10**12, 10**400, 1e308, float("nan"), "", "../..", "[/red]\x1b[31m", [], [None], [[0, 10**12]],
    [[-3, 2]], {}, {"a": {"b": []}}, "x" * 300,
)  # fmt: skip
COUNTS = {"generations", "seeds", "lanes", "seed"}


def _begun(folder, finished=False):
    study = STUDIES["crashing"]

    def stop(progress):
        if progress.generation == 4 and not finished:
            raise KeyboardInterrupt

    runs.execute(Job(study, CONFIG, folder, "smoke", "c"), on_progress=stop)
    return json.loads((folder / "config.json").read_text())


def _places(told, place=()):
    """Yield the place of everything that a description says."""
    for name, value in told.items():
        yield (*place, name)
        if isinstance(value, dict):
            yield from _places(value, (*place, name))


def _put(told, place, value):
    told = copy.deepcopy(told)
    inner = told
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    told.pop("seal", None)
    if place[0] != "digest" and isinstance(told.get("config"), dict):
        told["digest"] = _digest(told)
    return sealed(told)


@pytest.fixture
def studies(monkeypatch):
    study = Entry(
        "crashing", "what a stranger made", {"smoke": CONFIG}, "crash_studies", crash_studies.Config()
    )
    monkeypatch.setitem(STUDIES, "crashing", study)


@pytest.mark.usefixtures("studies", "unchecked")
@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("state", ["under way", "finished"])
def test_whatever_a_description_says_is_used_or_refused_in_a_sentence(
    state, step, tmp_path, monkeypatch, capsys
):
    """What is taken goes as far as the first generation, and the report is drawn; one case of `step` is tried."""
    made = tmp_path / "made"
    told = _begun(made, state == "finished")
    monkeypatch.setattr(runs, "_run", lambda *given: True)
    refused, wrong = 0, []
    for place, value in list(itertools.product(_places(told), VALUES))[::step]:
        shutil.copytree(made, tmp_path / "copy")
        (tmp_path / "copy" / "config.json").write_text(json.dumps(_put(told, place, value)))
        for command in ("resume", "report"):
            try:
                code = run_command([command, str(tmp_path / "copy")])
            except Exception as error:
                code = repr(error)
            lines = capsys.readouterr().err.splitlines()
            err = "\n".join(line for line in lines if not line.startswith(("[0:", "note: ")))  # no progress
            refused += code == 2
            is_sentence = "\n" not in err and err.endswith(".") and len(err) < 900
            must = place[0] == "config" and place[-1] in COUNTS and (place[-1], value) != ("seed", 0)
            if code != 2 and (code != 0 or (must and command == "resume" and state == "under way")):
                wrong.append((command, place, value, code))
            elif code == 2 and not is_sentence:
                wrong.append((command, place, value, err))
        shutil.rmtree(tmp_path / "copy")
    assert not wrong and refused > 400 / step
