"""All generations at once: under replace a Gaussian chain is a product of independent factors.

    .venv/bin/python experiments/parallel_generations.py

With unbiased variance, generation n has log sigma_n = sum_i log f_i and mean_n = sum_i sigma_{i-1} e_i, where
f_i^2 = chi2_{M-1}/(M-1) and e_i ~ N(0, 1/M) do not depend on the past. Pairs (log f, e) compose associatively,

    (s, m) then (t, e):  (s + t, m + exp(s) e),

so an associative scan takes log2(n) rounds instead of n steps. Question: is it the same chain, and when is it
faster? Answer: the law agrees over 100,000 generations in float32. It wins where the steps are many and the work
of each is small, one long chain; it loses where many seeds keep the cores busy anyway, since it does more work
and holds every generation in memory at once. Takes about half a minute.
"""

import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import build_chain, gaussian_metrics, gaussian_truth, plots, replace
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.theory.gaussian import log_variance_drift, log_variance_variance

SIZE = 10  # M


def compose(first, second):
    (s, m), (t, e) = first, second
    return s + t, m + jnp.exp(s) * e


@partial(jax.jit, static_argnums=(1, 2))
def by_scan(key, num_seeds, num_fits):
    """Log variance [num_seeds, num_fits] by the laboratory's chain, one generation after the other."""
    real = gaussian_truth(1).moments_sampler(SIZE)
    chain = build_chain(gaussian_statistics(1), replace(), real, SIZE, gaussian_metrics()[2:])

    def lane(key):
        key_init, key_steps = jax.random.split(key)
        state, first = chain.init(key_init)

        def step(state, generation):
            state, record = chain.step(jax.random.fold_in(key_steps, generation), state)
            return state, record["log_total_variance"]

        _, later = jax.lax.scan(step, state, jnp.arange(num_fits - 1))
        return jnp.concatenate([first["log_total_variance"][None], later])

    return jax.vmap(lane)(jax.random.split(key, num_seeds))


@partial(jax.jit, static_argnums=(1, 2))
def in_parallel(key, num_seeds, num_fits):
    """Log variance and mean [num_seeds, num_fits] by an associative scan over independent factors."""
    key_spread, key_mean = jax.random.split(key)
    shape = (num_seeds, num_fits)
    squares = 2 * jax.random.gamma(key_spread, (SIZE - 1) / 2, shape)
    factors = 0.5 * jnp.log(squares / (SIZE - 1))
    steps = jax.random.normal(key_mean, shape) / jnp.sqrt(float(SIZE))
    log_sigma, mean = jax.lax.associative_scan(compose, (factors, steps), axis=1)
    return 2 * log_sigma, mean


def seconds(function, *arguments):
    """Median of five warm runs."""
    jax.block_until_ready(function(*arguments))
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def main(out: Path) -> None:
    key, num_fits = jax.random.key(0), 100_000
    figure, axes = plots.new_figure(1, 2, width=9.0, height=3.4)
    law, speed = axes[0]
    log_variance, _ = in_parallel(key, 64, num_fits)
    fits = np.arange(1, num_fits + 1)
    centre = fits * float(log_variance_drift(SIZE, 1))
    spread = np.sqrt(fits * float(log_variance_variance(SIZE)))
    shown = np.unique(np.geomspace(1, num_fits, 400).astype(int)) - 1
    law.plot(fits[shown], -np.asarray(log_variance)[:12, shown].T, color=plots.COLOURS[0], linewidth=0.6)
    law.plot(fits[shown], -centre[shown], color="black", linestyle=":", label="law: mean, 2 std of a chain")
    for sign in (-2, 2):
        law.plot(fits[shown], -(centre + sign * spread)[shown], color="black", linestyle="--", linewidth=0.9)
    law.set(xscale="log", yscale="log", ylim=(0.05, 3e4), xlabel="fits", ylabel="- log variance, nats")
    law.set_title(f"M = {SIZE}, 100,000 generations at once, 12 seeds")
    plots.legend(law)
    final = np.asarray(log_variance)[:, -1]
    z = (final.mean() - centre[-1]) / (spread[-1] / np.sqrt(len(final)))
    print(
        f"mean log variance after {num_fits:,} fits: {final.mean():.1f}, law {centre[-1]:.1f}, z = {z:+.2f}"
    )
    seeds = (1, 4, 16, 64, 256, 1024)
    for count, colour in zip((1_000, 10_000), plots.COLOURS):
        chosen = [n for n in seeds if n * count <= 2_560_000]
        one, other = (np.array([seconds(f, key, n, count) for n in chosen]) for f in (by_scan, in_parallel))
        speed.plot(chosen, one / other, "o-", color=colour, label=f"{count:,} generations")
        for n, a, b in zip(chosen, one, other):
            print(
                f"{count:>6,} generations x {n:>4} seeds: scan {a * 1e3:8.2f} ms, parallel {b * 1e3:8.2f} ms"
            )
    speed.axhline(1, color="black", linewidth=0.8)
    speed.set(xscale="log", yscale="log", xlabel="seeds", ylabel="speed of parallel / scan")
    speed.set_title("one long chain gains, many seeds do not")
    plots.legend(speed)
    print(plots.save_figure(figure, out, "parallel_generations"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
