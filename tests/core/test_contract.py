"""One contract over every model and every regime of `registry`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import MODELS, NUM_ROWS, REGIMES

from collapse_jax import Samples, build_chain

DEAD = 8  # empty slots beside the live rows


def _training_size(model_case, regime_case):
    """Number of rows that a generation trains on."""
    regime = regime_case.build(model_case.fresh)

    def train(key):
        rows = model_case.fresh(key, NUM_ROWS)
        return regime.update(key, rows, regime.init(rows, rows))[0]

    return jax.eval_shape(train, jax.random.key(0)).num_rows


def _refusal(model_case, regime_case):
    """The error, fault and remedy that a pair without sense must meet, or None."""
    if regime_case.needs_points and not model_case.draws_points:
        return TypeError, r"must .*, got Stream.*; \w+ "
    if model_case.stores_training and _training_size(model_case, regime_case) != NUM_ROWS:
        return ValueError, r"state.* changes from .* between generations; keep its shape"
    return None


def _chain(model_case, regime_case):
    real = lambda key: model_case.fresh(key, NUM_ROWS)  # noqa: E731
    return build_chain(model_case.build(), regime_case.build(model_case.fresh), real, NUM_ROWS)


def _pairs():
    """The first model, cheap to compile, with every regime; every other model with one regime, each another."""
    pairs = [(MODELS[0], regime) for regime in REGIMES]
    for shift, model in enumerate(MODELS[1:]):
        choices = [regime for regime in REGIMES if _refusal(model, regime) is None]
        pairs.append((model, choices[(1 + 4 * shift) % len(choices)]))
    return [pytest.param(*pair, id="-".join(case.name for case in pair)) for pair in pairs]


def _by_name(cases):
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


over_models = pytest.mark.parametrize("model_case", MODELS, ids=lambda case: case.name)
over_regimes = pytest.mark.parametrize("regime_case", REGIMES, ids=lambda case: case.name)


def _signature(tree):
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves]


def _assert_carry(model_case, regime_case):
    """Shapes, dtypes and weak types are the same in generations 0, 1 and 2, of the state and of the record."""
    if refusal := _refusal(model_case, regime_case):
        error, sentence = refusal
        with pytest.raises(error, match=sentence):
            _chain(model_case, regime_case)
        return
    chain = _chain(model_case, regime_case)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, record = jax.eval_shape(chain.init, key)
    for _ in range(2):
        after, after_record = jax.eval_shape(chain.step, key, state)
        assert _signature(after) == _signature(state)
        assert {name: (a.shape, a.dtype) for name, a in after_record.items()} == {
            name: (a.shape, a.dtype) for name, a in record.items()
        }
        state = after
    assert record["is_finite"].shape == () and record["is_finite"].dtype == bool


@over_models
@over_regimes
def test_carry(model_case, regime_case):
    _assert_carry(model_case, regime_case)


@over_models
def test_carry_in_double_precision(x64, model_case):
    for regime_case in REGIMES:
        _assert_carry(model_case, regime_case)


@pytest.mark.parametrize(("model_case", "regime_case"), _pairs())
def test_compiled_batch_equals_eager_loop(model_case, regime_case):
    """jit = eager and vmap = loop for one step, and everything carried stays finite."""
    chain = _chain(model_case, regime_case)
    start, _ = chain.init(jax.random.key(3))
    keys = jax.random.split(jax.random.key(5), 3)
    states, records = jax.jit(jax.vmap(chain.step, in_axes=(0, None)))(keys, start)
    assert bool(records["is_finite"].all())
    for together, alone in zip(
        jax.tree.leaves((states, records)), jax.tree.leaves(chain.step(keys[1], start))
    ):
        assert np.isfinite(together).all()
        # float32 sums in another order: a few ulp, through an EM or a few Adam steps
        np.testing.assert_allclose(together[1], alone, rtol=2e-4, atol=2e-5)


def _rows(case, seed=0):
    """Live rows as a NumPy array, and the same rows as data with `DEAD` empty slots among them."""
    x = np.asarray(case.fresh(jax.random.key(seed), NUM_ROWS).x)
    weight = np.ones(NUM_ROWS + DEAD, np.float32)
    weight[::4] = 0
    full = np.zeros((len(weight), *x.shape[1:]), np.float32)
    full[weight > 0] = x
    return x, full, weight


def _filled(full, weight, value):
    return Samples(jnp.asarray(np.where(weight[:, None] > 0, full, np.float32(value))), jnp.asarray(weight))


@pytest.fixture(scope="module")
def fitted():
    """(case) -> compiled fit, kept for the module: (start or None, data) -> (params, info)."""
    programs = {}

    def program(case):
        if case.name not in programs:
            model = case.build()
            programs[case.name] = jax.jit(lambda start, data: model.fit(jax.random.key(2), start, data))
        return programs[case.name]

    return program


def _start(case, data):
    return case.restart(*case.start) if case.restart else case.build().init(jax.random.key(1), data)


@_by_name(MODELS)
@pytest.mark.parametrize("content", [np.nan, np.inf, -1e30])
def test_an_empty_slot_is_never_read(case, content, fitted):
    """The same program on the same weights: what a row of weight 0 holds changes no bit."""
    _, full, weight = _rows(case)
    clean, dirty = _filled(full, weight, 0.0), _filled(full, weight, content)
    start = _start(case, clean)
    for plain, other in zip(*(jax.tree.leaves(fitted(case)(start, data)) for data in (clean, dirty))):
        np.testing.assert_array_equal(plain, other)


EXACT = [case for case in MODELS if case.exact_weights]


def _assert_same_fit(case, first, second, rtol=1e-4):
    """Params agree, in data units; the tolerance is float32 rounding through an EM run of a few steps."""
    for a, b in zip(case.moments(first[0]), case.moments(second[0])):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@_by_name(EXACT)
def test_weight_zero_is_absence(case, fitted):
    x, full, weight = _rows(case)
    start = _start(case, None)
    alone = fitted(case)(start, Samples(jnp.asarray(x), jnp.ones(len(x))))
    _assert_same_fit(case, fitted(case)(start, _filled(full, weight, np.nan)), alone)


@_by_name(EXACT)
def test_weight_two_is_the_row_twice(case, fitted):
    """The copy stands beside its row, so that a k-means start draws the same rows."""
    x, _, _ = _rows(case)
    # eight rows that count twice among sixteen that count once: a common factor would change no fit
    rows = np.concatenate([np.repeat(x[:8], 2, axis=0), x[8:]])
    heavy = np.concatenate([np.tile(np.float32([2, 0]), 8), np.ones(16, np.float32)])
    assert len(rows) == NUM_ROWS + DEAD  # the program is compiled already
    start = _start(case, None)
    twice = fitted(case)(start, _filled(rows, np.ones(len(rows), np.float32), 0.0))
    _assert_same_fit(case, fitted(case)(start, _filled(rows, heavy, np.nan)), twice)


@_by_name([case for case in EXACT if case.deterministic_fit])
def test_order_of_rows_is_irrelevant(case, fitted):
    _, full, weight = _rows(case)
    order = np.random.default_rng(0).permutation(len(weight))
    start = _start(case, None)
    shuffled = fitted(case)(start, _filled(full[order], weight[order], 0.0))
    _assert_same_fit(case, shuffled, fitted(case)(start, _filled(full, weight, 0.0)))


@_by_name([case for case in EXACT if case.restart])
def test_a_fit_moves_with_its_data(case, fitted):
    """x -> a x + b of data and start moves means and covariances likewise.

    A power of two scales without rounding; the shift rounds at 1e-7 of itself, hence 1e-3 of a variance.
    """
    scale, shift = 8.0, -3.0
    _, full, weight = _rows(case)
    weights, means, covariances = case.start
    moved_start = case.restart(weights, scale * means + shift, scale**2 * covariances)
    moved, _ = fitted(case)(moved_start, _filled(scale * full + shift, weight, 0.0))
    plain, _ = fitted(case)(_start(case, None), _filled(full, weight, 0.0))
    weights, means, covariances = case.moments(plain)
    expected = weights, scale * means + shift, scale**2 * covariances
    for a, b in zip(case.moments(moved), expected):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


@_by_name([case for case in EXACT if case.deterministic_fit and len(case.start[0]) > 1])
def test_component_labels_carry_no_meaning(case, fitted):
    _, full, weight = _rows(case)
    data = _filled(full, weight, 0.0)
    plain = case.moments(fitted(case)(_start(case, None), data)[0])
    swapped = case.moments(fitted(case)(case.restart(*(part[::-1] for part in case.start)), data)[0])
    for a, b in zip(swapped, plain):
        np.testing.assert_allclose(a[::-1], b, rtol=1e-4, atol=1e-4)  # sums over components in another order


@_by_name([case for case in MODELS if case.deterministic_fit and case.build().frame is not None])
def test_units_of_the_data_leave_the_whitened_run_alone(case):
    """Data of scale 1e-6 or 1e3 run as data of scale 1 do, in the coordinates of the moving frame.

    A fit that draws rows by a key is left out: rounding may turn a draw.
    """
    model, replace_case = case.build(), REGIMES[0]

    def run(scale):
        real = lambda key: _scaled(case.fresh(key, NUM_ROWS), scale)  # noqa: E731
        chain = build_chain(model, replace_case.build(case.fresh), real, NUM_ROWS)
        first, _ = chain.init(jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 3)
        last, records = jax.lax.scan(lambda state, key: chain.step(key, state), first, keys)
        return last, records

    scales = jnp.array([1.0, 1e-6, 1e3])
    last, _ = jax.jit(jax.vmap(run))(scales)
    frame = model.frame(last.params)
    for lane in (1, 2):
        # four fits amplify the rounding of the first, 1e-7, in rows of order 1
        np.testing.assert_allclose(last.synthetic.x[lane], last.synthetic.x[0], rtol=1e-3, atol=1e-3)
        logs = frame.log_scale[lane] - np.log(scales[lane])
        np.testing.assert_allclose(logs, frame.log_scale[0], atol=1e-3)


def _scaled(samples, scale):
    return samples._replace(x=samples.x * scale)
