"""Random command lines: a documented exit code, and one sentence for what is wrong; nothing is traced back.

All is checked as in a run, up to the first generation: what would compute is left out.
"""

import contextlib
import io
import traceback
from collections import Counter

import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, given, settings
from random_lines import MINE, lines

from collapse_jax.cli.main import run_command
from collapse_jax.runs import execute as runs
from collapse_jax.runs import report
from collapse_jax.selfcheck import speed, verify


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a file, an empty folder and a study, where nothing runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
    (tmp_path / "afile").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr(runs, "_run", lambda *given: True)
    monkeypatch.setattr(report, "write_report", lambda found, path: path)
    monkeypatch.setattr(verify, "run_program", lambda *given, **options: {})
    monkeypatch.setattr(speed, "all_work", lambda *, quick: [])
    monkeypatch.setattr(speed, "matmul_gflops", lambda size: 1.0)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield tmp_path
    jaxtyping.config.update("jaxtyping_disable", False)


def _answer(line):
    """Return the exit code, and "parser" where the line could not be read at all; anything else fails."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command(line)
    except SystemExit as stopped:  # what the parser of options refuses, it shows in a box
        assert stopped.code in (0, 2), line
        assert "Traceback" not in err.getvalue()
        return "parser" if stopped.code else 0
    except Exception as error:
        raise AssertionError(f"{line} ends with a {type(error).__name__}: {traceback.format_exc()[-900:]}") from None
    told = err.getvalue().rstrip("\n")
    assert code in (0, 2), (line, code, told)
    if code == 2:
        assert told.startswith("collapse-jax: ") and told.endswith(".") and "\n" not in told, (line, told)
    return code


def _tally(num_lines, studies):
    found = Counter()

    @settings(max_examples=num_lines, suppress_health_check=list(HealthCheck))
    @given(lines(studies))
    def run(line):
        found[_answer(line)] += 1

    run()
    return found


def test_a_line_is_done_or_meets_a_sentence(place):
    found = _tally(150, ("gaussian", "gmm"))
    assert found[0] > 4 and found[2] > 30 and found["parser"] > 10


@pytest.mark.heavy
def test_many_lines_are_done_or_meet_a_sentence(place):
    found = _tally(3000, ("gaussian", "gmm", "vae", "opt"))
    print(dict(found))
    assert found[0] > 200 and found[2] > 600 and found["parser"] > 200
