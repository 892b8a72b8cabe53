"""Kill the commands that users type at random moments, go on as users would, and compare: nothing may be lost.

    python tests/kills.py FOLDER NUM_KILLS [SEED] [KIND ...]

Each kind (`COMMANDS`) is run once to its end, and then again and again by processes that are killed. The time of a kill
is drawn from the whole of what such a process takes, start and drawing included. Whoever was killed goes on by
`resume`; where that says in a sentence that there is nothing to resume, by the command itself. In the end every
trajectory, verdict and report must be there and be the one of the run that nobody killed. Started by `test_survival`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from collapse_jax.drivers.results import read_netcdf

_STUDY = '''
import dataclasses
from collapse_jax import Plan, Arm, build_chain, gaussian, gaussian_truth, replace
from collapse_jax.models.gaussian import gaussian_metrics

@dataclasses.dataclass(frozen=True)
class Config:
    generations: int = 2000
    seeds: int = 6
    seed: int = 0

def build(config):
    chains = [build_chain(gaussian(1), replace(), gaussian_truth(1).sampler(size), size, gaussian_metrics()[2:])
              for size in (20, 40)]
    return Plan("num_samples", tuple(Arm(size, chain) for size, chain in zip((20, 40), chains)), 50, 2)
'''
COMMANDS = {
    "gmm": ["run", "gmm", "--preset", "smoke", "--generations", "300", "--lanes", "2"],
    "vae": ["run", "vae", "--preset", "smoke"],
    "diffusion": ["run", "diffusion", "--preset", "smoke"],
    "web": ["run", "web", "--preset", "smoke"],
    "opt": ["run", "opt", "--preset", "smoke"],
    "sweep": ["sweep", "gaussian", "--axis", "num_samples=20,40,80", "--generations", "2000", "--seeds", "4"],
    "own": ["run", "study.py"],
    "reproduce": ["reproduce", "--preset", "smoke"],
}
_NOTHING_THERE = ("name the --out of a run", "start that again")


def main(folder: Path, num_kills: int, seed: int, kinds: list[str]) -> None:
    """Print a line of figures for each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.py").write_text(_STUDY)
    for number, kind in enumerate(kinds):
        rng = np.random.default_rng([seed, number])
        share = num_kills // len(kinds) + (number < num_kills % len(kinds))
        print(json.dumps({"kind": kind, **_suffer(folder, kind, share, rng)}), flush=True)


def _suffer(folder: Path, kind: str, num_kills: int, rng: np.random.Generator) -> dict:
    """Kill a kind of run so often; return where the kills fell, and how many lives came to their end."""
    whole = folder / f"{kind}-whole"
    for path in (folder / f"{kind}-first", whole):  # the first one compiles
        begun = time.monotonic()
        _finish([*COMMANDS[kind], "--out", str(path)], folder)
        seconds = time.monotonic() - begun
    fell: Counter[str] = Counter()
    lives = 0
    while fell.total() < num_kills:
        path = folder / f"{kind}-life{lives}"
        _live([*COMMANDS[kind], "--out", str(path)], path, folder, seconds, num_kills - fell.total(), rng, fell)
        _assert_same(path, whole)
        lives += 1
    return {"seconds": round(seconds, 1), "kills": fell.total(), "lives": lives, "fell": dict(fell)}


def _live(
    command: list[str], path: Path, folder: Path, seconds: float, most: int, rng: np.random.Generator,
    fell: Counter[str],
) -> None:  # fmt: skip
    """Begin, be killed at most so often, go on, and come to the end."""
    typed = command
    for _ in range(most):
        process = _started(typed, folder)
        try:
            process.wait(rng.uniform(0.1, 1) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        said = process.communicate()[0]
        if process.returncode == 0:
            return
        if process.returncode == -signal.SIGKILL:
            fell[_state(path)] += 1
            typed = ["resume", str(path)]
            continue
        assert process.returncode == 2 and any(sentence in said for sentence in _NOTHING_THERE), said
        assert typed is not command and not list(path.rglob("*.npz")), said  # nothing there was lost
        typed = command
    code, said = _ended(typed, folder)
    if code == 2 and any(sentence in said for sentence in _NOTHING_THERE):
        code, said = _ended(command, folder)
    assert code == 0, said


def _state(path: Path) -> str:
    """Return what a kill found on disk."""
    runs = [json.loads(file.read_text()) for file in path.rglob("config.json")]
    if not runs:
        return "nothing begun"
    if all(run["status"] == "finished" for run in runs):
        return "finished, not reported" if not (path / "report.html").is_file() else "finished"
    if not list(path.rglob("*.npz")) and not list(path.rglob("trajectory.nc")):
        return "nothing finished"
    under_way = next(file for file in path.rglob("config.json") if json.loads(file.read_text())["status"] != "finished")
    return "drawing" if (under_way.parent / "trajectory.nc").is_file() else "under way"


def _assert_same(path: Path, other: Path) -> None:
    """All trajectories, verdicts and reports are there, and are the same."""
    found, expected = ({file.relative_to(run) for file in run.rglob("*.nc")} for run in (path, other))
    assert found == expected and found, (found, expected)
    for name in found:
        assert read_netcdf(path / name).equals(read_netcdf(other / name)), path / name
        run, whole = (path / name).parent, (other / name).parent
        assert (run / "claims.json").read_text() == (whole / "claims.json").read_text(), run
        assert not list(run.rglob(".part-*")) and not list(run.glob("records/*")), run
        pictures = [sorted(entry.name for entry in (place / "figures").iterdir()) for place in (run, whole)]
        assert pictures[0] == pictures[1], pictures
    assert (path / "report.html").is_file()


def _started(command: list[str], folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "XDG_STATE_HOME": str(folder)}
    call = [sys.executable, "-c", "from collapse_jax.cli.main import main; main()", *command]
    return subprocess.Popen(
        call, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _ended(command: list[str], folder: Path) -> tuple[int, str]:
    process = _started(command, folder)
    said = process.communicate()[0]
    return process.returncode, said


def _finish(command: list[str], folder: Path) -> None:
    code, said = _ended(command, folder)
    assert code == 0, said


if __name__ == "__main__":
    where, kills, *rest = sys.argv[1:]
    main(Path(where).resolve(), int(kills), int(rest[0]) if rest else 0, rest[1:] or list(COMMANDS))
