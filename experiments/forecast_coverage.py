"""Do nine forecasts in ten hold what comes? Intervals of a monitor's forecast on the laboratory's own chains.

    .venv/bin/python experiments/forecast_coverage.py [gaussian] [mixture] [language] [biased] [autoencoder]

Each chain is watched for some generations, and says how many are left until a share of the variance that it has then.
By the drift of the mean it forecasts the expected variance, and what comes is when the mean over all chains has fallen
so far (of Gaussians: by the law); by the variance's own slope it forecasts itself. PIT is where what came lies within
the forecast's distribution: uniform if that is right. Nominal 90 %. 16 minutes beside other work, on 2 cores.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import collapse_jax as lab
from collapse_jax import plots
from collapse_jax.models.bigram import _as_data, draw_transitions
from collapse_jax.monitor import Moments
from collapse_jax.monitor.forecast import forecast
from collapse_jax.numerics import frame as frames

LEVELS = (0.2, 0.4, 0.6, 0.8, 0.9)


class Watched(NamedTuple):
    """Chains of one kind, and what is asked of them.

    Attributes:
        name: of the kind.
        mean: of each generation, shape [num_seeds, num_generations, num_directions].
        covariance: shape [..., num_directions, num_directions].
        kept: share of the first variance, shape [num_seeds, num_generations].
        num: draws a generation.
        seen: generations that are watched.
        share: of the variance then, whose time is forecast.
        half_life: of the expected variance where a law says it, else None.
    """

    name: str
    mean: np.ndarray
    covariance: np.ndarray
    kept: np.ndarray
    num: int
    seen: int
    share: float
    half_life: float | None = None


def of_rows(directions: np.ndarray, centre: np.ndarray) -> list[lab.Metric]:
    """Return metrics: mean and covariance of what a generation draws, along directions."""
    along, middle = jnp.asarray(directions), jnp.asarray(centre)

    def rows(snapshot):
        drawn = snapshot.synthetic
        x = drawn.x if drawn.frame is None else frames.to_data_units(drawn.frame, drawn.x)
        return (x - middle) @ along

    num = len(along.T)
    return [
        lab.Metric("means", ("direction",), "1", lambda key, s: jnp.mean(rows(s), axis=0)),
        lab.Metric(
            "covariances", ("direction", "other"), "1",
            lambda key, s: jnp.cov(rows(s).T, bias=True).reshape(num, num),
        ),
    ]  # fmt: skip


def watched(name, chain, scale, num, seen, share, seeds, generations, half_life=None) -> Watched:
    """Run chains and return what is watched of them."""
    found = lab.simulate(chain, jax.random.key(0), seeds, generations, lanes=min(seeds, 50))
    covariance = found.covariances.values.astype(float)
    kept = np.einsum("sgii,i->sg", covariance, 1 / np.asarray(scale)) / len(scale)
    return Watched(name, found.means.values.astype(float), covariance, kept, num, seen, share, half_life)


def gaussian(seeds: int = 400, dims: tuple[int, ...] = (1, 4, 16)) -> Iterator[Watched]:
    num = 100
    for dim in dims:
        for seen in (5, 10):
            first = lambda key, dim=dim: lab.as_samples(jax.random.normal(key, (num, dim)))  # noqa: E731
            model = lab.gaussian(dim, estimator="mle")
            chain = lab.build_chain(model, lab.replace(), first, num, of_rows(np.eye(dim), np.zeros(dim)))
            law = np.log(2) / -np.log1p(-1 / num)
            yield watched(f"Gaussian, {dim} dimensions", chain, np.ones(dim), num, seen, 0.5, seeds, seen, law)


def biased(seeds: int = 200) -> Iterator[Watched]:
    num = 1000
    first = lambda key: lab.as_samples(jax.random.normal(key, (num, 8)))  # noqa: E731
    model = lab.gaussian(8, estimator="mle", bias=0.9)
    chain = lab.build_chain(model, lab.replace(), first, num, of_rows(np.eye(8), np.zeros(8)))
    for seen in (4, 8):
        yield watched("Gaussian, draws of 0.9 of the variance", chain, np.ones(8), num, seen, 0.5, seeds, seen + 12)


def mixture(seeds: int = 200) -> Iterator[Watched]:
    truth, num = lab.two_gaussians(), 100
    scale = np.array([5.0, 1.0])
    metrics = of_rows(np.eye(2), np.zeros(2))
    chain = lab.build_chain(lab.mixture(2), lab.replace(), truth.sampler(num), num, metrics)
    yield watched("mixture of two", chain, scale, num, 10, 0.5, seeds, 120)


def language(seeds: int = 200, far: bool = False) -> Iterator[Watched]:
    words, num, seen = 64, 2000, 10
    table = jnp.asarray(np.random.default_rng(0).dirichlet(np.full(words, 0.3), size=words))

    def shares(key, snapshot):
        counts = snapshot.synthetic.values.sum(0)
        return counts / counts.sum()

    first = lambda key: _as_data(draw_transitions(key, table, num, "path"))  # noqa: E731
    metrics = [lab.Metric("shares", ("word",), "1", shares)]
    chain = lab.build_chain(lab.bigram(words), lab.replace(), first, num, metrics)
    shares_of = lab.simulate(chain, jax.random.key(0), seeds, 400, lanes=50).shares.values.astype(float)
    diversity = 1 - np.sum(shares_of**2, axis=-1)
    often = np.argsort(-shares_of[:, 0].mean(axis=0))[:32]
    mean = shares_of[:, :, often]
    covariance = np.einsum("sgi,ij->sgij", mean, np.eye(32)) - mean[..., :, None] * mean[..., None, :]
    kept = diversity / diversity[:, :1].mean()
    yield Watched("bigram, 64 words", mean, covariance, kept, num, seen, 0.85 if far else 0.95)


def autoencoder(seeds: int = 12) -> Iterator[Watched]:
    digits = lab.load_mnist().images.reshape(10_000, -1)
    pool, others, num = jnp.asarray(digits[:8000]), digits[8000:], 1000
    centre = others.mean(axis=0)
    _, _, vectors = np.linalg.svd(others - centre, full_matrices=False)
    directions = vectors[:16].T
    scale = ((others - centre) @ directions).var(axis=0)
    first = lambda key: lab.as_samples(pool[jax.random.choice(key, 8000, (num,), replace=False)])  # noqa: E731
    for draws in ("mean", "bernoulli"):
        model = lab.vae(num_steps=300, learning_rate=4e-3, draws=draws)
        chain = lab.build_chain(model, lab.replace(), first, num, of_rows(directions, centre))
        found = watched(f"autoencoder, {draws} draws", chain, scale, num, 3, 0.8, seeds, 9)
        for seen in (2, 3, 4):
            yield found._replace(seen=seen)
            yield found._replace(seen=seen, share=0.5)


KINDS = {
    "gaussian": gaussian, "mixture": mixture, "language": language, "language, far ahead": lambda: language(far=True),
    "biased": biased, "autoencoder": autoencoder,
}  # fmt: skip


def judge(found: Watched) -> tuple[np.ndarray, float, float]:
    """Return the PIT of each chain, the share that 90 % intervals hold, and the share forecast by the slope."""
    mean_path = found.kept.mean(axis=0)
    places, holds, by_slope = [], [], []
    for seed in range(len(found.kept)):
        told = list(zip(found.mean[seed], found.covariance[seed], found.kept[seed]))[: found.seen + 1]
        moments = [Moments(mean, spread, 1 / found.num, float(kept), found.num) for mean, spread, kept in told]
        share = found.share * found.kept[seed, found.seen]
        ends = {level: forecast(moments, [found.num] * len(moments), share, level) for level in LEVELS}
        is_slope = ends[0.9].basis == "variance"
        path = found.kept[seed] if is_slope else mean_path
        came = crossing(path[found.seen :], found.share)
        if found.half_life is not None and not is_slope:
            came = found.half_life * np.log(1 / found.share) / np.log(2)
        quantiles = [ends[level].low for level in LEVELS[::-1]] + [ends[level].high for level in LEVELS]
        places.append(np.searchsorted(quantiles, came))
        holds.append(ends[0.9].low <= came <= ends[0.9].high)
        by_slope.append(is_slope)
    return np.array(places), float(np.mean(holds)), float(np.mean(by_slope))


def crossing(path: np.ndarray, share: float) -> float:
    """Return when a path has fallen to a share of its first value, between generations; inf: not within it."""
    below = np.flatnonzero(path <= share * path[0])
    if not len(below):
        return float("inf")
    last, here = path[below[0] - 1], path[below[0]]
    return float(below[0] - 1 + np.log(last / (share * path[0])) / np.log(last / here))


def main(kinds: list[str], out: Path) -> None:
    print("kind, generations seen, share forecast, chains: 90 % intervals that hold; forecast by the slope; seconds")
    every: dict[str, list[np.ndarray]] = {}
    for kind in kinds or KINDS:
        begun = time.perf_counter()
        for found in KINDS[kind]():
            places, holds, slope = judge(found)
            every.setdefault(kind, []).append(places)
            error = (holds * (1 - holds) / len(places)) ** 0.5
            print(
                f"{found.name}, {found.seen}, {found.share:g}, {len(places)}: {holds:.1%} +- {error:.1%}; "
                f"{slope:.0%}; {time.perf_counter() - begun:.0f}", flush=True,
            )  # fmt: skip
    draw(every, out)


def draw(every: dict[str, list[np.ndarray]], out: Path) -> None:
    """Draw where what came lies within its forecast."""
    edges = np.array([0, *(0.5 - np.array(LEVELS[::-1]) / 2), *(0.5 + np.array(LEVELS) / 2), 1])
    figure, axes = plots.new_figure(1, len(every), width=2.3 * len(every) + 0.6, height=2.6)
    for panel, (kind, found) in zip(axes[0], every.items()):
        places = np.concatenate(found)
        heights = np.bincount(places, minlength=len(edges) - 1) / len(places) / np.diff(edges)
        panel.stairs(heights, edges, fill=True, color=plots.COLOURS[0], alpha=0.6)
        panel.axhline(1, color="black", linewidth=0.8)
        inside = np.mean((places > 0) & (places < len(edges) - 2))
        title = f"{kind}\n{inside:.0%} of {len(places):,} held by 90 %"
        panel.set(title=title, xlabel="PIT", ylim=(0, 3.2), xlim=(0, 1))
    axes[0, 0].set_ylabel("density")
    print(plots.save_figure(figure, out, "forecast_coverage"))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    main(sys.argv[1:], Path(__file__).parent / "figures")
