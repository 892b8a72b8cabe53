"""Chains side by side are the chains themselves: same records, same keys, one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    accumulate,
    build_chain,
    external,
    gaussian_metrics,
    gaussian_truth,
    replace,
    simulate,
    stack_chains,
    vmap_chain,
)
from collapse_jax.models.gaussian import gaussian_statistics

TRUTH = gaussian_truth(1)
KEY = jax.random.key(3)


def _chain(regime=None, size=30, metrics=None):
    model = gaussian_statistics(1)
    real = TRUTH.moments_sampler(size)
    return build_chain(model, regime or replace(), real, size, metrics or gaussian_metrics())


def test_each_chain_goes_its_own_way():
    parts = {"replace": _chain(), "accumulate": _chain(accumulate(3))}
    joint = stack_chains(parts, "regime")
    key_init, key_step = jax.random.split(KEY)
    state, _ = joint.init(key_init)
    _, record = joint.step(key_step, state)
    for index, chain in enumerate(parts.values()):
        alone, _ = chain.init(jax.random.fold_in(key_init, index))
        _, expected = chain.step(jax.random.fold_in(key_step, index), alone)
        for name in ("mean", "log_total_variance"):
            # the same operations, compiled on their own
            np.testing.assert_allclose(record[name][index], expected[name], rtol=1e-5)


def test_the_results_carry_the_new_dimension_and_the_room():
    joint = stack_chains({"a": _chain(accumulate(3)), "b": _chain(accumulate(5))}, "regime")
    assert joint.max_generations == 3
    result = simulate(joint, KEY, num_seeds=4, num_generations=3)
    assert result["mean"].dims == ("seed", "generation", "regime", "axis")
    assert result["is_finite"].dims == ("seed", "generation") and bool(result["is_finite"].all())


def test_a_swept_value_is_the_value_alone():
    sizes = (10, 40, 1000)
    joint = vmap_chain(lambda size: _chain(size=size), sizes, "num_samples")
    key_init, key_step = jax.random.split(KEY)
    state, first = joint.init(key_init)
    _, second = joint.step(key_step, state)
    for index, size in enumerate(sizes):
        alone, expected_first = _chain(size=size).init(key_init)
        _, expected = _chain(size=size).step(key_step, alone)
        for record, other in ((first, expected_first), (second, expected)):
            np.testing.assert_allclose(
                record["log_total_variance"][index], other["log_total_variance"], rtol=1e-4, atol=1e-6
            )


def test_swept_chains_count_their_generations_and_keep_their_room():
    joint = vmap_chain(lambda size: _chain(accumulate(3), size=size), (10, 40), "num_samples")
    assert joint.max_generations == 3 and joint.metrics[0].dims == ("num_samples", "axis")
    state, record = joint.init(KEY)
    for generation in range(3):
        assert int(state.generation) == generation
        state, record = joint.step(jax.random.fold_in(KEY, generation), state)
    assert bool(record["is_finite"]) and set(record) == {m.name for m in joint.metrics} | {"is_finite"}


def test_one_bad_value_of_a_sweep_is_reported():
    """A bias of infinity at one place: its first draw is infinite, and so is the model of generation 1."""
    model = lambda bias: gaussian_statistics(1, bias=bias)  # noqa: E731
    make = lambda bias: build_chain(  # noqa: E731
        model(bias), replace(), TRUTH.moments_sampler(30), 30, gaussian_metrics()
    )
    joint = vmap_chain(make, (1.0, np.inf), "bias")
    state, first = joint.init(KEY)
    assert bool(first["is_finite"]) and not bool(joint.step(KEY, state)[1]["is_finite"])


def test_one_bad_chain_is_reported():
    bad = lambda key: TRUTH.moments(key, 30)._replace(mean=jnp.array([jnp.nan]))  # noqa: E731
    model = gaussian_statistics(1)
    joint = stack_chains(
        {"good": _chain(), "bad": build_chain(model, replace(), bad, 30, gaussian_metrics())}, "regime"
    )
    assert not bool(joint.init(KEY)[1]["is_finite"])


def test_refusals():
    with pytest.raises(ValueError, match="at least one"):
        stack_chains({}, "regime")
    with pytest.raises(ValueError, match="same metrics"):
        stack_chains({"a": _chain(), "b": _chain(metrics=gaussian_metrics()[:1])}, "regime")
    with pytest.raises(ValueError, match="num_samples"):
        vmap_chain(lambda size: _chain(size=size), (1, 10), "num_samples")


def test_python_runs_beside_nothing():
    """Its chains do not compile; the remedy is said before anything is."""
    fit = lambda seed, params, rows, weight: {"mean": rows.mean(0)}  # noqa: E731
    model = external(fit, lambda seed, params, num: np.zeros((num, 1)))
    chain = build_chain(model, replace(), TRUTH.sampler(20), 20)
    with pytest.raises(ValueError, match=r"chain 'mine' is Python, which does not compile.*simulate"):
        stack_chains({"mine": chain}, "regime")
    with pytest.raises(ValueError, match="chain '1' is Python"):
        vmap_chain(lambda size: chain, (1, 10), "num_samples")


def test_params_of_several_chains_are_not_kept():
    joint = stack_chains({"a": _chain(), "b": _chain(accumulate(5))}, "regime")
    with pytest.raises(ValueError, match=r"names generations of one chain.*simulate each"):
        simulate(joint, KEY, 2, 3, keep=(1,))
