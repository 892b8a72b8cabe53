"""The report's page: what a run's strings hold is shown, never run; a film gets a slider, and a script with it."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from collapse_jax.analysis.claims import Verdict
from collapse_jax.analysis.plots import Film, new_figure, save_figure, save_film
from collapse_jax.drivers.results import write_netcdf
from collapse_jax.runs.directory import RunDirectory, plain
from collapse_jax.runs.report import write_report

_NASTY = "'\"><script>alert(1)</script>"
_TAGS = re.compile(r"<script")


@pytest.fixture
def run(tmp_path):
    """A run directory with a figure; every string that a user can choose holds markup."""
    run = RunDirectory(tmp_path / "run")
    run.write_json(
        "config.json",
        {
            "study": "vae", "preset": _NASTY, "command": _NASTY, "status": _NASTY, "device": _NASTY, "started": "now",
            "commit": _NASTY, "config": {"seeds": 1, "generations": 2, "data_folder": _NASTY},
            "versions": {"jax": _NASTY}, "digest": "0", "seconds": 1.0, "shards": [[0, 1]],
        },
    )  # fmt: skip
    run.write_json("claims.json", [])
    _with_flags(run, np.ones((2, 3, 4), bool))
    save_figure(new_figure()[0], run.path / "figures", "digits")
    run.write_json("figures/captions.json", [{"name": "digits", "caption": _NASTY}])
    return run


def _with_flags(run, finite):
    flags = xr.Dataset({"is_finite": (("arm", "seed", "generation"), finite)})
    write_netcdf(flags, run.path / "trajectory.nc")


def test_seeds_that_diverged_are_counted(run, tmp_path):
    """One from generation 1 on, one only at generation 2, of two arms of three seeds."""
    assert "did not stay finite" not in write_report([run], tmp_path / "report.html").read_text()
    finite = np.ones((2, 3, 4), bool)
    finite[0, 1, 1:] = finite[1, 2, 2] = False
    _with_flags(run, finite)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert "2 of 6 chains did not stay finite: averages and claims leave them out" in page


def _with_film(run, labels):
    film = Film(np.zeros((len(labels), 5, 10), np.uint8), tuple(labels))
    save_film(film, run.path / "figures", "digits")
    entry = {"labels": labels, "height": 5, "width": 10}
    run.write_json("figures/captions.json", [{"name": "digits", "caption": _NASTY, "film": entry}])


def test_a_page_without_films_has_no_script(run, tmp_path):
    page = write_report([run], tmp_path / "report.html").read_text()
    assert not _TAGS.search(page) and page.count("&lt;script&gt;") >= 8
    assert 'type="range"' not in page


def test_markup_in_labels_stays_text(run, tmp_path):
    _with_film(run, [_NASTY, "generation 1"])
    page = write_report([run], tmp_path / "report.html").read_text()
    assert len(_TAGS.findall(page)) == 1  # the page's own
    held = re.search(r"data-labels='([^']*)'>", page).group(1)
    assert json.loads(held) == [_NASTY, "generation 1"] and "<" not in held


def test_a_film_has_a_slider_with_one_step_for_each_frame(run, tmp_path):
    """It is hidden until the script shows it, and the figure stays beside it."""
    _with_film(run, [f"generation {g}" for g in range(7)])
    page = write_report([run], tmp_path / "report.html").read_text()
    assert 'type="range" min="0" max="6"' in page and "aspect-ratio: 10 / 5" in page
    assert '<div class="film" hidden' in page
    assert page.count("data:image/png;base64,") == 2
    assert 'src="http' not in page and 'href="http' not in page and "url(" not in page


def test_numbers_have_four_digits_and_verdicts_are_counted(run, tmp_path):
    found = [
        Verdict(f"c{i}", "it falls", "us", verdict, "law", 0.123456, (0.1, np.inf), (0.0, 1.0), 0.95, 7, 0, "why")
        for i, verdict in enumerate(("holds", "fails", "holds", "not testable"))
    ]
    claims = [plain(verdict._asdict()) for verdict in found]
    run.write_json("claims.json", claims)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert ">0.1235<" in page and "0.123456<" not in page and "∞" in page
    told = re.search(r"Claims: (.*?)</span>", page).group(1)
    assert re.sub("<[^>]*>", "", told) == "2 hold, 1 fails, 1 cannot be tested here"


def _claim(**changes):
    return {
        "name": "c", "statement": "It falls.", "source": "paper", "verdict": "not testable", "label": "analogue",
        "estimate": None, "interval": [None, None], "region": [None, 0.0], "level": None, "num_seeds": 0,
        "num_excluded": 0, "reason": "", **changes,
    }  # fmt: skip


def test_in_what_analogues_depart_is_said_once_for_all(run, tmp_path):
    """A number leads to it from each; a claim that is tested in the exact protocol alone does not repeat it."""
    first, second = "published: net = conv, here mlp", "published: M = 7"
    claims = [
        _claim(departure=first), _claim(departure=second, reason="needs 5 seeds"), _claim(departure=first, reason=first)
    ]  # fmt: skip
    run.write_json("claims.json", claims)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert page.count(f"[1] {first}.") == page.count(f"[2] {second}.") == 1
    assert page.count('href="#vae-1"') == 2 and page.count('href="#vae-2"') == 1
    assert page.count("tested in the exact protocol alone") == 1 and "needs 5 seeds" in page


def test_claims_of_earlier_runs_have_neither(run, tmp_path):
    run.write_json("claims.json", [_claim(verdict="holds", estimate=-1.0, interval=[-2.0, -0.5], level=0.95)])
    page = write_report([run], tmp_path / "report.html").read_text()
    assert "analogue" in page and "all seeds share" not in page and 'href="#vae-1"' not in page
