"""What the terminal shows: verdicts, laws, timings and progress, read back as text."""

import io
import os

import pytest
from rich.console import Console

from collapse_jax.cli import display as screen
from collapse_jax.cli.display import joined, law_table, print_verdicts, speed_table
from collapse_jax.selfcheck import speed
from collapse_jax.selfcheck.laws.checks import Check


@pytest.fixture
def shown(monkeypatch):
    """() -> what was printed so far, in lines of words."""
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    monkeypatch.setattr(screen, "console", console)
    return lambda *tables: [console.print(table) for table in tables] and [
        line.split() for line in console.export_text().splitlines() if line.strip()
    ]


def _verdict(**changes):
    held = {
        "verdict": "holds", "statement": "it falls", "estimate": -0.12345, "interval": (-0.2, None), "num_seeds": 12,
        "reason": "",
    }  # fmt: skip
    return {**held, **changes}


def test_verdicts_have_their_numbers_and_untestable_ones_their_reason(shown, monkeypatch):
    rows = [_verdict(), _verdict(verdict="not testable", reason="too few seeds", estimate=None, interval=(None, None))]
    print_verdicts("gmm", rows)
    text = screen.console.export_text()
    first, second = text.splitlines()[-2:]
    assert "claims of gmm" in text
    assert first.split() == ["holds", "it", "falls", "-0.123", "-0.2", "to", "inf", "12"]
    assert second.split() == ["not", "testable", "it", "falls", "(too", "few", "seeds)"]
    print_verdicts("gmm", [])
    assert "claims" not in screen.console.export_text()


def test_a_law_shows_both_sides_and_how_many_standard_errors_lie_between(shown):
    checks = [Check("section", "E v [n]", 1.25, 0.1, 1.0), Check("section", "exact one", 2.0, 0.0, 2.0)]
    header, first, second = shown(law_table("program", checks))[1:]
    assert header == ["law", "simulated", "error", "predicted", "z", "detects"]
    assert first[:9] == ["section:", "E", "v", "[n]", "1.25", "0.1", "1", "+2.50", f"{checks[0].detects:.2g}"]
    assert second[-1] == "exact"


def test_speeds_are_shown_in_their_units(shown):
    (header, row) = shown(speed_table([speed.Speed("sampling", "tokens", 12345.6, 1.26, 2048.4)]))
    assert header[:3] == ["work", "a", "second"] and row == ["sampling", "12,346", "tokens", "1.3", "2,048.4"]


def test_several_sizes_are_joined_with_commas():
    assert joined((100, 200_000)) == "100, 200,000" and joined(1000) == "1,000"


def test_a_rate_is_the_amount_over_the_median_of_warm_runs(monkeypatch):
    """A clock that is set by what runs: 3 s to compile, a first run of 2 s, then 2, 8 and 2 s; 10 tokens a run."""
    clock = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    taken = iter((2.0, 2.0, 8.0, 2.0))

    def run():
        clock[0] += next(taken)

    def prepare():
        clock[0] += 3.0
        return run, 5 * 2**20

    told = speed.measure(speed.Work("sampling", "tokens", 10, prepare), repeats=3)
    assert told == speed.Speed("sampling", "tokens", 5.0, 3.0, 5.0)


def test_work_counts_what_it_does(monkeypatch):
    """Generations times seeds; images of both generations of a net; tokens of a batch."""
    monkeypatch.setattr(speed, "init_opt", lambda key, config: {})
    amounts = {work.name.split(",")[0]: (work.unit, work.amount) for work in speed.all_work(quick=True)}
    assert amounts["Gaussian"] == ("chain-generations", 256 * 100)
    assert amounts["mixture"] == ("chain-generations", 64 * 20)
    assert amounts["MLP autoencoder"] == ("images", 2 * 8 * 50 * 128)


@pytest.mark.parametrize("error", [BrokenPipeError, OSError(5, "Input/output error")])
def test_output_that_nobody_reads_ends_nothing(error):
    """`| head`, a closed terminal: what is written after it is dropped."""

    class Cut:
        encoding = "ascii"

        def write(self, text):
            raise error

    patient = screen.Patient(Cut())
    with open(os.devnull, "w") as kept:  # the stream takes the place of descriptor 1
        before = os.dup(1)
        try:
            assert patient.write("words") == 5 and patient.write("more") == 4
            patient.flush()
        finally:
            os.dup2(before, 1)
            os.close(before)
        assert kept.writable()


def test_signs_that_a_terminal_lacks_become_question_marks():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    screen.Patient(stream).write("M → ∞")
    assert stream.buffer.getvalue() == b"M ? ?"


@pytest.mark.parametrize("text", ["runs/[red]run", "[/x]", "E[x|y]", "a\\[b]"])
def test_square_brackets_are_no_markup(text, shown):
    screen.say(text, "note")
    assert shown("") == [["note:", text]]
