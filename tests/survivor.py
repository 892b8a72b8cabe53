"""Runs a study again and again in processes of its own that are killed at random moments; see test_survival.py.

python survivor.py STUDY FOLDER NUM_KILLS SEED: prints, as JSON, the lives it took and where each kill fell. The parent
imports everything and never starts a device, so a child is forked ready to begin.
"""

import dataclasses
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import build_chain, replace
from collapse_jax.core.data import as_samples
from collapse_jax.metrics.text import generated_nats
from collapse_jax.models.language import FineTuning, language, sampled_decoding
from collapse_jax.networks.opt.config import opt_config
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.networks.opt.model import init_opt
from collapse_jax.runs import execute as runs
from collapse_jax.runs.job import Job
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.registry import STUDIES, Entry, find_study


@dataclasses.dataclass(frozen=True)
class OPTConfig:
    """A small OPT on random tokens, driven from the host in pieces."""

    num_samples: int = 16
    generations: int = 6
    seeds: int = 2
    lanes: int = 1
    seed: int = 0


def build(config):
    network = opt_config("tiny", vocab_size=64, num_layers=1, hidden_size=16, num_heads=2, ffn_size=16)
    tokens = np.random.default_rng(0).integers(3, 64, (2 * config.num_samples, 8)).astype(np.int32)
    real, validation = tokens[: config.num_samples], tokens[config.num_samples :]
    model = language(
        network, init_opt(jax.random.key(0), network), real, validation, sampled_decoding(Rules(8, 8)),
        FineTuning(num_epochs=4, batch_size=8, learning_rate=1e-2), prompt_batch=8,
    )  # fmt: skip
    chain = build_chain(model, replace(), as_samples(jnp.asarray(real)), config.num_samples, [generated_nats(network)])
    return Plan("arm", (Arm("A4 sample", chain),), 1, 1, on_host=True)


# 20 segments of 500 generations and 40 of 50, twice; 6 generations of 4 + 2 pieces, twice
CONFIGS = {
    "gaussian": GaussianConfig(num_samples=(20,), generations=10_000, regime_generations=0, seeds=6, lanes=4),
    "gmm": GMMConfig(num_samples=(20,), generations=2000, seeds=6, lanes=4, held_out=0),
    "pieces": OPTConfig(),
}


def run(name, path):
    """Begin, or go on."""
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    runs.draw = lambda *_: []  # what is drawn at the end is another test's business
    if (path / "config.json").is_file():
        return runs.resume(path, on_progress=lambda progress: None)
    job = Job(find_study(name), CONFIGS[name], path, "smoke", "survivor")
    return runs.execute(job, on_progress=lambda progress: None)


def child(work):
    """Return the number of a new process that does some work and ends."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return number


def finish(work):
    assert os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1]) == 0


def timed(name, path):
    """Run to the end; return how long it took to the first state on disk, and in all."""
    begun, first = time.monotonic(), None
    number = child(lambda: run(name, path))
    while os.waitpid(number, os.WNOHANG)[0] == 0:
        if first is None and any((path / "checkpoints").glob("*.npz")):
            first = time.monotonic() - begun
        time.sleep(0.01)
    return first, time.monotonic() - begun


def live(name, path, rng, first, whole, most):
    """Kill the run at random moments, at most so often, and let it end; return where the kills fell.

    Starting takes longer than running: one kill in four falls anywhere from the start on, the others after something
    new is on disk.
    """
    fallen = []
    while len(fallen) < most:
        begun, before = time.monotonic(), progress(path)
        number = child(lambda: run(name, path))
        anywhere, delay = rng.random() < 0.25, rng.uniform(0, (whole - first) / 6)
        deadline = begun + rng.uniform(0, whole) if anywhere else None
        while deadline is None or time.monotonic() < deadline:
            ended, status = os.waitpid(number, os.WNOHANG)
            if ended:
                assert status == 0
                return fallen  # it came to its end first
            if deadline is None and progress(path) != before:
                deadline = time.monotonic() + delay
            time.sleep(0.003)
        os.kill(number, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) != -signal.SIGKILL:
            return fallen
        fallen.append(progress(path))
    finish(lambda: run(name, path))
    return fallen


def progress(path):
    """What is on disk: segments, and the piece of a generation under way."""
    pieces = [file.stat().st_mtime_ns for file in (path / "checkpoints").glob("*-piece-*.npz")]
    return len(list((path / "records").glob("*.npz"))), max(pieces, default=0)


def main(name, folder, num_kills, seed):
    folder = Path(folder)
    STUDIES["pieces"] = Entry("pieces", "an OPT in pieces", {"smoke": OPTConfig()}, "survivor")
    finish(lambda: run(name, folder / "whole"))
    first, whole = timed(name, folder / "again")  # every program is in the cache now
    rng, lives = np.random.default_rng(seed), []
    while sum(map(len, lives)) < num_kills:
        path = folder / f"life{len(lives)}"
        lives.append(live(name, path, rng, first, whole, num_kills - sum(map(len, lives))))
    print(json.dumps({"first": first, "whole": whole, "lives": lives}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
