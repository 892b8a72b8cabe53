"""Generation 0 and the later ones as one program: the same records, one compilation, and when it is not done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    Chunked,
    Metric,
    Model,
    Samples,
    accumulate,
    build_chain,
    original,
    replace,
    replace_with_real,
    run_compiled,
)
from collapse_jax.drivers.joined import Apart, run_joined
from collapse_jax.drivers.lanes import Lanes, compile_lanes

ROOT, ROWS = jax.random.key(5), 20


def _fit_mean(key, params, data):
    """A mean that depends on the key and on the parameters before."""
    mean = jnp.sum(data.x * data.weight[:, None]) / jnp.sum(data.weight)
    return params * 0.25 + mean + 0.1 * jax.random.normal(key), {"mean": mean}


LONG_FIT = Chunked(
    lambda key, params, data: (key, params, data), lambda index, carry: carry, lambda carry: _fit_mean(*carry), 1
)


def _model(fit=LONG_FIT):
    return Model(
        lambda key, real: jnp.float32(2.0),
        fit,
        lambda key, params, num: Samples(params + jax.random.normal(key, (num, 1)), jnp.ones(num)),
    )


def _chain(fit=LONG_FIT, regime=None, rows=ROWS):
    metric = Metric("sum", (), "1", lambda key, s: jnp.sum(s.training.x) + s.origin)
    regime = regime or replace_with_real(original(), fraction=0.3)
    real = lambda key: Samples(jax.random.normal(key, (rows, 1)), jnp.ones(rows))  # noqa: E731
    return build_chain(_model(fit), regime, real, ROWS, (metric,))


def _by_hand(chain, seed, generations):
    key = jax.random.fold_in(ROOT, seed)
    state, record = chain.init(jax.random.fold_in(key, 0))
    records = [record]
    for generation in range(1, generations + 1):
        state, record = chain.step(jax.random.fold_in(key, generation), state)
        records.append(record)
    return state, jax.tree.map(lambda *values: np.stack(values), *records)


@pytest.mark.parametrize("regime", [replace(), replace_with_real(original(), fraction=0.3)], ids=["replace", "mix"])
def test_it_records_what_start_and_steps_do_one_by_one(regime):
    chain = _chain(regime=regime)
    segments = list(run_compiled(chain, ROOT, 3, (2, 5), lanes=3))
    assert [(segment.start, segment.stop) for segment in segments] == [(0, 0), (1, 2), (3, 5)]
    found = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *(segment.records for segment in segments))
    for seed in range(3):
        state, records = _by_hand(chain, seed, 5)
        _check_lane(found, seed, records)
        _check_lane(segments[-1].state(), seed, state)


def _check_lane(lanes, lane, alone):
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one[lane], other, rtol=2e-5), lanes, alone)


def _compiled(chain, every=1):
    lanes = Lanes(chain, 2, 2, record_every=every).checked()
    return compile_lanes(lanes, ROOT.dtype, 3)


def test_a_long_fit_is_compiled_once_and_a_short_one_is_not_looked_at():
    counted = []

    def advance(index, carry):
        counted.append(index)
        return carry

    fit = Chunked(LONG_FIT.start, advance, LONG_FIT.finish, 1)
    chain = _chain(fit)
    counted.clear()
    assert not hasattr(_compiled(chain).begin, "memory_analysis"), "the start is a program of its own"
    assert len(counted) <= 3, "start for its shapes, and the step of the loop"
    assert hasattr(_compiled(_chain(_fit_mean)).begin, "memory_analysis")
    assert hasattr(_compiled(_chain(), every=2).begin, "memory_analysis")


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (_chain(_fit_mean), "a short fit"),
        (_chain(regime=accumulate(4)), "one argument is"),
        (_chain(rows=ROWS + 1), "one argument is"),
        (_chain()._replace(calls=None), "one piece"),
    ],
    ids=["short", "accumulate", "more-real", "own"],
)
def test_what_cannot_be_joined_runs_apart(chain, why):
    state, _ = chain.init(ROOT)
    with pytest.raises(Apart, match=why):
        run_joined(chain, ROOT, state, jnp.asarray(False))
    (start, rest) = run_compiled(chain, ROOT, 2, (3,), lanes=2)
    assert start.records["sum"].shape == (2, 1) and rest.records["sum"].shape == (2, 3)


def test_other_functions_cannot_be_joined():
    chain, other = _chain(), _chain(Chunked(LONG_FIT.start, LONG_FIT.advance, LONG_FIT.finish, 1))
    calls = lambda key, state: (chain if state is None else other).calls(key, state)  # noqa: E731
    with pytest.raises(Apart, match="other functions"):
        run_joined(chain._replace(calls=calls), ROOT, chain.init(ROOT)[0], jnp.asarray(True))
