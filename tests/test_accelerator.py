"""The command that measures the package on an accelerator, on a CPU: its time, what it writes, what goes wrong."""

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import accelerator  # noqa: E402
from clock import TimeIsUp, within  # noqa: E402
from device_rows.found import Found, Setting, Target, gathered, is_compiled, measured  # noqa: E402
from device_rows.found import Program as Ran  # noqa: E402
from device_rows.language import is_eager  # noqa: E402
from device_rows.order import ORDER, Planned  # noqa: E402
from device_rows.written import Written  # noqa: E402
from sides import Side, timings  # noqa: E402


def record(name, row=None, **more):
    return {"name": name, "row": row or name} | more


def good(name, rate=2.0, row=None):
    return record(name, row, **Found("something", "images", rate)._asdict())


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session of made-up rows: one that fails, one that sleeps, one that does, one that needs too long."""

    def fails(setting):
        raise RuntimeError("out of memory\nand much more")

    rows = {
        "fails": fails,
        "sleeps": lambda setting: time.sleep(60),
        "does": lambda setting: setting.tell(Found("counting", "sheep", 3.0, note="well")),
        "long": lambda setting: pytest.fail("it was begun"),
    }
    monkeypatch.setitem(sys.modules, "device_rows.made_up", types.SimpleNamespace(ROWS=rows))
    plan = [Planned(name, "made_up", 1000 if name == "long" else 0.01, "") for name in rows]
    monkeypatch.setattr(accelerator, "ORDER", plan)
    monkeypatch.setattr(accelerator, "BEGUN", time.monotonic())
    return lambda *arguments: accelerator.Session(accelerator._parsed(["--out", str(tmp_path), *arguments]))


def test_a_row_that_fails_hangs_or_does_not_fit_costs_no_other(session, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "_BEYOND", 0.5)
    held = session("--seconds", "100")
    held.measure()
    rows = held.written.rows()
    assert rows["fails"]["error"] == "RuntimeError: out of memory"
    assert rows["sleeps"]["error"].startswith("TimeIsUp")
    assert rows["does"]["rate"] == 3.0 and rows["does"]["seconds"] >= 0 and rows["does"]["device"]
    assert rows["long"]["skipped"].startswith("it needs about 1000 s, and ")
    text = (tmp_path / "accelerator.md").read_text()
    assert "| does | counting | 3 sheep |" in text and "- fails: RuntimeError: out of memory" in text
    assert "## Skipped" in text and "- does: counting: well" in text


def test_the_end_of_the_time_ends_the_process_and_says_in_which_row(session, monkeypatch):
    ended = []
    monkeypatch.setattr(accelerator.os, "_exit", ended.append)
    held = session("--seconds", "0.1")
    held.now = Planned("sleeps", "made_up", 1, "")
    held._watch()
    assert ended == [0] and held.written.rows()["sleeps"]["error"] == "the time was over while it ran"
    held.over.set()
    held._watch()
    assert ended == [0]


def test_rows_are_chosen_by_name_and_a_typo_meets_the_nearest(session):
    held = session("--rows", "does")
    held.measure()
    assert list(held.written.rows()) == ["does"]
    with pytest.raises(SystemExit, match="there is no row 'dose'; did you mean 'does'"):
        session("--rows", "dose")
    with pytest.raises(SystemExit, match="must be positive"):
        session("--seconds", "0")


def test_a_line_that_was_cut_off_loses_itself_alone(tmp_path):
    written = Written(tmp_path)
    written.append(good("conv-1"))
    whole = written.lines.read_bytes()
    written.lines.write_bytes(whole + whole[: len(whole) // 2])
    assert list(written.rows()) == ["conv-1"]
    written.append(good("mlp-1", 5.0))
    assert list(written.rows()) == ["conv-1", "mlp-1"]
    assert "| mlp-1 | something | 5 images |" in written.page.read_text()
    assert [json.loads(line)["name"] for line in written.lines.read_text().splitlines()[::2]] == ["conv-1", "mlp-1"]


def test_the_latest_row_of_a_name_counts_and_what_was_measured_is_not_lost_for_want_of_time(tmp_path):
    written = Written(tmp_path)
    written.append(record("conv-1", error="out of memory"))
    written.append(record("ceilings", error="no device"))
    written.append(good("ceilings: copy", row="ceilings"))
    written.append(good("conv-1", 3.0))
    written.append(record("conv-1", skipped="no time"))
    rows = written.rows()
    assert list(rows) == ["ceilings: copy", "conv-1"] and rows["conv-1"]["rate"] == 3.0
    written.append(good("conv-1", float("nan")))
    assert written.rows()["conv-1"]["rate"] is None


def test_of_two_limits_the_nearer_holds_and_the_outer_one_goes_on():
    with pytest.raises(TimeIsUp), within(0.3):
        with within(30.0):
            pass
        with pytest.raises(TimeIsUp), within(0.05):
            time.sleep(5)
        time.sleep(5)
    with pytest.raises(TimeIsUp, match="no time was left"), within(0.0):
        pytest.fail("it was begun")
    time.sleep(0.3)  # nothing is left of either


def test_peers_that_hang_or_fail_are_named_and_ours_is_kept(tmp_path):
    ours, slow = Side("ours", lambda: None, 1), Side("slow", lambda: time.sleep(0.02), 1)
    hangs = Side("hangs", lambda: time.sleep(60), 1)
    until = time.monotonic() + 1.5
    setting = Setting(True, until, tmp_path, None, {}, lambda found: None)
    target = Target("2x slow", 2.0, lambda name: name == "slow")
    program = Ran(lambda: None, 1.5, 2.0)
    found = measured(setting, "sleeping", "naps", ours, program, peers=[slow, hangs], target=target)
    assert found.peer == "slow" and found.met and found.compile == 1.5
    assert "hangs (failed: TimeIsUp" in found.note
    alone = timings([ours, Side("no", lambda: 1 / 0, 1)], repeats=2, least_seconds=0.0)
    assert alone[1].cost == float("inf") and "ZeroDivisionError" in alone[1].name


def test_without_a_library_there_is_no_peer_and_the_row_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    def make():
        import torch  # noqa: F401

        yield Side("never", print, 1)

    setting = Setting(True, 0.0, tmp_path, None, {}, lambda found: None)
    sides, note = gathered(setting, make)
    assert sides == [] and note.startswith("no peer: ") and "torch" in note


def test_names_of_peers_say_how_they_are_used():
    assert is_compiled("transformers, static cache") and not is_compiled("transformers, static cache, not compiled")
    assert is_eager("transformers") and is_eager("transformers, 2 threads")
    assert not is_eager("transformers, static cache, not compiled") and not is_eager("transformers, static cache")


def test_every_planned_row_is_there():
    for planned in ORDER:
        text = (BENCHMARKS / "device_rows" / f"{planned.module}.py").read_text(encoding="utf-8")
        assert "ROWS" in text and planned.seconds > 0 and planned.about
    assert len({planned.name for planned in ORDER}) == len(ORDER)


def called(*arguments):
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--size", "tiny", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_measures_ceilings_and_bits(tmp_path):
    done = called("--seconds", "100", "--out", str(tmp_path), "--rows", "bits-gmm", "ceilings")
    assert done.returncode == 0, done.stderr
    rows = Written(tmp_path).rows()
    assert list(rows) == ["ceilings: float32", "ceilings: bfloat16", "ceilings: copy", "bits-gmm"]
    assert rows["bits-gmm"]["met"] is True and rows["ceilings: float32"]["numbers"]["relative_error"] < 1e-5


def test_the_miniature_of_every_row_is_measured(tmp_path):
    done = called("--seconds", "1000", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = Written(tmp_path).rows()
    assert {row["row"] for row in rows.values()} == {planned.name for planned in ORDER}
    assert not [name for name, row in rows.items() if row.get("error") or row.get("skipped")]


@pytest.mark.parity
def test_mixtures_in_pytorch_keep_their_law():
    torch = pytest.importorskip("torch")
    from peers.torch_mixture import draw, em_step, fit, start

    torch.manual_seed(0)
    mixture = start(200, "cpu")
    x = draw(mixture, 100)
    after, before = em_step(x, mixture)
    # after a step of EM the mixture's mean is the sample's, and its likelihood is no less
    assert torch.allclose((after.weights[..., None] * after.means).sum(1), x.mean(1), atol=1e-5)
    assert (em_step(x, after)[1] >= before - 1e-6).all()
    for _ in range(30):
        mixture = fit(x, mixture, 1e-3)
        x = draw(mixture, 100)
    total = x.var(1).sum(-1).mean().item()  # 6 (1 - 1/100)^30; the spread of the mean of 200 chains is about 0.15
    assert abs(total - 6 * 0.99**30) < 0.75
