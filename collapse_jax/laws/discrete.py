"""Laws of discrete chains: Wright-Fisher, forgetting, novelty, bigrams, one-parameter families, top-p."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.chain import Chain, Metric, Record, Snapshot, build_chain
from collapse_jax.data import Samples
from collapse_jax.laws.checks import Check, check, check_exact, check_variance, run_all
from collapse_jax.models.bigram import bigram, known_table, row_heterozygosity, table_metric
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    temperature,
    top_p,
)
from collapse_jax.models.families import Largest, exponential, log_scale_metric, poisson, uniform
from collapse_jax.models.kde import bootstrap
from collapse_jax.regimes import accumulate, curate, fresh, replace, replace_part
from collapse_jax.sufficient import Sums
from collapse_jax.theory import discrete as exact
from collapse_jax.types import Array, Key


def wright_fisher(key: Key, effort: float) -> list[Check]:
    """Five classes at M = 20, from counts and from labels; accumulation; a memoriser of a Zipf law."""
    size, fits, runs = 20, 8, int(30_000 * effort)
    p = jnp.array([0.4, 0.3, 0.15, 0.1, 0.05])
    truth, metrics = CategoricalTruth(p), categorical_metrics()
    zipf = exact.zipf(1.5, 300)
    chains = {
        "counts": build_chain(categorical(5), replace(), truth.counts_sampler(size), size, metrics),
        "labels": build_chain(categorical(5, draws="points"), replace(), truth.sampler(size), size, metrics),
        "pool": build_chain(categorical(5), accumulate(fits - 1), truth.counts_sampler(size), size, metrics),
        "zipf": build_chain(
            categorical(300, draws="points"), replace(), CategoricalTruth(zipf).sampler(200), 200, metrics[2:]
        ),
    }
    chains |= _two_classes(size)
    records = run_all(chains, key, runs, fits - 1)
    checks = _two_class_laws(records, fits, size)
    for name in ("counts", "labels"):
        record, section = records[name], f"categorical, {name}"
        last = record["probabilities"][:, -1].astype(float)
        covariance = exact.covariance(p, fits, size)
        start = 1 - float(jnp.sum(p**2))
        checks += [
            check(
                section, "E H_n", record["heterozygosity"][:, -1], start * exact.heterozygosity(fits, size)
            ),
            check(section, "E p_n is a martingale", last[:, 0], p[0]),
            check(section, "Cov(p_1, p_2)", (last[:, 0] - p[0]) * (last[:, 1] - p[1]), covariance[0, 1]),
            check(section, "Var p_1", (last[:, 0] - p[0]) ** 2, covariance[0, 0]),
            check(
                section,
                "P(class of 5 % unseen in one fit)",
                record["probabilities"][:, 0, 4] == 0,
                exact.unseen(p[4], size),
            ),
            check(
                section,
                "E support after n fits (exact)",
                record["support"][:, -1],
                exact.expected_support(p, fits, size),
            ),
        ]
    pool = 1 - theory.ibd_accumulate(fits - 1, size, size)[-1]
    checks.append(
        check(
            "categorical, accumulate",
            "E H_n",
            records["pool"]["heterozygosity"][:, -1],
            (1 - jnp.sum(p**2)) * pool,
        )
    )
    seen = records["zipf"]["probabilities"] > 0
    missed = np.einsum("rgk,k->rg", ~seen, np.asarray(zipf, float))
    checks.append(
        check("zipf", "mass never seen by one fit", missed[:, 0], exact.memoriser_error(zipf, 200, 1))
    )
    return checks


def _two_classes(size: int) -> dict[str, Chain]:
    """Chains of two classes, p = 0.3: neutral, judged in pairs, and kept alive by fresh data."""
    truth, metrics = CategoricalTruth(jnp.array([0.3, 0.7])), categorical_metrics()
    judged = curate(lambda labels: jnp.where(labels == 0, 0.8, 0.0), 2, choice="luce")
    points = categorical(2, draws="points")
    return {
        "two": build_chain(categorical(2), replace(), truth.counts_sampler(size), size, metrics),
        "judged": build_chain(points, judged, truth.sampler(size), 2 * size, metrics),
        "mixed": build_chain(
            points, replace_part(fresh(truth.sample), fraction=0.1), truth.sampler(size), size, metrics
        ),
    }


def _two_class_laws(records: dict[str, Record], fits: int, size: int) -> list[Check]:
    share = {
        name: records[name]["probabilities"][..., 0].astype(float) for name in ("two", "judged", "mixed")
    }
    alive = (share["two"][:, -1] > 0) & (share["two"][:, -1] < 1)
    exactly = exact.survival(0.3, fits, size) + exact.survival(0.7, fits, size) - 1
    first = share["judged"][:, 0]
    gain = 2 / (1 + np.exp(-0.8)) - 1
    mixed = theory.ibd_fresh_fraction(fits - 1, size, size, 0.1)[-1]
    return [
        check("two classes", "P(both alive)", alive, exactly),
        check("two classes", "P(class of 30 % alive)", share["two"][:, -1] > 0,
              exact.survival(0.3, fits, size)),
        check("curation, Bradley-Terry", "one step: E[x' - x] = E x(1-x)(2 sigma(D) - 1)",
              share["judged"][:, 1] - first - first * (1 - first) * gain, 0.0),
        check("categorical, fresh mixing", "Var p", (share["mixed"][:, -1] - 0.3) ** 2, 0.21 * mixed),
    ]  # fmt: skip


def families(key: Key, effort: float) -> list[Check]:
    """Exponential, Poisson and uniform at M = 20."""
    size, fits, runs = 20, 8, int(100_000 * effort)
    scale = (log_scale_metric(),)
    total = lambda key: Sums(jnp.asarray(float(size)), jax.random.gamma(key, float(size)))  # noqa: E731
    rate = Metric("rate", (), "1", lambda key, s: s.params)

    def counts(key: Key) -> Sums:
        return Sums(jnp.asarray(float(size)), jax.random.poisson(key, size * 0.15).astype(float))

    chains = {
        "exponential": build_chain(exponential(), replace(), total, size, scale),
        "pooled": build_chain(exponential(), accumulate(fits - 1), total, size, scale),
        "uniform": build_chain(uniform(), replace(), _largest(size), size, scale),
        "poisson": build_chain(poisson(), replace(), counts, size, (rate,)),
    }
    records = run_all(chains, key, runs, fits - 1)
    theta = {
        name: np.exp(records[name]["log_scale"][:, -1].astype(float))
        for name in ("exponential", "pooled", "uniform")
    }
    rates = records["poisson"]["rate"][:, -1]
    drift = fits * float(jax.scipy.special.digamma(float(size)) - jnp.log(float(size)))
    return [
        check("exponential, replace", "E theta_n", theta["exponential"], 1.0),
        check(
            "exponential, replace",
            "E theta_n^2 = (1 + 1/M)^n",
            theta["exponential"] ** 2,
            (1 + 1 / size) ** fits,
        ),
        check("exponential, replace", "E log theta_n", np.log(theta["exponential"]), drift),
        check(
            "exponential, accumulate",
            "E theta_n^2",
            theta["pooled"] ** 2,
            exact.exponential_accumulate(fits, size),
        ),
        check("uniform, replace", "E theta_n = (M/(M+1))^n", theta["uniform"], (size / (size + 1)) ** fits),
        check("uniform, replace", "E log theta_n = -n/M", np.log(theta["uniform"]), -fits / size),
        check_variance("poisson, replace", "Var lambda_n = n lambda / M", rates, fits * 0.15 / size),
        check("poisson, replace", "P(lambda_n > 0)", rates > 0, exact.poisson_survival(0.15, size, fits)),
    ]


def tables(key: Key, effort: float) -> list[Check]:
    """Bigram tables of three words: fixed visits follow Wright-Fisher, one path does not quite."""
    visits, fits, runs = 12, 5, int(20_000 * effort)
    table = jnp.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    metrics = (row_heterozygosity(), table_metric())
    chains = {
        "visits": build_chain(
            bigram(3, draws="visits"), replace(), known_table(table, visits), visits, metrics
        ),
        "path": build_chain(bigram(3), replace(), known_table(table, 60, "path"), 60, metrics),
    }
    records = run_all(chains, key, runs, fits - 1)
    start = float(jnp.mean(1 - jnp.sum(table**2, axis=1)))
    alive = np.diff((records["path"]["table"] > 0).sum(axis=(2, 3)), axis=1)
    return [
        check(
            "bigram, fixed visits", "E row heterozygosity", records["visits"]["row_heterozygosity"][:, -1],
            start * exact.heterozygosity(fits, visits),
        ),
        check("bigram, fixed visits", "E p_ab is a martingale", records["visits"]["table"][:, -1, 0, 0], 0.6),
        check_exact("bigram, one path", "support never grows (largest change)", max(alive.max(), 0), 0),
    ]  # fmt: skip


def novelty(key: Key, effort: float) -> list[Check]:
    """Resampling with a share of draws that are new: the stationary identity; top-p and temperature iterated."""
    size, rate, generations, runs = 20, 0.1, 60, int(20_000 * effort)
    draw = lambda key, num: Samples(jax.random.uniform(key, (num, 1)), jnp.ones(num))  # noqa: E731

    def identity(key: Key, snapshot: Snapshot) -> Array:
        points = snapshot.params.points[:, 0]
        same = jnp.sum(points[:, None] == points[None, :]) - size
        return same / (size * (size - 1))

    regime = replace_part(fresh(draw), fraction=rate)
    chain = build_chain(
        bootstrap(), regime, lambda key: draw(key, size), size, (Metric("identity", (), "1", identity),)
    )
    found = run_all({"novel": chain}, key, runs, generations)["novel"]["identity"][:, -1]
    nucleus, sizes = top_p(0.9), []
    p = jnp.full(100, 0.01)
    for _ in range(60):
        p = nucleus(p)
        sizes.append(int((p > 0).sum()))
    cooled = exact.zipf(1.5, 50)
    for _ in range(3):
        cooled = temperature(0.8)(cooled)
    slope = float(jnp.log(cooled[9] / cooled[0]) / jnp.log(10.0))
    return [
        check("novelty", "stationary identity F", found, exact.novelty_identity(size, rate)),
        check_exact("top-p", "uniform(100), p = 0.9: support after 3", sizes[2], 73),
        check_exact("top-p", "uniform(100), p = 0.9: support at rest", sizes[-1], 9),
        check_exact("temperature", "Zipf exponent b / tau^n", round(-slope, 4), round(1.5 / 0.8**3, 4)),
    ]


def _largest(size: int) -> Callable[[Key], Largest]:
    """Return the function key -> the largest of `size` uniform points."""
    return lambda key: Largest(jnp.asarray(float(size)), jax.random.uniform(key, minval=1e-30) ** (1 / size))
