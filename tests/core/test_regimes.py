"""Regimes: what they train on, row by row, and the variance they leave, against identity by descent."""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse_jax import (
    Samples,
    accumulate,
    add_real,
    as_samples,
    build_chain,
    compose,
    fresh,
    original,
    replace,
    replace_with_real,
    subsample,
    theory,
    weight_real,
    window,
)
from collapse_jax.testing.cases import line as gaussian
from collapse_jax.testing.cases import standard_normal
from collapse_jax.testing.laws import assert_mean
from collapse_jax.testing.strategies import keys

M = 6


def _batch(generation: int) -> Samples:
    """A batch whose rows say who they are: 100 * generation + row."""
    return as_samples(100.0 * generation + np.arange(M, dtype=np.float32)[:, None])


REAL = _batch(0)
FRESH = fresh(lambda key, num: Samples(1000 + jax.random.uniform(key, (num, 1)), jnp.ones(num)))


def _run(regime, num_generations: int, key=None, real: Samples = REAL) -> list[Samples]:
    """What generations 1, 2, ... train on, when generation g draws `_batch(g)`."""
    key = jax.random.key(0) if key is None else key
    state = regime.init(real, _batch(0))
    trainings = []
    for generation in range(1, num_generations + 1):
        training, state = regime.update(jax.random.fold_in(key, generation), _batch(generation), state)
        trainings.append(training)
    return trainings


def _rows(data: Samples) -> list[tuple[float, float]]:
    """Live rows with their weights, sorted."""
    weight = np.asarray(data.weight)
    return sorted(zip(np.asarray(data.x)[weight > 0, 0].tolist(), weight[weight > 0].tolist()))


def _values(data: Samples) -> list[float]:
    return [value for value, _ in _rows(data)]


def _expected(*generations: int) -> list[tuple[float, float]]:
    return sorted((100.0 * g + row, 1.0) for g in generations for row in range(M))


def test_replace_trains_on_the_latest_batch_alone():
    for generation, training in enumerate(_run(replace(), 3), start=1):
        assert _rows(training) == _expected(generation)


def test_accumulate_holds_every_row_once():
    for generation, training in enumerate(_run(accumulate(4), 4), start=1):
        assert training.num_rows == 5 * M
        assert _rows(training) == _expected(*range(generation + 1))


def test_accumulate_keeps_the_weights_of_real_and_drawn_rows():
    heavy = as_samples(REAL.x, np.arange(M))
    training, _ = accumulate(1).update(
        jax.random.key(0), _batch(1).scale(0.5), accumulate(1).init(heavy, _batch(0))
    )
    assert _rows(training) == sorted(
        [(float(row), float(row)) for row in range(1, M)] + [(100.0 + row, 0.5) for row in range(M)]
    )


@pytest.mark.parametrize("num_batches", [1, 2, 3])
def test_window_holds_the_last_batches(num_batches):
    for generation, training in enumerate(_run(window(num_batches), 5), start=1):
        assert _rows(training) == _expected(*range(max(0, generation - num_batches + 1), generation + 1))


def test_window_of_one_is_replace():
    for narrow, plain in zip(_run(window(1), 3), _run(replace(), 3)):
        assert _rows(narrow) == _rows(plain)


def test_window_longer_than_the_run_is_accumulate():
    for wide, pool in zip(_run(window(9), 4), _run(accumulate(4), 4)):
        assert _rows(wide) == _rows(pool)


@pytest.mark.parametrize("num_real", [2, 9])
def test_window_takes_real_data_of_another_size(num_real):
    real = as_samples(np.arange(num_real, dtype=np.float32)[:, None])
    first, second = _run(window(2), 2, real=real)
    assert _values(first) == sorted([*range(num_real), *_values(_batch(1))])
    assert _rows(second) == _expected(1, 2)


@given(keys)
def test_subsample_gives_distinct_live_rows(key):
    live = np.array([0, 2, 3, 5])
    weight = jnp.zeros(M).at[live].set(1.0)
    dirty = Samples(jnp.where(weight[:, None] > 0, REAL.x, jnp.nan), weight)
    for size in (1, 4, 6):
        chosen, _ = subsample(size).update(key, dirty, ())
        assert chosen.num_rows == size
        values = _values(chosen)
        # fewer live rows than asked for: all of them once, and empty slots
        assert len(values) == min(size, 4) == len(set(values)) and set(values) <= set(live.tolist())


def test_subsample_is_uniform():
    """20,000 draws of 2 of 6 rows: each row with probability 1/3; a bias of 0.022 (7 %) is seen nine times in ten."""
    draw = jax.vmap(lambda key: subsample(2).update(key, REAL, ())[0].x[:, 0])
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 20_000)))
    for row in range(M):
        assert_mean((drawn == row).any(axis=1), 1 / 3, power=0.022)


@given(keys, st.integers(0, M))
def test_replace_part_count_puts_that_many_distinct_real_rows(key, count):
    (training,) = _run(replace_with_real(original(), count=count), 1, key)
    values = _values(training)
    real = [value for value in values if value < 100]
    assert len(values) == M and len(real) == count == len(set(real))
    # the slots they take are distinct too: what is left of the batch is there once
    assert len(set(values)) == M and set(values) <= set(_values(REAL)) | set(_values(_batch(1)))


@given(keys)
def test_replace_part_fraction_takes_distinct_real_rows(key):
    (training,) = _run(replace_with_real(original(), fraction=0.5), 1, key)
    values = _values(training)
    assert len(values) == M == len(set(values)) and set(values) <= set(_values(REAL)) | set(
        _values(_batch(1))
    )


def test_replace_part_fraction_is_the_share_of_real_slots():
    """20,000 updates at fraction 0.3: each slot's share to 0.021 (7 %), seen nine times in ten."""
    regime = replace_with_real(original(), fraction=0.3)
    update = jax.vmap(lambda key: regime.update(key, _batch(1), REAL)[0].x[:, 0])
    is_real = np.asarray(update(jax.random.split(jax.random.key(1), 20_000))) < 100
    for slot in range(M):
        assert_mean(is_real[:, slot], 0.3, power=0.021)


def test_replace_part_count_chooses_slots_and_rows_uniformly():
    """20,000 updates with 2 of 6: each slot and each real row a third of the time, to 0.022 (7 %)."""
    regime = replace_with_real(original(), count=2)
    update = jax.vmap(lambda key: regime.update(key, _batch(1), REAL)[0].x[:, 0])
    drawn = np.asarray(update(jax.random.split(jax.random.key(2), 20_000)))
    for index in range(M):
        assert_mean(drawn[:, index] < 100, 1 / 3, power=0.022)
        assert_mean((drawn == index).any(axis=1), 1 / 3, power=0.022)


@pytest.mark.parametrize("amount", [{"fraction": 0.5}, {"count": 3}])
def test_which_slot_is_real_says_nothing_of_the_row_it_gets(amount):
    """20,000 updates: given that a slot is real, each real row is there a sixth of the time.

    Chi-square over 36 cells of 1,667, p > 1e-3: sees a cell off by a tenth.
    """
    regime = replace_with_real(original(), **amount)
    update = jax.jit(jax.vmap(lambda key: regime.update(key, _batch(1), REAL)[0].x[:, 0]))
    drawn = np.asarray(update(jax.random.split(jax.random.key(3), 20_000)))
    counts = np.stack([(drawn == row).sum(axis=0) for row in range(M)])
    expected = counts.sum(axis=0, keepdims=True) / M
    assert (counts.sum(axis=0) > 9_000).all()
    p = stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), M * (M - 1))
    assert p > 1e-3


def test_a_fraction_may_be_traced():
    def share(fraction):
        return replace_with_real(original(), fraction=fraction).update(jax.random.key(0), _batch(1), REAL)[0].x

    shares = jax.jit(jax.vmap(share))(jnp.array([0.0, 0.5, 1.0]))
    for fraction, row in zip((0.0, 0.5, 1.0), shares):
        np.testing.assert_array_equal(row, share(fraction))


def test_no_fraction_is_replace_and_all_of_it_is_real():
    (none,) = _run(replace_with_real(original(), fraction=0.0), 1)
    (every,) = _run(replace_with_real(original(), fraction=1.0), 1)
    (empty,) = _run(replace_with_real(original(), count=0), 1)
    assert _rows(none) == _rows(empty) == _expected(1) and _rows(every) == _expected(0)


def test_original_lasts_before_it_repeats():
    """StopRequest for more rows than there are, it gives each of them before any comes again."""
    few = as_samples(np.arange(2, dtype=np.float32)[:, None])
    (training,) = _run(replace_with_real(original(), count=4), 1, real=few)
    assert sorted(value for value in _values(training) if value < 100) == [0, 0, 1, 1]


@given(keys)
def test_original_counts_rows_that_stand_for_a_point(key):
    """A real row of weight 0 is an empty slot: it takes nobody's place in the training set."""
    real = as_samples(REAL.x, np.array([1, 0, 1, 0, 1, 1]))
    (training,) = _run(replace_with_real(original(), count=4), 1, key, real)
    assert len(_values(training)) == M
    assert [value for value in _values(training) if value < 100] == [0, 2, 4, 5]


def test_add_original_adds_the_real_set_every_time():
    for generation, training in enumerate(_run(add_real(original()), 3), start=1):
        assert _rows(training) == _expected(0, generation)


def test_add_count_adds_that_many():
    (training,) = _run(add_real(original(), count=2), 1)
    assert training.num_rows == M + 2 and len(set(_values(training))) == M + 2
    (training,) = _run(add_real(FRESH, count=3), 1)
    assert sum(value >= 1000 for value in _values(training)) == 3


def test_fresh_data_are_new_every_generation():
    first, second = _run(add_real(FRESH, count=3), 2)
    assert not {v for v in _values(first) if v >= 1000} & {v for v in _values(second) if v >= 1000}


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    ("source", "count", "num_real"), [(original(), None, M), (original(), 2, 2), (FRESH, 9, 9)]
)
def test_weight_real_keeps_the_total_weight(weight, source, count, num_real):
    (training,) = _run(weight_real(source, weight=weight, count=count), 1)
    assert training.num_rows == M + num_real
    is_drawn = (training.x[:, 0] >= 100) & (training.x[:, 0] < 200)
    np.testing.assert_allclose(training.total_weight, M, rtol=1e-6)  # float32 rounding of a sum of 15
    np.testing.assert_allclose(jnp.sum(training.weight[~is_drawn]), weight * M, rtol=1e-6)
    assert len(set(np.asarray(training.weight[~is_drawn]).tolist())) == 1


def test_compose_applies_in_order():
    """A pool cut to its size, and batches cut before they are pooled, hold different rows."""
    for generation, training in enumerate(_run(compose(accumulate(3), subsample(M)), 3), start=1):
        values = _values(training)
        assert training.num_rows == M == len(set(values))
        assert set(values) <= {value for value, _ in _expected(*range(generation + 1))}
    for generation, training in enumerate(_run(compose(subsample(2), accumulate(3)), 3), start=1):
        values = _values(training)
        assert len(values) == M + 2 * generation and values[:M] == _values(REAL)


def test_compose_of_one_is_the_regime_and_keys_differ_between_parts():
    for one, plain in zip(_run(compose(accumulate(2)), 2), _run(accumulate(2), 2)):
        assert _rows(one) == _rows(plain)
    # the same regime twice with one key would add the same rows twice
    (training,) = _run(compose(add_real(FRESH, count=3), add_real(FRESH, count=3)), 1)
    assert len(set(_values(training))) == M + 6


def test_compose_has_the_smallest_room():
    assert compose(accumulate(7), accumulate(3), replace()).max_generations == 3
    assert compose(replace(), subsample(2)).max_generations is None


def _build(regime):
    return build_chain(gaussian(), regime, REAL, M)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: accumulate(0), ValueError, "`max_generations` must be at least 1"),
        (lambda: accumulate(2.5), TypeError, "`max_generations` must be an integer"),
        (lambda: window(0), ValueError, "`num_batches` must be at least 1"),
        (lambda: subsample(0), ValueError, "`num_samples` must be at least 1"),
        (lambda: _build(subsample(M + 1)), ValueError, f"at most the {M} rows"),
        (lambda: replace_with_real(original()), ValueError, "exactly one of `fraction` and `count`"),
        (lambda: replace_with_real(original(), fraction=0.1, count=2), ValueError, "exactly one of"),
        (lambda: replace_with_real(original(), fraction=1.5), ValueError, r"must lie in \[0, 1\], got 1.5"),
        (lambda: replace_with_real(original(), fraction=math.nan), ValueError, r"must lie in \[0, 1\]"),
        (lambda: replace_with_real(original(), count=-1), ValueError, "`count` must be at least 0"),
        (
            lambda: _build(replace_with_real(original(), count=M + 1)),
            ValueError,
            f"at most the {M} synthetic rows",
        ),
        (lambda: add_real(original(), count=0), ValueError, "`count` must be at least 1"),
        (lambda: _build(add_real(FRESH)), ValueError, "`count` must be given with fresh"),
        (lambda: weight_real(original(), weight=-0.1), ValueError, r"`weight` must lie in \[0, 1\]"),
        (lambda: weight_real(original(), weight=0.5, count=0), ValueError, "`count` must be at least 1"),
        (lambda: _build(weight_real(FRESH, weight=0.5)), ValueError, "`count` must be given with fresh"),
        (lambda: compose(), ValueError, "at least one regime"),
    ],
)
def test_bad_input_meets_a_sentence(unchecked, make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


# Laws: a Gaussian fitted by its moments, 65,536 seeds, variances of generations 0 to 5 against identity by
# descent (IBD). G_n is the probability that two draws from the model after n = generation + 1 fits descend from
# the same real draw, C_n that a draw of the model and a point of the fixed real set do; E Var = (1 - G_n) Var_0
# and Var(mean) = G_n Var_0. Model 0 is fitted to as many real points as each generation draws.

BATCH, LAST, SEEDS = 10, 5, 65_536


def _replace():
    return [1 - (1 - 1 / BATCH) ** n for n in range(1, LAST + 2)]


def _accumulate():
    return [1 - math.prod(1 - 1 / (BATCH * k**2) for k in range(1, n + 1)) for n in range(1, LAST + 2)]


def _accumulate_subsample():
    unrelated, values = 1.0, []
    for n in range(1, LAST + 2):
        values.append(1 - (1 - 1 / BATCH) * unrelated)
        pool = (n + 1) * BATCH
        unrelated *= 1 - (3 * BATCH - 1) / (pool * (pool - 1))
    return values


def _recursion(step):
    """(G, C) -> (G, C), from model 0, fitted to the real set itself."""
    pair, values = (1 / BATCH, 1 / BATCH), []
    for _ in range(LAST + 1):
        values.append(pair[0])
        pair = step(*pair)
    return values


def _fraction_fresh(r):
    return _recursion(lambda g, c: (1 / BATCH + (1 - 1 / BATCH) * (1 - r) ** 2 * g, c))


def _fraction_original(r):
    def step(g, c):
        c = r / BATCH + (1 - r) * c
        return 1 / BATCH + (1 - 1 / BATCH) * (2 * r * (1 - r) * c + (1 - r) ** 2 * g), c

    return _recursion(step)


def _count_fresh(a):
    b = BATCH - a
    return _recursion(lambda g, c: (1 / BATCH + b * (b - 1) * g / BATCH**2, c))


def _count_original(a):
    b = BATCH - a
    return _recursion(lambda g, c: (1 / BATCH + (2 * a * b * c + b * (b - 1) * g) / BATCH**2, c))


def _add_original():
    total = 2 * BATCH

    def step(g, c):
        return (
            1 / total + (2 * BATCH * BATCH * c + BATCH * (BATCH - 1) * g) / total**2,
            1 / total + BATCH / total * c,
        )

    return _recursion(step)


def _add_fresh(a):
    total = BATCH + a
    return _recursion(lambda g, c: (1 / total + BATCH * (BATCH - 1) * g / total**2, c))


def _weight_fresh(w, n):
    return _recursion(lambda g, c: (w**2 / n + (1 - w) ** 2 * (1 / BATCH + (1 - 1 / BATCH) * g), c))


def _window(num_batches):
    """Batch by batch: related[s, t], that distinct points of batches s and t descend from the same real draw."""
    related = np.zeros((LAST + 2, LAST + 2))
    values = []
    for generation in range(LAST + 1):
        pool = range(max(0, generation - num_batches + 1), generation + 1)

        def to_batch(s, pool=pool):
            return np.mean(
                [1 / BATCH + (1 - 1 / BATCH) * related[s, s] if u == s else related[u, s] for u in pool]
            )

        g = np.mean([to_batch(s) for s in pool])
        values.append(g)
        for s in range(generation + 1):
            related[generation + 1, s] = related[s, generation + 1] = to_batch(s)
        related[generation + 1, generation + 1] = g
    return values


LAWS = {
    "replace": (replace(), _replace()),
    "accumulate": (accumulate(LAST), _accumulate()),
    "accumulate-subsample": (compose(accumulate(LAST), subsample(BATCH)), _accumulate_subsample()),
    "window": (window(2), _window(2)),
    "fraction-fresh": (replace_with_real(fresh(standard_normal), fraction=0.3), _fraction_fresh(0.3)),
    "fraction-original": (replace_with_real(original(), fraction=0.3), _fraction_original(0.3)),
    "count-fresh": (replace_with_real(fresh(standard_normal), count=3), _count_fresh(3)),
    "count-original": (replace_with_real(original(), count=3), _count_original(3)),
    "add-original": (add_real(original()), _add_original()),
    "add-fresh": (add_real(fresh(standard_normal), count=4), _add_fresh(4)),
    "weight-fresh": (weight_real(fresh(standard_normal), weight=0.4, count=8), _weight_fresh(0.4, 8)),
}


def _recorded(regime):
    """Return key -> the records of generations 0, 1, ..., `LAST` of one seed."""
    chain = build_chain(gaussian(), regime, lambda key: standard_normal(key, BATCH), BATCH)

    def run(key):
        keys = jax.random.split(key, LAST + 1)
        state, first = chain.init(keys[0])
        _, later = jax.lax.scan(lambda state, key: chain.step(key, state), state, keys[1:])
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)

    return run


@lru_cache
def _records():
    """Records [seed, generation] under every law, from one program: compiling eleven takes four times as long."""
    runs = {name: _recorded(regime) for name, (regime, _) in LAWS.items()}
    batch = jax.jit(jax.vmap(lambda key: {name: run(key) for name, run in runs.items()}))
    return jax.tree.map(np.asarray, batch(jax.random.split(jax.random.key(11), SEEDS)))


@pytest.mark.parametrize("name", LAWS)
def test_expected_variance_follows_identity_by_descent(name):
    """The relative variance of a variance is at most (11/9)^6 - 1 = 2.4, under replace; so at most 0.038 is missed.

    That is 4 % of the first variance; (1 - 1/9)^6, a divisor of M - 1 in the wrong place, lies 0.04 away.
    """
    for variance, related in zip(_records()[name]["variance"].T, LAWS[name][1], strict=True):
        assert_mean(variance, 1 - related, power=0.038)


@pytest.mark.parametrize("name", LAWS)
def test_the_mean_wanders_by_what_the_variance_loses(name):
    """E mean^2 = G_n: mean and variance together stay N(0, 1)'s; 0.025 in E mean^2 is seen nine times in ten."""
    for mean, related in zip(_records()[name]["mean"].T, LAWS[name][1], strict=True):
        assert_mean(mean**2, related, power=0.025)


THEORY = {
    "replace": lambda g, m: theory.ibd_replace(g, m, m),
    "accumulate": lambda g, m: theory.ibd_accumulate(g, m, m),
    "accumulate-subsample": theory.ibd_accumulate_subsample,
    "window": lambda g, m: theory.ibd_window(g, m, 2),
    "fraction-fresh": lambda g, m: theory.ibd_fresh_fraction(g, m, m, 0.3),
    "fraction-original": lambda g, m: theory.ibd_original_fraction(g, m, m, 0.3),
    "count-fresh": lambda g, m: theory.ibd_fresh_counts(g, m, 3, m - 3),
    "count-original": lambda g, m: theory.ibd_original_counts(g, m, m, 3),
    "add-original": lambda g, m: theory.ibd_add_original(g, m, m),
    "add-fresh": lambda g, m: theory.ibd_fresh_counts(g, m, 4, m),
    "weight-fresh": lambda g, m: theory.ibd_weight_fresh(g, m, 0.4, 8, m),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_recursions_here_are_those_of_theory(name):
    """Written twice, apart: float32 of probabilities."""
    np.testing.assert_allclose(THEORY[name](LAST, BATCH), LAWS[name][1], rtol=1e-5)
