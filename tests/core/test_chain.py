"""`build_chain`: what a generation does, in which order, with which keys, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    Chunked,
    Metric,
    Model,
    Regime,
    Samples,
    accumulate,
    add_real,
    as_samples,
    build_chain,
    gaussian_truth,
    mixture,
    original,
    replace,
    run_host,
    two_gaussians,
)
from collapse_jax.core.protocol import Call, run_whole
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.numerics.frame import to_data_units
from collapse_jax.testing.cases import line as gaussian
from collapse_jax.testing.cases import standard_normal

M, KEY = 8, jax.random.key(0)
REAL = as_samples(np.linspace(-1.0, 1.0, M, dtype=np.float32)[:, None])


def _record_of(chain, seed=0):
    state, first = chain.init(jax.random.key(seed))
    return first, chain.step(jax.random.key(seed + 1), state)[1]


def test_generation_0_is_the_model_of_the_real_data():
    chain = build_chain(gaussian(), replace(), REAL, M)
    state, record = chain.init(jax.random.key(0))
    assert int(state.generation) == 0 and bool(record["is_finite"])
    np.testing.assert_allclose(record["mean"], 0.0, atol=1e-6)
    np.testing.assert_allclose(record["variance"], np.var(REAL.x), rtol=1e-5)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state.params, state.origin))
    assert state.synthetic.num_rows == M


def test_a_generation_trains_on_what_the_last_one_drew():
    chain = build_chain(gaussian(), replace(), REAL, M)
    start, _ = chain.init(jax.random.key(0))
    state, record = chain.step(jax.random.key(1), start)
    np.testing.assert_allclose(record["mean"], jnp.mean(start.synthetic.x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(record["variance"], jnp.var(start.synthetic.x), rtol=1e-5)
    assert int(state.generation) == 1 and not jnp.array_equal(state.synthetic.x, start.synthetic.x)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state.origin, start.params))


def test_a_metric_sees_the_generation_whole():
    def seen(key, snapshot):
        models = [snapshot.params.mean, snapshot.origin.mean]
        data = [jnp.mean(data.x) for data in (snapshot.training, snapshot.synthetic)]
        return jnp.stack([snapshot.generation.astype(float), *models, *data])

    chain = build_chain(gaussian(), replace(), REAL, M, [Metric("seen", ("what",), "1", seen)])
    start, first = chain.init(jax.random.key(0))
    state, record = chain.step(jax.random.key(1), start)
    zero, mean = float(start.params.mean), float(state.params.mean)
    drew = [float(jnp.mean(s.synthetic.x)) for s in (start, state)]
    np.testing.assert_allclose(first["seen"], [0, zero, zero, 0.0, drew[0]], atol=1e-6)
    np.testing.assert_allclose(record["seen"], [1, mean, zero, drew[0], drew[1]], atol=1e-6)
    # in the second generation the model before is no longer model 0
    after, record = chain.step(jax.random.key(2), state)
    np.testing.assert_allclose(record["seen"][:4], [2, float(after.params.mean), zero, drew[1]], atol=1e-6)
    assert abs(mean - zero) > 0.01 and float(after.origin.mean) == zero


def test_real_data_may_be_drawn_anew_for_each_seed():
    chain = build_chain(gaussian(), replace(), lambda key: standard_normal(key, M), M)
    means = [float(chain.init(jax.random.key(seed))[1]["mean"]) for seed in (0, 0, 1)]
    assert means[0] == means[1] != means[2]


def test_a_metrics_key_comes_from_its_name():
    """Neither the other metrics nor their order change what a noisy metric records."""
    noisy = [
        Metric(name, (), "1", lambda key, snapshot: jax.random.normal(key)) for name in ("first", "second")
    ]
    alone = _record_of(build_chain(gaussian(), replace(), REAL, M, noisy[:1]))
    both = _record_of(build_chain(gaussian(), replace(), REAL, M, noisy[::-1]))
    for one, two in zip(alone, both):
        assert float(one["first"]) == float(two["first"]) != float(two["second"])
    assert float(alone[0]["first"]) != float(alone[1]["first"])


def test_is_finite_reports_the_params():
    model = gaussian()
    broken = model._replace(fit=lambda *args: (model.fit(*args)[0]._replace(mean=jnp.asarray(jnp.nan)), {}))
    first, later = _record_of(build_chain(broken, replace(), REAL, M))
    assert not bool(first["is_finite"]) and not bool(later["is_finite"])


def _grows(key, params, data):
    return {"w": jnp.zeros(params["w"].shape[0] + 1)}, {}


def _misfit(fit):
    init = lambda key, real: {"w": jnp.zeros(2)}  # noqa: E731
    return Model(init, fit, lambda key, params, num: Samples(jnp.zeros((num, 1)), jnp.ones(num)))


def _growing_regime():
    def update(key, synthetic, state):
        return synthetic, jnp.concatenate([state, state])

    return Regime(lambda real, synthetic: jnp.zeros(1), update)


@pytest.mark.parametrize(
    ("model", "regime", "sentence"),
    [
        (
            _misfit(_grows),
            replace(),
            r"state\.params\['w'\] changes from float32\[3\] to float32\[4\].*keep its shape",
        ),
        (gaussian(), _growing_regime(), r"state\.regime changes from float32\[1\] to float32\[2\]"),
    ],
)
def test_a_carry_that_changes_is_refused(model, regime, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_chain(model, regime, REAL, M)


def test_a_carry_that_changes_type_or_structure_is_refused():
    def alternates(name, other):
        return lambda key, params, data: ({(other if name in params else name): jnp.zeros(2)}, {})

    with pytest.raises(ValueError, match="changes its structure between generations"):
        build_chain(_misfit(alternates("w", "v")), replace(), REAL, M)

    def narrows(key, params, data):
        narrower = {jnp.dtype("float32"): jnp.float16, jnp.dtype("float16"): jnp.bfloat16}
        return {"w": params["w"].astype(narrower[params["w"].dtype])}, {}

    with pytest.raises(ValueError, match=r"state\.params\['w'\] changes from float16\[2\] to bfloat16\[2\]"):
        build_chain(_misfit(narrows), replace(), REAL, M)


def test_weak_types_do_not_make_a_misfit():
    """`fit` may return Python-like scalars: 0.0 from init and an array from fit are the same carry."""
    model = Model(
        lambda key, real: {"w": 0.0},
        lambda key, params, data: ({"w": params["w"] * 2.0}, {}),
        lambda key, params, num: Samples(jnp.zeros((num, 1)), jnp.ones(num)),
    )
    state, _ = build_chain(model, replace(), REAL, M).init(jax.random.key(0))
    assert not state.params["w"].weak_type


def _metric(name):
    return Metric(name, (), "1", lambda key, snapshot: jnp.zeros(()))


@pytest.mark.parametrize(
    ("real", "num_samples", "metrics", "error", "sentence"),
    [
        (REAL, 1, [], ValueError, "`num_samples` must be at least 2, got 1"),
        (REAL, 8.0, [], TypeError, "`num_samples` must be an integer"),
        (np.zeros((3, 1)), M, [], TypeError, "ndarray; use as_samples"),
        (REAL._replace(weight=-REAL.weight), M, [], ValueError, "`weight` must be finite and non-negative"),
        (REAL.scale(0.0), M, [], ValueError, "total `weight` of the data is 0"),
        (REAL._replace(x=REAL.x / 0), M, [], ValueError, "NaN or infinite values in 8 of 8"),
        (REAL, M, [_metric("a"), _metric("a")], ValueError, r"unique.*\['a'\].*rename"),
        (REAL, M, [_metric("is_finite")], ValueError, "not 'is_finite'"),
        (REAL, M, [_metric("mean")], ValueError, "'mean' has the name of a field of the fit's info"),
    ],
)
def test_bad_arguments_meet_a_sentence(unchecked, real, num_samples, metrics, error, sentence):
    with pytest.raises(error, match=sentence):
        build_chain(gaussian(), replace(), real, num_samples, metrics)


def test_an_info_field_may_not_shadow_is_finite():
    """`is_finite` is the chain's own verdict; a model that reports one of its own would lose it silently."""
    model = gaussian()

    def fit(key, params, data):
        params, info = model.fit(key, params, data)
        return params, info | {"is_finite": jnp.asarray(0.5)}

    with pytest.raises(ValueError, match="is_finite"):
        build_chain(model._replace(fit=fit), replace(), REAL, M)


def test_a_chain_builds_under_a_sweep():
    """Nothing in `build_chain` looks at traced real data: a sweep over their scale is one program."""

    def variance(scale):
        chain = build_chain(gaussian(), replace(), Samples(scale * REAL.x, REAL.weight), M)
        return chain.init(jax.random.key(0))[1]["variance"]

    np.testing.assert_allclose(
        jax.vmap(variance)(jnp.array([1.0, 2.0])), np.var(REAL.x) * np.array([1.0, 4.0]), rtol=1e-5
    )


def test_pieces_make_the_same_step():
    """A step in pieces yields each piece once, the last with the phase's result, and returns what the whole returns."""
    model = gaussian()
    pieces = Chunked(
        lambda *args: (args, jnp.zeros(())),
        lambda index, carry: (carry[0], carry[1] + index),
        lambda carry: (model.fit(*carry[0])[0], {"sum": carry[1]}),
        3,
    )
    chain = build_chain(model._replace(fit=pieces), replace(), REAL, M)
    state, _ = chain.init(jax.random.key(0))
    seen, resume = [], (0, jax.tree.map(lambda leaf: leaf[None], state))
    (segment,) = run_host(chain, KEY, 1, [1], resume=resume, on_chunk=lambda seed, piece: seen.append(piece))
    after, record = jax.tree.map(lambda leaf: leaf[0], segment.state()), {"sum": segment.records["sum"][0, 0]}
    assert [(piece.phase, piece.position, sorted(piece.done)) for piece in seen] == [
        ("fit", 1, []), ("fit", 2, []), ("fit", 3, ["fit"]), ("sample", 1, ["fit", "sample"]),
    ]  # fmt: skip
    assert [float(piece.carry[1]) for piece in seen[:2]] == [0, 1]
    assert float(seen[2].done["fit"][1]["sum"]) == 3
    whole, whole_record = chain.step(jax.random.fold_in(jax.random.fold_in(KEY, 0), 1), state)
    assert float(record["sum"]) == float(whole_record["sum"]) == 3
    for piecewise, plain in zip(jax.tree.leaves(after), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(piecewise, plain, rtol=1e-6)


def test_run_whole_answers_every_call_and_returns_what_the_generator_returns():
    def calls():
        first = yield Call("fit", lambda x, y: x + y, (1, 2))
        second = yield Call("sample", lambda x: 10 * x, (first,))
        return first, second

    assert run_whole(calls()) == (3, 30)


def test_the_frame_moves_what_a_regime_stores():
    """A stored real set stays where it is in data units, and the state holds it in the current frame."""
    real = two_gaussians().sample(jax.random.key(5), 30)
    chain = build_chain(mixture(2), add_real(original()), real, 30)

    @jax.jit
    def run(key):
        start, _ = chain.init(key)
        return jax.lax.scan(
            lambda state, key: (chain.step(key, state)[0], state), start, jax.random.split(key, 3)
        )

    last, states = run(jax.random.key(0))
    for generation in range(3):
        state = jax.tree.map(lambda leaf, g=generation: leaf[g], states)
        stored, frame = state.regime, state.params.frame
        np.testing.assert_array_equal(stored.frame.location, frame.location)
        # maps there and back, float32
        np.testing.assert_allclose(to_data_units(frame, stored.x), real.x, rtol=1e-4, atol=1e-4)
    assert int(last.generation) == 3 and not np.allclose(
        last.params.frame.location, states.params.frame.location[0]
    )


def test_a_schedule_says_what_each_generation_draws():
    """Generation g draws M_g and learns from M_(g-1); the room is that of the schedule or of the regime."""
    weights = [
        Metric("drawn", (), "points", lambda key, s: s.synthetic.weight),
        Metric("learnt", (), "points", lambda key, s: s.training.weight),
    ]
    truth, sizes = gaussian_truth(1), [10, 20, 40]
    model = gaussian_statistics(1)
    chain = build_chain(model, replace(), truth.moments_sampler(7), sizes, weights)
    state, first = chain.init(jax.random.key(0))
    records = [first]
    for seed in (1, 2):
        state, record = chain.step(jax.random.key(seed), state)
        records.append(record)
    assert [float(record["drawn"]) for record in records] == sizes
    assert [float(record["learnt"]) for record in records] == [7, 10, 20]
    assert chain.max_generations == 2
    for room, expected in ((1, 1), (5, 2)):
        other = build_chain(model, accumulate(room), truth.moments_sampler(7), sizes)
        assert other.max_generations == expected
