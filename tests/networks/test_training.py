"""The optimiser loop and Adam against their textbook forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from collapse_jax.networks.training import adam, adamw, cosine_by_epoch, spread_rows, train

CENTRE = np.array([1.0, -2.0, 3.0])


def _batch(key):
    return CENTRE + jax.random.normal(key, (4, 3))


def _loss(key, params, rows):
    """A quadratic whose gradient depends on the batch and on the loss's own key."""
    noise = jax.random.normal(key, (3,))
    value = jnp.mean(jnp.sum((params["w"] - rows) ** 2, axis=1)) + params["w"] @ noise + params["b"] ** 2
    return value, {"value": value}


def _gradient(key, params, rows):
    noise = np.asarray(jax.random.normal(key, (3,)))
    return {"w": 2 * (params["w"] - np.asarray(rows).mean(axis=0)) + noise, "b": 2 * params["b"]}


def _textbook(key, params, num_steps, lr, decay):
    """Kingma and Ba (2015), algorithm 1, with the decay added to the gradient as PyTorch's Adam does."""
    m, v = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    for t in range(num_steps):
        key_batch, key_loss = jax.random.split(jax.random.fold_in(key, t))
        gradient = _gradient(key_loss, params, _batch(key_batch))
        for name in params:
            g = gradient[name] + decay * params[name]
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            m_hat, v_hat = m[name] / (1 - 0.9 ** (t + 1)), v[name] / (1 - 0.999 ** (t + 1))
            params = {**params, name: params[name] - lr * m_hat / (np.sqrt(v_hat) + 1e-8)}
    return params


def _start():
    return {"w": np.array([0.5, 0.15, -0.3]), "b": np.array(2.0)}


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("num_steps", [1, 5])
def test_adam_is_the_textbooks_with_coupled_decay(num_steps, decay, x64):
    key = jax.random.key(0)
    params, _ = train(key, jax.tree.map(jnp.asarray, _start()), _batch, _loss, adam(0.1, decay), num_steps)
    expected = _textbook(key, _start(), num_steps, 0.1, decay)
    for name in expected:
        # float64 with a handful of roundings; decoupled decay would be off by 0.01 and more
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-9, atol=1e-12)


def test_what_a_step_does_does_not_depend_on_how_many_follow():
    key, start = jax.random.key(1), jax.tree.map(jnp.float32, _start())
    _, short = train(key, start, _batch, _loss, adam(0.1), 3)
    _, long = train(key, start, _batch, _loss, adam(0.1), 7)
    assert short["value"].shape == (3,) and long["value"].shape == (7,)
    # one loop body, two programs: float32 rounding of values near 20
    np.testing.assert_allclose(short["value"], long["value"][:3], rtol=1e-5)


def test_the_reported_loss_is_that_before_the_step():
    key, start = jax.random.key(2), jax.tree.map(jnp.float32, _start())
    _, reported = train(key, start, _batch, _loss, adam(0.1), 1)
    key_batch, key_loss = jax.random.split(jax.random.fold_in(key, 0))
    expected = _loss(key_loss, start, _batch(key_batch))[0]
    assert float(reported["value"][0]) == pytest.approx(float(expected), rel=1e-5)  # float32


def test_training_finds_the_minimum():
    start = jax.tree.map(jnp.float32, _start())
    params, _ = train(jax.random.key(3), start, _batch, _loss, adam(0.05), 1000)
    # Adam's own noise: steps of at most 0.05 about the minimum, gradient noise of order 1
    np.testing.assert_allclose(params["w"], CENTRE, atol=0.5)
    assert abs(float(params["b"])) < 0.1


@pytest.mark.parametrize(("clip", "decay_vectors"), [(None, True), (0.5, False)])
def test_adamw_is_the_textbooks(clip, decay_vectors, x64):
    """Loshchilov and Hutter (2019), algorithm 2, with the gradient cut to a norm, and decay on matrices alone."""
    rng = np.random.default_rng(0)
    params = {"matrix": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    gradients = [{name: rng.normal(size=p.shape) for name, p in params.items()} for _ in range(4)]
    optimizer = adamw(0.1, 0.3, clip=clip, decay_vectors=decay_vectors)
    ours = jax.tree.map(jnp.asarray, params)
    state = optimizer.init(ours)
    m, v = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    for t, gradient in enumerate(gradients):
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, ours)
        ours = optax.apply_updates(ours, updates)
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        cut = 1.0 if clip is None else min(1.0, clip / norm)
        for name, g in gradient.items():
            m[name] = 0.9 * m[name] + 0.1 * cut * g
            v[name] = 0.999 * v[name] + 0.001 * (cut * g) ** 2
            m_hat, v_hat = m[name] / (1 - 0.9 ** (t + 1)), v[name] / (1 - 0.999 ** (t + 1))
            decay = 0.3 if decay_vectors or name == "matrix" else 0.0
            params[name] = params[name] - 0.1 * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * params[name])
    for name in params:
        np.testing.assert_allclose(ours[name], params[name], rtol=1e-9, atol=1e-12)


def test_a_minibatch_in_parts_is_the_minibatch():
    """A loss without noise of its own: 1, 2 and 4 parts make the same step, and report the same loss."""

    def quiet(key, params, rows):
        return _loss(jax.random.key(0), params, rows)

    start, key = jax.tree.map(jnp.float32, _start()), jax.random.key(4)
    whole, reported = train(key, start, _batch, quiet, adam(0.1), 3)
    for num_parts in (2, 4):
        parts, told = train(key, start, _batch, quiet, adam(0.1), 3, num_parts)
        np.testing.assert_allclose(parts["w"], whole["w"], atol=1e-5)
        np.testing.assert_allclose(told["value"], reported["value"], rtol=1e-5)
    with pytest.raises(ValueError, match="a minibatch of 4 does not divide into 3 parts"):
        train(key, start, _batch, quiet, adam(0.1), 1, 3)


def test_parts_are_averaged_not_summed():
    """By plain gradient descent, whose step is as long as the gradient: Adam's does not depend on its length."""

    def quiet(key, params, rows):
        return _loss(jax.random.key(0), params, rows)

    start, key = jax.tree.map(jnp.float32, _start()), jax.random.key(4)
    whole, _ = train(key, start, _batch, quiet, optax.sgd(0.1), 2)
    parts, _ = train(key, start, _batch, quiet, optax.sgd(0.1), 2, 2)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5)
        assert np.abs(np.asarray(whole[name]) - _start()[name]).max() > 0.1


def test_adam_and_adamw_have_pytorchs_defaults():
    """Two steps on one weight of 2 with a gradient of 1: no decay in Adam, 1 % of the rate in AdamW."""
    for optimizer, decay in ((adam(0.1), 0.0), (adamw(0.1), 0.01)):
        weight, state = jnp.asarray([[2.0]]), optimizer.init(jnp.asarray([[2.0]]))
        expected = 2.0
        for _ in range(2):
            updates, state = optimizer.update(jnp.ones((1, 1)), state, weight)
            weight = optax.apply_updates(weight, updates)
            expected -= 0.1 * (1 + decay * expected)  # the corrected moments of a constant gradient are 1
        np.testing.assert_allclose(weight[0, 0], expected, rtol=1e-6)


def test_the_cosine_falls_by_epochs_from_peak_towards_its_end():
    """Optax's cosine at the epochs' numbers, its end not 0; after the last epoch the end itself."""
    schedule = cosine_by_epoch(3e-3, 2e-4, steps_per_epoch=7, num_epochs=5)
    reference = optax.cosine_decay_schedule(3e-3, 5, alpha=2e-4 / 3e-3)
    for step in range(50):
        np.testing.assert_allclose(schedule(step), reference(step // 7), rtol=1e-5)
    assert float(schedule(0)) == pytest.approx(3e-3) and float(schedule(35)) == pytest.approx(2e-4)
    assert float(schedule(34)) > 2e-4 * 1.5


@pytest.mark.parametrize("num", [4, 9, 40])
def test_rows_are_spread_by_their_weight(num):
    """Each row as often as its share of `num`, rounded up or down; in order, and never one of weight 0."""
    weight = np.array([0.0, 3.0, 1.0, 0.0, 2.5, 0.5, 0.0])
    for offset in (0.01, 0.5, 0.99):
        rows = np.asarray(spread_rows(jnp.asarray(weight, jnp.float32), num, offset))
        share = weight / weight.sum() * num
        counts = np.bincount(rows, minlength=7)
        assert (np.diff(rows) >= 0).all() and counts.sum() == num
        assert (counts >= np.floor(share - 1e-4)).all() and (counts <= np.ceil(share + 1e-4)).all()
