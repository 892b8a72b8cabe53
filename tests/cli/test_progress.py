"""Progress of a whole command: what is done, how long the rest takes, two lines on a terminal, plain ones elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from types import SimpleNamespace

import pytest

from collapse_jax.cli import progress
from collapse_jax.cli.progress import Lines, Watch, log_line, span, two_lines
from collapse_jax.runs.execute import Progress


class _Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def _state(label="gmm", generation=0, last=100, **more):
    return Progress(label, generation, last, 64, **more)


def _heard(*parts, weights=(1.0, 3.0)):
    """A watch that heard, at these times and in these jobs, of these states."""
    clock = _Clock()
    watch = Watch(weights, clock)
    for now, job, state in parts:
        clock.now = now
        watch.begin(job)
        watch.hear(state)
    return watch


def test_what_is_done_is_weighed_over_all_jobs():
    watch = _heard((10.0, 0, _state(share=0.5)))
    assert watch.done == pytest.approx(0.125) and watch.left == pytest.approx(70)
    watch.end()
    assert watch.done == 0.25
    watch.begin(1)
    watch.hear(_state("opt", share=0.5))
    assert watch.done == pytest.approx(0.625) and watch.left == pytest.approx(10 * 1.5 / 2.5)


def test_after_a_resume_the_rest_takes_as_long_as_new_work_does():
    """Of 0.6 that is done 0.1 is new, in 20 seconds: the other 0.4 take 80, not 13."""
    watch = _heard((20.0, 0, _state(share=0.6, begun=0.5)), weights=(1.0,))
    assert watch.done == 0.6 and watch.left == pytest.approx(80)
    assert _heard((20.0, 0, _state(share=0.5, begun=0.5)), weights=(1.0,)).left is None


def test_a_job_that_was_finished_before_is_no_new_work():
    clock = _Clock()
    watch = Watch((1.0, 1.0), clock)
    watch.begin(0), watch.end(), watch.begin(1)
    assert watch.done == 0.5 and watch.left is None
    clock.now = 30.0
    watch.hear(_state(share=0.5))
    assert watch.left == pytest.approx(30)


def test_speed_counts_generations_of_all_seeds_since_the_arm_began():
    """From generation 50 to 54 in 2 seconds, 64 seeds: 128 a second."""
    watch = _heard((1.0, 0, _state(generation=50)))
    assert watch.doing == "compiling"
    watch.clock.now = 3.0
    watch.hear(_state(generation=54))
    assert watch.doing == "128 chain-gen/s"
    watch.hear(_state(generation=100, drawing=True))
    assert watch.doing == "drawing"


@pytest.mark.parametrize("width", [79, 60, 40, 20, 5])
@pytest.mark.parametrize(
    "label", ["gmm", "gmm num_samples=1000", "opt arm=A5 beams-penalty-2 and a long way more", "é" * 99]
)
def test_no_line_is_wider_than_the_terminal(width, label):
    watch = _heard((400_000.0, 0, _state(label, 123_456, 2_000_000, share=0.1)))
    lines = two_lines(watch, width)
    assert len(lines) == 2 and all(len(line) <= width for line in lines)
    if width >= 60:
        assert "123,456/2,000,000" in lines[0] and "whole run" in lines[1]
        assert "2 %" in lines[1] and f"{span(400_000.0)} elapsed, {span(watch.left)} left" in lines[1]


def test_a_label_steers_no_terminal():
    watch = _heard((1.0, 0, _state("a\x1b[2Jb\nc")))
    assert all(sign.isprintable() for sign in "".join(two_lines(watch, 79)) + log_line(watch))


def test_plain_lines_come_each_tenth_or_half_a_minute_and_never_twice_a_second():
    watch, told = _heard((0.0, 0, _state(share=0.0)), weights=(1.0,)), []
    lines = Lines(watch, lambda line: told.append((watch.clock.now, line)))
    course = ((0.0, 0.0), (0.5, 0.5), (1.2, 0.5), (5.0, 0.55), (20.0, 0.59), (31.3, 0.59), (33.0, 0.7), (70.0, 0.7))
    for now, share in course:
        watch.clock.now = now
        watch.hear(_state(share=share))
        lines.show()
    assert [now for now, _ in told] == [0.0, 1.2, 31.3, 33.0, 70.0]
    assert told[1][1].startswith("[0:01] gmm: generation 0 of 100") and "whole run 50 %, 0:01 left" in told[1][1]


def test_nothing_is_told_of_what_may_yet_be_refused():
    watch, told = Watch((1.0,), _Clock()), []
    lines = Lines(watch, told.append)
    lines.show()
    assert not told
    watch.clock.now = 31.0  # a long preparation
    lines.show()
    assert told == ["[0:31] preparing; whole run 0 %, -:-- left"]


def test_a_line_comes_also_while_nothing_is_heard():
    watch, told = Watch((1.0,)), threading.Event()
    watch.hear(_state(share=0.1))
    with Lines(watch, lambda line: told.set(), every=0.05):
        assert told.wait(5)


_SHOW = """
import sys, time
from types import SimpleNamespace
from collapse_jax.cli.progress import watching
with watching([1.0]) as watched:
    watched.begin(0)
    for generation in range(5):
        watched.update(SimpleNamespace(label="gmm num_samples=1000", generation=generation, num_generations=4,
            num_seeds=64, notice="", share=generation / 4, begun=0.0, drawing=False))
        time.sleep(0.3)
    watched.end()
print("the answer")
"""


def test_off_a_terminal_there_are_whole_lines_and_no_escapes():
    done = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True)
    assert done.stdout == "the answer\n"
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 4 and all(line.startswith("[0:0") for line in lines)
    assert "\x1b" not in done.stderr and "\r" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_of_80_columns_nothing_wraps_and_the_bar_goes_in_the_end():
    pid, screen = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.environ.pop("COLUMNS", None)
        os.execv(sys.executable, [sys.executable, "-c", _SHOW])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    raw = b""
    try:
        while data := os.read(screen, 65536):
            raw += data
    except OSError:  # the other side has ended
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", raw.decode())
    lines = [line for part in text.split("\n") for line in part.split("\r")]
    assert any("whole run" in line and "elapsed" in line and "left" in line for line in lines)
    assert max(map(len, lines)) < 80 and [line for line in lines if line.strip()][-1] == "the answer"


def test_quiet_shows_nothing(capsys):
    with progress.watching([1.0], quiet=True) as watched:
        watched.begin(0)
        watched.update(SimpleNamespace(**_state(share=0.5)._asdict()))
        watched.end()
    assert capsys.readouterr() == ("", "")
