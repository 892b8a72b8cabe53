"""Properties of models and regimes that the theory demands, for drawn keys, data and maps.

The list, P1 to P20, and where each is tested; a name without a file stands here or, from P12 on, in
`test_properties_theory`:

| property | tests |
|---|---|
| P1 affine equivariance, same key | test_p1_*; test_contract (one fit: a_fit_moves_with_its_data; frames: units_of_the_data) |
| P2 labels, order, exchangeability | test_p2_*; test_contract (order_of_rows, component_labels) |
| P3 same key, same bits; vmap = loop | test_contract (compiled_batch_equals_eager_loop), test_drivers; here for models outside its registry |
| P4, P5 one-step mean and variance | test_p4_p5_*; test_mixture (one_generation_keeps) |
| P6 mean and variance together are conserved | test_p6_*; test_regimes (the same, one dimension, by identity by descent) |
| P7 fitted moments = sample moments | test_p7_*; test_em, test_mixture (under replace) |
| P8 support; P9 fixed real set keeps it | test_p8_*, test_p9_*; test_mixture (the_dead_stay_dead) |
| P10 composition | test_p10_* |
| P11 M -> inf, M = 1, no spread | test_p11_* |
| P12 limits nest | test_p12_*, in both files; test_regimes (the same, training set by training set) |
| P13 orders of descent | test_p13_* |
| P14 curation | test_p14_*, in both files |
| P15 transforms | test_p15_* |
| P16 verifier | test_p16_* |
| P17 rank | test_p17_*; test_gaussian (fewer_points_than_dimensions) |
| P18 regression without noise | test_p18_* |
| P19 bounds | test_p19_*; test_closed_forms (three of them at single points) |
| P20 log-determinants and directions | test_p20_* |
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry import NUM_ROWS, REGIMES, ROOM
from scipy import stats
from statistical import assert_law, assert_mean
from strategies import keys, seeds, triangles

from collapse_jax import (
    Metric,
    Samples,
    accumulate,
    add,
    build_chain,
    compose,
    curate,
    fresh,
    gaussian,
    gaussian_truth,
    mixture,
    original,
    replace,
    replace_part,
    schedule,
    subsample,
    weight_real,
    window,
)
from collapse_jax import frame as frames
from collapse_jax.em import Components
from collapse_jax.models.bigram import bigram, draw_transitions, known_table
from collapse_jax.models.categorical import CategoricalTruth, categorical, count_labels
from collapse_jax.models.families import Largest, exponential, poisson, uniform
from collapse_jax.models.gaussian import GaussianParams, GaussianTruth
from collapse_jax.models.kde import KDEParams, bootstrap, kde
from collapse_jax.models.mixture import MixtureParams
from collapse_jax.models.regression import regression, regression_truth
from collapse_jax.sufficient import Moments, Sums, moments_of
from collapse_jax.theory import discrete

LAST = 3  # generations after generation 0
P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
W = np.array([1.0, -2.0, 0.5])


def _first(rows):
    return rows[:, 0]


# `build` takes fresh real data -> regime; what a choice prefers must move with the data, so "curate" is its own
BUILD = {case.name: case.build for case in REGIMES if case.name != "curate"}
BUILD["curate-best"] = lambda sampler: curate(_first, 2)
STATISTICS = ("replace", "accumulate", "window", "add-original", "add-fresh", "weight-original", "weight-fresh")
SAME_SIZE = tuple(name for name in BUILD if name.startswith("replace")) + ("accumulate-subsample", "schedule")


def _run(chain, key, num_generations=LAST):
    """Return the records of generations 0, 1, ..., `num_generations`."""
    keys = jax.random.split(key, num_generations + 1)
    state, first = chain.init(keys[0])
    _, later = jax.lax.scan(lambda state, key: chain.step(key, state), state, keys[1:])
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)


def _metrics(**functions):
    return [Metric(name, (), "1", lambda key, s, f=f: f(s)) for name, f in functions.items()]


# P1, P7, P20: maps x -> A x + b, A lower triangular, under every regime


def _cast(tree):
    return jax.tree.map(jnp.asarray, tree)


def _data_moments(data):
    """Mean and MLE covariance of a training set, data units."""
    moments = data if isinstance(data, Moments) else moments_of(data)
    factor, mean = moments.factor / jnp.sqrt(moments.weight), moments.mean
    if moments.frame is not None:
        factor, mean = frames.axes(moments.frame) @ factor, frames.to_data_units(moments.frame, mean[None])[0]
    return mean, factor @ factor.T


def _kde_moments(params):
    return params.weight @ params.points / params.weight.sum(), params.kernel


def _gap(snapshot, location, covariance):
    return jnp.stack([jnp.abs(a - b).max() for a, b in zip(_data_moments(snapshot.training), (location, covariance))])


def _framed(snapshot):
    frame = snapshot.params.frame
    return frame.location, frames.axes(frame) @ frames.axes(frame).T


AFFINE = {
    "gaussian points": (lambda a, b: gaussian(2, estimator="mle"), "sample", tuple(BUILD)),
    "gaussian statistics": (lambda a, b: gaussian(2, estimator="mle", draws="statistics"), "moments", STATISTICS),
    "mixture": (lambda a, b: _warm_mixture(a, b), "sample", tuple(BUILD)),
    **{f"kde {rule}": (lambda a, b, rule=rule: kde(rule), "sample", SAME_SIZE) for rule in ("scott", "silverman")},
}


def _warm_mixture(tril, shift):
    """EM from a start that moves with the data; without a ridge, which is in data units at generation 0."""
    weights, means = jnp.array([0.4, 0.6]), jnp.array([[-1.0, 0.5], [1.0, -0.5]])
    factors = jnp.stack([1.5 * jnp.eye(2), jnp.eye(2)])
    start = MixtureParams(Components(weights, means @ tril.T + shift, tril @ factors), frames.data_frame(2))
    return mixture(2, ridge_size=0.0, max_steps=3, tol=1e-12)._replace(init=lambda key, real: start)


def _affine_runs(case, key, tril, shift):
    """Records under every regime of a chain whose truth is N(shift, tril tril')."""
    make, draw, names = AFFINE[case]
    sampler = getattr(GaussianTruth(shift, tril), draw)
    if case.startswith("kde"):
        metrics = _metrics(mean=lambda s: _kde_moments(s.params)[0], axes=lambda s: s.params.kernel)
    else:
        metrics = _metrics(
            mean=lambda s: s.params.frame.location,
            axes=lambda s: frames.axes(s.params.frame),
            log_det=lambda s: 2 * s.params.frame.log_scale.sum(),
            gap=lambda s: _gap(s, *_framed(s)),
        )
    real = partial(sampler, num=NUM_ROWS)
    return {
        name: _run(build_chain(make(tril, shift), BUILD[name](sampler), real, NUM_ROWS, metrics), key)
        for name in names
    }


_affine_program = jax.jit(_affine_runs, static_argnums=0)


@pytest.mark.parametrize("case", AFFINE)
@given(key=keys, tril=triangles(2), shift=st.tuples(*[st.floats(-3, 3)] * 2))
def test_p1_p7_p20_chains_move_with_their_data(case, key, tril, shift):
    """P1 A x + b moves mean and axes; P7 they are the training set's; P20 log det decrements stay.

    Float64; condition numbers up to 1e3 and four fits leave 1e-9 of rounding.
    """
    with jax.enable_x64(True):
        maps = (jnp.eye(2), jnp.zeros(2)), (jnp.asarray(tril, float), jnp.asarray(shift))
        plain, moved = (jax.device_get(_affine_program(case, key, *each)) for each in maps)
    for name in plain:
        for got, expected in (
            (moved[name]["mean"], plain[name]["mean"] @ np.asarray(tril, float).T + np.asarray(shift)),
            (moved[name]["axes"], np.asarray(tril, float) @ plain[name]["axes"]),
        ):
            np.testing.assert_allclose(got, expected, atol=1e-9 * (1 + np.abs(expected).max()), err_msg=name)
        if "gap" in plain[name]:
            decrements = [np.diff(runs[name]["log_det"]) for runs in (plain, moved)]
            np.testing.assert_allclose(*decrements, atol=1e-8, err_msg=name)
            assert np.max(moved[name]["gap"]) < 1e-9 * (1 + np.abs(moved[name]["axes"]).max() ** 2 + 9), name
