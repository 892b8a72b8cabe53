"""Laws of poison, of forgetting and of inherited watermarks: shares that generations resample."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Regime
from collapse_jax.core.real_data import add_real, fresh, replace_with_real
from collapse_jax.core.regimes import accumulate, compose, window
from collapse_jax.core.statistics import Sums
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    categorical_points,
    count_sums,
)
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import curation, watermarks
from collapse_jax.theory import poison as exact
from collapse_jax.types import Array, ArrayLike, Key, PyTree

_GENERATIONS, _SIZE = 8, 20
_GREEN, _BOOST = 0.25, 2.0
_MASS = float(watermarks.green_mass(_GREEN, _BOOST))
# share at the start, share in fresh rows, and how many of these there are
_CELLS = {
    "replace": (0.3, 0.0, 0.0),
    "fresh share 0.1": (0.3, 0.0, 0.1),
    "green, replace": (_MASS, _GREEN, 0.0),
    "green, fresh share 0.1": (_MASS, _GREEN, 0.1),
}
_FIRST, _BATCH = 40, 20
_BATCHES, _AGES, _DOSE = 4, (0, 3), 0.5
_DRAWN, _CLEAN = 60_000, 40_000
# dose at the start, and advantage
_SPREAD = {"a few": (0.05, 2.0), "endemic": (0.2, 2.0), "rare": (0.005, 2.0), "rare, R0 < 1": (0.005, 1.25)}
_REPLAYED, _NEW, _TASKS = 12, 6, 2
_OLD_CLASSES = np.array([20.0, 12.0, 8.0, 0.0, 0.0, 0.0])


def chains() -> dict[str, Chain]:
    """Return shares with and without fresh rows, pools, windows, poison that spreads, and tasks."""
    probabilities = categorical_metrics()[2:]
    first = count_sums(jnp.array([0.9 * _FIRST, 0.1 * _FIRST]))
    return {
        "shares": vmap_chain(_share, tuple(range(len(_CELLS))), "cell"),
        "accumulate": build_chain(
            categorical(2), accumulate(_GENERATIONS), lambda key: first, _BATCH, probabilities
        ),
        "window": vmap_chain(_windowed, _AGES, "age"),
        "spread": vmap_chain(_spreading, tuple(range(len(_SPREAD))), "cell"),
        "replay": _replay(),
    }


def laws(records: Records) -> list[Check]:
    """Eight generations after the first."""
    shares = {
        name: records["shares"]["probabilities"][:, -1, index, 1].astype(float)
        for index, name in enumerate(_CELLS)
    }
    pooled = records["accumulate"]["probabilities"][:, -1, 1].astype(float)
    return [
        *_doses(shares),
        check("poison, accumulate", "the pool's dose is a martingale", pooled,
              exact.dose_accumulate(_GENERATIONS, _FIRST, _BATCH, 0.1)[-1]),
        *_windows(records["window"]["probabilities"][..., 1].astype(float)),
        *_spread(records["spread"]["probabilities"][..., 1].astype(float)),
        *_forgotten(records["replay"]["probabilities"].astype(float)),
        *_radioactive(shares),
        *_ends(),
    ]  # fmt: skip


def _share(number: ArrayLike) -> Chain:
    """Return labels of two classes, of which the second is poison, or green; the cell may be traced."""
    begins, clean, fraction = (
        jnp.asarray(column)[jnp.asarray(number, int)] for column in zip(*_CELLS.values())
    )

    def drawn(share: Array, key: Key, num: int) -> Samples:
        return Samples(jax.random.bernoulli(key, share, (num,)).astype(jnp.int32), jnp.ones(num))

    regime = replace_with_real(fresh(lambda key, num: drawn(clean, key, num)), fraction=fraction)
    real = Samples(
        jnp.arange(2), _SIZE * jnp.stack([1 - begins, begins])
    )  # model 0 knows the share at the start
    return build_chain(categorical_points(2), regime, lambda key: real, _SIZE, categorical_metrics()[2:])


def _doses(shares: dict[str, np.ndarray]) -> list[Check]:
    """The expected dose stays, or halves in a known time; most chains have lost it or are all poison."""
    lost, _ = exact.dose_fates(0.3, _GENERATIONS, _SIZE)
    _, fixed = exact.dose_fates(_MASS, _GENERATIONS, _SIZE)
    section = "poison, replace"
    return [
        check(section, "E dose is a martingale", shares["replace"], exact.dose_replace(_GENERATIONS, 0.3)),
        check(section, "P(lost)", shares["replace"] == 0, lost),
        check(section, "P(all is poison), from a share of 0.71", shares["green, replace"] == 1, fixed),
        check(section, "E dose = d (1 - r)^n, r = 0.1", shares["fresh share 0.1"],
              exact.dose_replace(_GENERATIONS, 0.3, 0.1)),
        check_exact(section, "half of it is left after log 2/-log(1 - r)",
                    exact.dose_replace(exact.dose_half_life(0.1), 0.3, 0.1), 0.15),
    ]  # fmt: skip


def _windowed(age: ArrayLike) -> Chain:
    """Return a window of four batches, known ones at first; the one of an age, when all are there, is half poison."""
    place = _BATCHES - 1 - jnp.asarray(age, int)  # which of the first four

    def known(batch: Array) -> Sums:
        dose = jnp.where(batch == place, _DOSE, 0.0)
        return count_sums(_BATCH * jnp.stack([1 - dose, dose]))

    def update(key: Key, synthetic: Sums, batch: Array) -> tuple[Sums, PyTree]:
        given = jax.tree.map(
            lambda one, other: jnp.where(batch < _BATCHES, one, other), known(batch), synthetic
        )
        return given, batch + 1

    begins = Regime(lambda real, synthetic: jnp.asarray(1), update)
    regime = compose(begins, window(_BATCHES))
    return build_chain(
        categorical(2), regime, lambda key: known(jnp.asarray(0)), _BATCH, categorical_metrics()[2:]
    )


def _windows(dose: np.ndarray) -> list[Check]:
    """The poison of the newest batch, and of the oldest, after five more."""
    found, section = [], "poison, window of 4"
    rounds = _GENERATIONS - (_BATCHES - 1)
    for index, age in enumerate(_AGES):
        told = exact.dose_window(200, _BATCHES, age, _DOSE)
        found += [
            check(section, f"poison in the batch of age {age}: E dose", dose[:, -1, index], told[rounds]),
            check_exact(section, f"after 200 more: 2 (k - j)/(k (k + 1)) d, j = {age}", told[-1],
                        exact.dose_window_limit(_BATCHES, age, _DOSE)),
        ]  # fmt: skip
    return found


def _spreading(number: ArrayLike) -> Chain:
    """Return poison that a model writes more readily than it has read it, beside clean rows."""
    begins, odds = (jnp.asarray(column)[jnp.asarray(number, int)] for column in zip(*_SPREAD.values()))

    def written(p: Array) -> Array:
        weights = p * jnp.stack([jnp.ones_like(odds), odds])
        return weights / jnp.sum(weights)

    clean = fresh(lambda key, num: count_sums(jnp.array([num, 0.0])))
    real = count_sums((_DRAWN + _CLEAN) * jnp.stack([1 - begins, begins]))
    return build_chain(
        categorical(2, transform=written), add_real(clean, count=_CLEAN), lambda key: real, _DRAWN,
        categorical_metrics()[2:],
    )  # fmt: skip


def _spread(dose: np.ndarray) -> list[Check]:
    """A hundred thousand rows a generation, of which 40 % are clean: the law of infinitely many but for 1/M."""
    clean, section = _CLEAN / (_CLEAN + _DRAWN), "poison with an advantage"
    found = []
    for index, (name, (begins, odds)) in enumerate(_SPREAD.items()):
        law = exact.dose_advantaged(_GENERATIONS, begins, odds, clean)
        found.append(
            check(section, f"{name}: E dose after eight", dose[:, -1, index], law, allowance=law / 1000)
        )
        if "rare" in name:
            found.append(
                check(section, f"{name}: a row has R0 = w (1 - r)", dose[:, 1, index] / begins,
                      exact.poison_reproduction(odds, clean), allowance=odds * begins)
            )  # fmt: skip
    stays = exact.endemic_dose(2.0, clean)
    return [*found, check_exact(section, "the endemic dose stays", _SPREAD["endemic"][0], stays)]


def _replay() -> Chain:
    """Return tasks in turn: a model is fitted to what it remembers of the old ones and to rows of a new one."""
    new = CategoricalTruth(np.array([0.0, 0.0, 0.0, 0.5, 0.25, 0.25]))
    real = count_sums(jnp.asarray(_OLD_CLASSES))
    regime = add_real(fresh(lambda key, num: new.counts_sampler(num)(key)), count=_NEW)
    return build_chain(categorical(6), regime, lambda key: real, _REPLAYED, categorical_metrics()[2:])


def _forgotten(p: np.ndarray) -> list[Check]:
    """Old classes: their mass, and the pairs of them, which forgetting and collapse divide between them."""
    forgotten, collapsed = exact.replay_factors(_REPLAYED, _NEW)
    start = _OLD_CLASSES[:3] / _OLD_CLASSES.sum()
    old = p[:, _TASKS, :3]
    pairs = old.sum(axis=1) ** 2 - np.sum(old**2, axis=1)
    section = "generative replay"
    return [
        check(section, "E mass of old classes: R/(R + M) a task", old.sum(axis=1), forgotten ** (_TASKS / 2)),
        check(section, "E mass^2 x diversity: (R/(R + M))^2 (1 - 1/R) a task", pairs,
              (1 - np.sum(start**2)) * (forgotten * collapsed) ** _TASKS),
    ]  # fmt: skip


def _radioactive(shares: dict[str, np.ndarray]) -> list[Check]:
    """The green excess that models inherit: its mean, and its spread."""
    found = []
    for name, real_share in (("replace", 0.0), ("fresh share 0.1", 0.1)):
        means, spread = watermarks.radioactivity(_GENERATIONS, _SIZE, _MASS, _GREEN, real_share)
        mean, variance = float(means[-1]), float(spread[-1]) ** 2
        excess, section = shares[f"green, {name}"] - _GREEN, f"watermark, {name}"
        found += [
            check(section, "E green excess = (q - g)(1 - r)^n", excess, mean),
            check(section, "Var of the green excess", (excess - mean) ** 2, variance),
        ]
    return found


def _ends() -> list[Check]:
    """Recursions to their ends."""
    fates = exact.dose_fates(0.3, 3000, 50)
    forgotten, collapsed = exact.growing_replay(_GENERATIONS, 10)
    each = np.array([exact.replay_factors(10.0 * task, 10) for task in range(1, _GENERATIONS + 1)])
    return [
        check_exact("poison, replace", "in the end it takes over as often as its dose", fates[1],
                    curation.fixation_probability(0.3, 50, 0.0)),
        check_exact("poison with an advantage", "after a million fits: the endemic dose",
                    exact.dose_advantaged(10**6, 0.05, 2.0, 0.4), exact.endemic_dose(2.0, 0.4)),
        check_exact("generative replay", "growing: both factors of ten tasks", forgotten[-1] * collapsed[-1],
                    np.prod(each)),
    ]  # fmt: skip
