"""What models and regimes promise, one function each: it raises AssertionError where a case breaks it."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import replace
from collapse_jax.drivers.host import run_host
from collapse_jax.testing.cases import ModelCase, RegimeCase
from collapse_jax.types import PyTree

DEAD = 8  # empty slots beside the live rows
ALONE = RegimeCase("replace", lambda real: replace())
_KEY, _START = 2, 1  # of a fit, and of where it begins


def check_batch(model_case: ModelCase, regime_case: RegimeCase) -> None:
    """Check jit = eager and vmap = loop for one step, and that everything carried stays finite."""
    chain = chain_of(model_case, regime_case)
    start, _ = chain.init(jax.random.key(3))
    keys = jax.random.split(jax.random.key(5), 3)
    states, records = jax.jit(jax.vmap(chain.step, in_axes=(0, None)))(keys, start)
    assert bool(records["is_finite"].all()), "something is not finite"
    for together, alone in zip(jax.tree.leaves((states, records)), jax.tree.leaves(chain.step(keys[1], start))):
        assert np.isfinite(together).all(), "something is not finite"
        # float32 sums in another order: a few ulp, through an EM or a few Adam steps
        np.testing.assert_allclose(together[1], alone, rtol=2e-4, atol=2e-5)


def chain_of(model_case: ModelCase, regime_case: RegimeCase) -> Chain:
    """Return the chain of a model and a regime."""
    size = model_case.num_samples
    real = lambda key: model_case.real(key, size)  # noqa: E731
    return build_chain(model_case.build(), regime_case.build(model_case.real), real, size)


def training_size(model_case: ModelCase, regime_case: RegimeCase) -> int:
    """Return the number of rows that a generation trains on."""
    regime = regime_case.build(model_case.real)

    def train(key: Any) -> Any:
        rows = model_case.real(key, model_case.num_samples)
        return regime.update(key, rows, regime.init(rows, rows))[0]

    return jax.eval_shape(train, jax.random.key(0)).num_rows


def _signature(tree: PyTree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves]


def carries(model_case: ModelCase, regime_case: RegimeCase) -> None:
    """Shapes, dtypes and weak types are the same in generations 0, 1 and 2, of the state and of the record."""
    chain = chain_of(model_case, regime_case)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, record = jax.eval_shape(chain.init, key)
    for _ in range(2):
        after, after_record = jax.eval_shape(chain.step, key, state)
        assert _signature(after) == _signature(state), "the state changes between generations"
        told, before = ({name: (a.shape, a.dtype) for name, a in one.items()} for one in (after_record, record))
        assert told == before, "the record changes between generations"
        state = after
    assert record["is_finite"].shape == () and record["is_finite"].dtype == bool, "the record has no `is_finite`"


def weighs(model_case: ModelCase, regime_case: RegimeCase) -> None:
    """A regime's training data weigh something, and nothing negative."""
    regime, size = regime_case.build(model_case.real), model_case.num_samples
    real = model_case.real(jax.random.key(0), size)
    state = regime.init(real, real)
    for generation in range(3):
        rows = model_case.real(jax.random.key(generation + 1), size)
        data, state = regime.update(jax.random.key(generation), rows, state)
        assert float(data.total_weight) > 0, f"in generation {generation + 1} all weights are 0"
        if hasattr(data, "weight"):
            assert np.min(np.asarray(data.weight)) >= 0, f"in generation {generation + 1} a weight is negative"


def _rows(case: ModelCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return live rows, and the same with `DEAD` empty slots among them: rows and weights."""
    x = np.asarray(case.real(jax.random.key(0), case.num_samples).x)
    weight = np.ones(len(x) + DEAD, np.float32)
    weight[:: len(weight) // DEAD][:DEAD] = 0
    weight[np.flatnonzero(weight == 0)[DEAD:]] = 1
    full = np.zeros((len(weight), *x.shape[1:]), x.dtype)
    full[weight > 0] = x
    return x, full, weight


def _filled(full: np.ndarray, weight: np.ndarray, value: float) -> Samples:
    alive = (weight > 0).reshape(-1, *[1] * (full.ndim - 1))
    return Samples(jnp.asarray(np.where(alive, full, np.asarray(value, full.dtype))), jnp.asarray(weight))


@lru_cache(16)
def _program(build: Callable) -> Callable:
    """Return the fit of a model, compiled once for all checks: (start, data) -> (params, info)."""
    model = build()
    fit = partial(model.fit, jax.random.key(_KEY))
    return fit if model.on_host else jax.jit(fit)


def _fit(case: ModelCase, start: Any, data: Any) -> Any:
    return _program(case.build)(start, data)


def _start(case: ModelCase, data: Any = None) -> Any:
    if case.restart is not None and case.start is not None:
        return case.restart(*case.start)
    data = case.real(jax.random.key(0), case.num_samples) if data is None else data
    return case.build().init(jax.random.key(_START), data)


def empty_slots(case: ModelCase) -> None:
    """The same program on the same weights: what a row of weight 0 holds changes no bit."""
    _, full, weight = _rows(case)
    clean = _filled(full, weight, 0.0)
    start = _start(case, clean)
    plain = _fit(case, start, clean)
    for content in (np.nan, np.inf, -1e30):
        other = _fit(case, start, _filled(full, weight, content))
        for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other)):
            np.testing.assert_array_equal(a, b, err_msg=f"an empty slot that holds {content} is read")


def _assert_same(case: ModelCase, first: Any, second: Any) -> None:
    """Params agree, in data units where moments say so; the tolerance is float32 rounding through a few EM steps."""
    pair = [one[0] if case.moments is None else case.moments(one[0]) for one in (first, second)]
    for a, b in zip(*map(jax.tree.leaves, pair)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def zero_is_absence(case: ModelCase) -> None:
    """Rows of weight 0 beside live ones change no fit."""
    x, full, weight = _rows(case)
    start = _start(case)
    alone = _fit(case, start, Samples(jnp.asarray(x), jnp.ones(len(x))))
    _assert_same(case, _fit(case, start, _filled(full, weight, np.nan)), alone)


def two_is_twice(case: ModelCase) -> None:
    """The copy stands beside its row, so that a k-means start draws the same rows."""
    x, _, _ = _rows(case)
    # rows that count twice among others that count once: a common factor would change no fit
    rows = np.concatenate([np.repeat(x[:DEAD], 2, axis=0), x[DEAD:]])
    heavy = np.concatenate([np.tile(np.asarray([2, 0], np.float32), DEAD), np.ones(len(x) - DEAD, np.float32)])
    start = _start(case)
    twice = _fit(case, start, _filled(rows, np.ones(len(rows), np.float32), 0.0))
    _assert_same(case, _fit(case, start, _filled(rows, heavy, np.nan)), twice)


def scaled_is_pooled(case: ModelCase) -> None:
    """A statistic scaled by 2 is fitted as one pooled with itself."""
    data = case.real(jax.random.key(0), case.num_samples)
    start = _start(case, data)
    _assert_same(case, _fit(case, start, data.scale(jnp.asarray(2.0))), _fit(case, start, data.merge(data)))


def any_order(case: ModelCase) -> None:
    """Shuffled rows are fitted as rows."""
    _, full, weight = _rows(case)
    order = np.random.default_rng(0).permutation(len(weight))
    start = _start(case)
    shuffled = _fit(case, start, _filled(full[order], weight[order], 0.0))
    _assert_same(case, shuffled, _fit(case, start, _filled(full, weight, 0.0)))


def moves(case: ModelCase) -> None:
    """x -> a x + b of data and start moves means and covariances likewise.

    A power of two scales without rounding; the shift rounds at 1e-7 of itself, hence 1e-3 of a variance.
    """
    scale, shift = 8.0, -3.0
    _, full, weight = _rows(case)
    weights, means, covariances = case.start  # type: ignore[misc]
    moved_start = case.restart(weights, scale * means + shift, scale**2 * covariances)  # type: ignore[misc]
    moved, _ = _fit(case, moved_start, _filled(scale * full + np.float32(shift), weight, 0.0))
    plain, _ = _fit(case, _start(case), _filled(full, weight, 0.0))
    weights, means, covariances = case.moments(plain)  # type: ignore[misc]
    expected = weights, scale * means + shift, scale**2 * covariances
    for a, b in zip(case.moments(moved), expected):  # type: ignore[misc]
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def any_labels(case: ModelCase) -> None:
    """A start with its components reversed ends with them reversed."""
    _, full, weight = _rows(case)
    data, moments = _filled(full, weight, 0.0), case.moments
    plain = moments(_fit(case, _start(case), data)[0])  # type: ignore[misc]
    reversed_start = case.restart(*(part[::-1] for part in case.start))  # type: ignore[misc, union-attr]
    swapped = moments(_fit(case, reversed_start, data)[0])  # type: ignore[misc]
    for a, b in zip(swapped, plain):
        np.testing.assert_allclose(a[::-1], b, rtol=1e-4, atol=1e-4)  # sums over components in another order


def any_units(case: ModelCase) -> None:
    """Data of scale 1e-6 or 1e3 run as data of scale 1 do, in the coordinates of the moving frame.

    A fit that draws rows by a key is left out: rounding may turn a draw.
    """
    model = case.build()

    def run(scale: Any) -> Any:
        def real(key: Any) -> Samples:
            data = case.real(key, case.num_samples)
            return data._replace(x=data.x * scale)

        chain = build_chain(model, replace(), real, case.num_samples)
        first, _ = chain.init(jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 3)
        return jax.lax.scan(lambda state, key: chain.step(key, state), first, keys)[0]

    scales = jnp.array([1.0, 1e-6, 1e3])
    last = jax.jit(jax.vmap(run))(scales)
    frame = model.frame(last.params)  # type: ignore[misc]
    for lane in (1, 2):
        # four fits amplify the rounding of the first, 1e-7, in rows of order 1
        np.testing.assert_allclose(last.synthetic.x[lane], last.synthetic.x[0], rtol=1e-3, atol=1e-3)
        logs = frame.log_scale[lane] - np.log(scales[lane])
        np.testing.assert_allclose(logs, frame.log_scale[0], atol=1e-3)


def _host_segments(case: ModelCase, resume: Any = None) -> list:
    return list(run_host(chain_of(case, ALONE), jax.random.key(0), 2, (1, 2), resume=resume))


def repeats(case: ModelCase) -> None:
    """A model in Python gives the same generations again, all finite."""
    for first, again in zip(_host_segments(case), _host_segments(case)):
        assert first.records["is_finite"].all(), "something is not finite"
        _assert_same_bits((first.records, first.state()), (again.records, again.state()))


def goes_on(case: ModelCase) -> None:
    """It goes on from a generation to the bits of the whole run."""
    _, middle, last = _host_segments(case)
    (on,) = _host_segments(case, (middle.stop, middle.state()))
    _assert_same_bits((on.records, on.state()), (last.records, last.state()))


def _assert_same_bits(first: PyTree, second: PyTree) -> None:
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second)):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
