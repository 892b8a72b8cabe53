"""The page that a reader opens: answers first, claims that need another preset folded, figures in words and numbers."""

import base64
import csv
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

from collapse_jax.analysis.figure_contents import described, least_width, short, table_of
from collapse_jax.analysis.figure_series import series_of
from collapse_jax.analysis.plots import COLOURS, at_a_glance, new_figure, phase_diagram, save_figure
from collapse_jax.drivers.results import write_netcdf
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.pictures import Budget, pictured
from collapse_jax.runs.report import write_report
from collapse_jax.studies.plan import Illustration, Passage
from collapse_jax.studies.registry import find_study

_VOID = {"meta", "img", "br", "input", "link", "hr"}


class _Page(HTMLParser):
    """Every tag with its attributes, and the tags that were left open or closed twice."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.faults = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def _values(fall, num_seeds=9, num=5):
    values = -fall * np.arange(num) + 0.01 * np.arange(num_seeds)[:, None]
    return xr.DataArray(values, {"seed": range(num_seeds), "generation": range(num)}, ("seed", "generation"))


def _claim(verdict, **changes):
    tested = verdict != "not testable"
    return {
        "name": "c", "statement": "It falls.", "source": "paper", "verdict": verdict, "label": "analogue",
        "estimate": -1.0 if tested else None, "interval": [-2.0, -0.5] if tested else [None, None],
        "region": [None, 0.0], "level": 0.95 if tested else None, "num_seeds": 9, "num_excluded": 0, "reason": "",
        **changes,
    }  # fmt: skip


def _run(folder, study, claims=(), **changes):
    run = RunDirectory(folder)
    description = {
        "study": study, "preset": "smoke", "command": "collapse-jax reproduce --preset smoke", "status": "finished",
        "device": "cpu x 2", "started": "2026-01-02T03:04:05+00:00", "commit": "abc", "digest": "0", "seconds": 1.0,
        "config": {"seeds": 9, "generations": 4, "regime": "replace", "truth": "cloud", "separation": 4.0},
        "versions": {"jax": "1"}, "shards": [[0, 9]], **changes,
    }  # fmt: skip
    run.write_json("config.json", description)
    run.write_json("claims.json", list(claims))
    fall = _values(1.0).expand_dims(num_samples=[10])
    write_netcdf(xr.Dataset({"log_variance": fall, "log_total_variance": fall}), folder / "trajectory.nc")
    first = Illustration("first", "What is left.", at_a_glance({"M = 10": _values(1.0)}, "log variance"))
    second = Illustration("more of it", "Texts.", None, texts=(Passage("one <b>", (("prompt", "a <i>b</i>"),)),))
    run.write_json("figures/captions.json", [picture.save(folder / "figures") for picture in (first, second)])
    return run


@pytest.fixture
def page(tmp_path):
    """Two studies: one whose claims fall in every kind, one without a claim that can be tested."""
    claims = [
        _claim("holds"), _claim("holds"), _claim("fails"), _claim("inconclusive"),
        _claim("not testable", reason="the bound, 6, says nothing so early"),
        _claim("not testable", reason="needs 512 seeds, the run has 9", needs="laptop"),
        _claim("not testable", reason="needs generation 2000, the run ends at 4", needs="paper"),
    ]  # fmt: skip
    runs = [_run(tmp_path / "out" / "gaussian", "gaussian", claims), _run(tmp_path / "out" / "gmm", "gmm")]
    return write_report(runs, tmp_path / "out" / "report.html")


def test_answers_and_tallies_come_before_the_first_figure(page):
    text = page.read_text()
    top = re.sub("<[^>]*>|\\s+", " ", text[text.index("<header>") : text.index("<figure")])
    told = "log_variance goes from 0.04 to -3.96 between generations 0 and 4 (medians), down in 9 of 9 chains"
    assert "2 studies" in top and top.count(told) == 2
    tally = r"Claims: +2 hold *, +1 fails *, +1 is open *, +1 cannot be tested here *; 1 needs preset laptop, 1 needs"
    assert re.search(tally + " preset paper", top)
    assert "No claims were made" in top


def test_claims_that_another_preset_decides_are_folded(page):
    """They are not in the table, whose rows are the tally's."""
    text = page.read_text()
    rows = re.findall(r'<tr data-verdict="([a-z ]*)"', text)
    assert sorted(rows) == ["fails", "holds", "holds", "inconclusive", "not testable"]
    folds = re.findall(r"<summary>(\d) claims? needs? preset <b>(\w+)</b>: <code>(.*?)</code>", text)
    assert sum(int(num) for num, _, _ in folds) == 2
    for _, preset, command in folds:
        assert command == f"collapse-jax run gaussian --preset {preset}" and preset in find_study("gaussian").presets


def test_the_page_is_whole_and_valid_and_asks_the_network_for_nothing(page):
    text = page.read_text()
    parsed = _Page(text)
    assert not parsed.faults and not parsed.open
    assert parsed.all("html")[0]["lang"] == "en" and len(parsed.all("title")) == len(parsed.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) and not any(" " in name for name in ids)
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert {tag for tag, attrs in parsed.tags if "src" in attrs} == {"img"}
    assert len(text) < 500_000 and "a &lt;i&gt;b" in text
    for rule in ("prefers-color-scheme: dark", "max-width: 700px", "@media print", "break-inside: avoid"):
        assert rule in text


def test_links_lead_to_what_is_there(page):
    parsed = _Page(page.read_text())
    ids = {attrs["id"] for _, attrs in parsed.tags if "id" in attrs}
    links = [attrs["href"] for attrs in parsed.all("a")]
    files = [unquote(link) for link in links if not link.startswith(("#", "data:"))]
    assert {Path(link).name for link in files} == {"trajectory.nc", "first.svg"}
    assert all((page.parent / link).is_file() for link in files)
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    table = next(link for link in links if link.startswith("data:text/csv"))
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(table.split(",")[1]).decode())))
    assert [float(row["y"]) for row in rows] == pytest.approx(_values(1.0).median("seed").values.tolist())
    assert float(rows[-1]["low"]) < float(rows[-1]["y"]) < float(rows[-1]["high"])


def test_each_figure_has_its_words_and_its_command(page):
    parsed = _Page(page.read_text())
    images = parsed.all("img")
    assert len(images) == 2
    for image in images:
        assert image["alt"].startswith("log variance: M = 10 falls from 0.04 to -3.96 (band at the end")
        assert image["alt"].endswith("over generation 0 to 4.") and int(image["width"]) == round(4.4 * 96)
    assert page.read_text().count("<code>collapse-jax run gaussian --preset smoke --out gaussian</code>") == 2


def test_a_run_s_own_answer_is_a_sentence_and_its_presets_are_those_of_its_verdicts(tmp_path):
    few = "needs 512 seeds, the run has 9"
    claims = [_claim("not testable", needs="paper"), _claim("not testable", reason=few, needs="")]
    run = _run(tmp_path / "run", "gaussian", claims, answer="it shrinks")
    text = write_report([run], tmp_path / "run" / "report.html").read_text()
    assert '<span class="answer">It shrinks.</span>' in text and "1 claim needs preset <b>paper</b>" in text
    assert "1 cannot be tested here" in text and "laptop" not in text


def test_two_runs_of_one_study_have_links_of_their_own(tmp_path):
    runs = [_run(tmp_path / name, "mine & co", title="Mine <1>") for name in "ab"]
    parsed = _Page(write_report(runs, tmp_path / "report.html").read_text())
    assert [a["href"] for a in parsed.all("a")][:2] == ["#mine-co", "#mine-co--2"] and not parsed.faults


def test_a_study_of_ones_own_speaks_of_its_own_metric(tmp_path):
    run = _run(tmp_path / "run", "mine", title="My study", file={"path": "/mine.py", "digest": "0", "versions": {}})
    text = write_report([run], tmp_path / "run" / "report.html").read_text()
    assert "<h1>My study</h1>" in text and "paper" not in re.sub(r"--paper|var\(--\w+\)", "", text.split("</style>")[1])
    assert "log_variance goes from 0.04 to -3.96" in text and "<script" not in text


def test_words_say_how_lines_move_and_where_theory_lies():
    figure, axes = new_figure(1, 2)
    panel, other = axes[0]
    x = np.arange(11.0)
    panel.plot(x, 10.0**-x, color=COLOURS[0], label="spread")
    panel.fill_between(x, 10.0 ** (-x - 1), 10.0 ** (-x + 1), color=COLOURS[0], alpha=0.2)
    panel.plot(x, 3 * 10.0**-x, ":", color="black", label=r"law, $v^n$")
    panel.set(yscale="log", title="left", xlabel="generation")
    other.plot(x, np.where(x == 5, 9.0, 1.0), label="back")
    other.plot(x, 1 + x, "--", color="black")
    other.axhline(4.0, color="#999999", label="published")
    other.set(title="right")
    told = described(figure)
    assert "left: spread falls from 1 to 1e-10 (band at the end 1e-11 to 1e-9); law, v^n lies within the band" in told
    assert "back moves between 1 and 9" in told and "off back" in told and "published is at 4" in told
    outside = next(one for one in series_of(panel) if one.label.startswith("law"))
    panel.get_lines()[1].set_ydata(1e5 * outside.y)
    assert "within the band" not in described(figure).replace("within the band of spread at 0%", "")


def test_each_law_of_one_look_lies_beside_its_own_line():
    falls = {"M = 1": _values(1.0), "M = 9": _values(0.1)}
    laws = {label: values.median("seed").values for label, values in falls.items()}
    told = described(at_a_glance(falls, "left", laws=laws))
    assert "law lies within the band of M = 1; law lies within the band of M = 9;" in told
    assert len(table_of(at_a_glance(falls, "left", laws=laws)).splitlines()) == 1 + 4 * 5


def test_words_say_where_a_map_is_low_and_high():
    values = xr.DataArray([[1.0, 2.0], [3.0, 7.0]], {"a": [1.0, 2.0], "b": [5.0, 6.0]}, ("a", "b"))
    told = described(phase_diagram(values, "a", "b", "nats"))
    assert told == "Nats goes from 1 at a near 1, b near 5, to 7 at a near 2, b near 6."


def test_descriptions_and_tables_are_bounded():
    figure, axes = new_figure(3, 3)
    for panel in axes.flat:
        panel.plot(np.arange(4000.0), label="x" * 100)
    assert len(described(figure)) < 1000 and "more panels" in described(figure) and table_of(figure) == ""


def test_letters_are_nine_pixels_high(tmp_path):
    figure, axes = new_figure(width=5.0)
    axes[0, 0].plot([1, 2], label="a")
    axes[0, 0].legend(fontsize=6.0)
    save_figure(figure, tmp_path, "small")
    assert least_width(figure) == 5.0 * 9 * 72 / 6.0


def test_what_is_beyond_the_budget_is_linked(tmp_path):
    save_figure(new_figure()[0], tmp_path / "run" / "figures", "a b")
    entry = {"name": "a b", "caption": "c"}
    assert pictured(entry, tmp_path / "run", tmp_path, Budget())["source"].startswith("data:image/png;base64,")
    assert pictured(entry, tmp_path / "run", tmp_path, Budget(10))["source"] == "run/figures/a%20b.png"


def test_logarithmic_ticks_are_powers_or_plain_numbers_and_chosen_ones_stay(tmp_path):
    figure, axes = new_figure(1, 3)
    for panel, ends in zip(axes[0], ((1e-9, 1e9), (4, 700), (1, 1e4))):
        panel.set(yscale="log", ylim=ends)
    axes[0, 2].set_yticks([10.0, 30.0])
    save_figure(figure, tmp_path, "ticks")
    powers, plain, chosen = ([text.get_text() for text in panel.get_yticklabels()] for panel in axes[0])
    assert len(powers) <= 8 and all(re.fullmatch(r"\$10\^\{-?\d+\}\$", text) for text in powers)
    assert all(re.fullmatch(r"[\d,.]+", text) for text in plain) and 3 <= len(plain) <= 8
    assert len(chosen) == 2


def test_numbers_are_said_shortly():
    assert [short(v) for v in (0.0, 12345.6, 1e7, np.inf, np.nan)] == ["0", "12,346", "1e7", "∞", "no number"]
