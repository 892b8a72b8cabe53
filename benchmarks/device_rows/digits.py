"""The published autoencoder protocol on MNIST's 60,000 digits, five seeds at once, one generation after the other.

It is the study `vae` with its preset `paper`, run into the folder `digits`: whatever ends it, the generations that were
finished are kept, and a later call goes on from there. Its claims' verdicts are in `digits/claims.json`.
"""

import dataclasses
import time
from pathlib import Path

import numpy as np

from collapse_jax.datasets.mnist import MNIST_SHA256, mnist_sums
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.execute import execute, resume
from collapse_jax.runs.job import Job
from collapse_jax.runs.processes import Place
from collapse_jax.studies.registry import STUDIES
from collapse_jax.studies.vae.claims import PUBLISHED_SPREAD
from collapse_jax.studies.vae.config import PRESETS, VAEConfig
from device_rows.found import Found, Setting

PUBLISHED_LOSS = (25250, 31514, 34555, 36804, 38883, 40544)  # a batch of 256 at the last epoch, generations 0 to 5
_BATCH, _ENDING = 256, 25.0  # seconds that figures and verdicts may take


def digits(setting: Setting) -> None:
    """Tell of each generation as it is finished, and stop where there is no time for another."""
    config, path = _config(setting), setting.out / "digits"
    watch = _Watch(setting, path, config)
    if (path / "config.json").is_file():
        finished = resume(path, on_progress=watch, despite=True)
    else:
        command = "python benchmarks/accelerator.py --rows digits"
        finished = execute(Job(STUDIES["vae"], config, path, "paper", command), on_progress=watch, place=Place())
    how = "finished" if finished else "stopped for want of time; the same call goes on with it"
    verdicts: dict[str, list[str]] = {}
    for claim in RunDirectory(path).verdicts:
        verdicts.setdefault(claim["verdict"], []).append(claim["name"])
    said = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items())
    setting.tell(Found(_work(config), note=f"{how}; claims: {said}", numbers={"finished": finished, **verdicts}))


def _config(setting: Setting) -> VAEConfig:
    """Return the preset `paper` on the folder's digits; a miniature on the embedded ones in a tiny setting."""
    if setting.tiny and setting.mnist is None:
        return dataclasses.replace(
            PRESETS["smoke"], num_samples=64, generations=1, num_digits=64, num_steps=2, batch_size=16,
            num_measured=16, num_judged=0,
        )  # fmt: skip
    if setting.mnist is None:
        raise ValueError("it needs --mnist FOLDER, the folder of MNIST's four files.")
    if mnist_sums(setting.mnist) != MNIST_SHA256:
        raise ValueError(f"the files in {setting.mnist} are not MNIST's: their check sums are others.")
    config = dataclasses.replace(PRESETS["paper"], data_folder=str(setting.mnist.resolve()))
    return dataclasses.replace(config, num_steps=2, generations=1) if setting.tiny else config


def _work(config: VAEConfig) -> str:
    return (
        f"{config.net} VAE, {config.num_samples:,} digits, {config.num_steps:,} steps of {config.batch_size}, "
        f"{config.seeds} seeds"
    )


class _Watch:
    """Told how far the run has come: tells of each new generation, and stops the run in time."""

    def __init__(self, setting: Setting, path: Path, config: VAEConfig) -> None:
        self.setting, self.path, self.config = setting, path, config
        self.told, self.begun = -1, time.monotonic()

    def __call__(self, progress: object) -> None:
        if getattr(progress, "notice", ""):
            return
        directory = RunDirectory(self.path)
        reached = directory.records.reached(directory.shards[0].label(0))
        if reached <= self.told:
            return
        taken = (time.monotonic() - self.begun) / (reached - self.told)
        records = _by_generation(directory)
        for generation in range(self.told + 1, reached + 1):
            self.setting.tell(_row(self.config, generation, records, taken))
        self.told, self.begun = reached, time.monotonic()
        another = 0.0 if reached == 0 else taken  # the first was compiled, too
        if reached < self.config.generations and self.setting.left < another + _ENDING:
            raise KeyboardInterrupt  # what a run takes for Ctrl-C: it draws and judges what there is


def _by_generation(directory: RunDirectory) -> dict[str, np.ndarray]:
    """Return what is recorded so far: name -> [num_seeds, num_generations]."""
    segments = directory.records.segments(directory.shards[0].label(0))
    names = ("loss", "latent_spread", "latent_mean")
    return {name: np.concatenate([segment[name] for segment in segments], axis=1) for name in names}


def _row(config: VAEConfig, generation: int, records: dict[str, np.ndarray], taken: float) -> Found:
    spread, loss = records["latent_spread"][:, generation], _BATCH * records["loss"][:, generation]
    notes = [f"latent spread {spread.min():.3f} to {spread.max():.3f}{_published_spread(generation)}"]
    beside = f" (published: {PUBLISHED_LOSS[generation]:,})" if generation < len(PUBLISHED_LOSS) else ""
    notes.append(f"loss of a batch of {_BATCH} {loss.min():,.0f} to {loss.max():,.0f}{beside}")
    notes.append(f"latent mean {records['latent_mean'][:, generation].mean():.3f}")
    notes.append(f"{taken:.1f} s{' with compiling' if generation < 2 else ''}")
    images = config.seeds * config.num_steps * config.batch_size
    numbers = {name: values[:, generation].tolist() for name, values in records.items()} | {"seconds": taken}
    return Found(
        _work(config), "images", images / taken, note="; ".join(notes), part=f"generation {generation}", numbers=numbers
    )


def _published_spread(generation: int) -> str:
    if not 1 <= generation <= len(PUBLISHED_SPREAD):
        return ""
    low, high = PUBLISHED_SPREAD[generation - 1]
    return f" (published: {low:.3f} to {high:.3f})"


ROWS = {"digits": digits}
