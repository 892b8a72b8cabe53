"""Fits in pieces: the same as one scan over all steps, whatever the pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import as_samples, build_chain, replace, run_compiled, run_host
from collapse_jax.core.protocol import Model
from collapse_jax.models import trained as module
from collapse_jax.models.trained import Steps, trained
from collapse_jax.networks.training import adam, train

STEPS = 23  # not a multiple of any piece below
DATA = as_samples(jnp.linspace(-1.0, 1.0, 40)[:, None])


def _init(key):
    return {"w": jax.random.normal(key, (1, 3)), "b": jnp.zeros(3)}


def _loss(key, params, rows):
    aim = jnp.concatenate([rows, rows**2, jax.random.normal(key, rows.shape)], axis=1)
    value = jnp.mean((rows @ params["w"] + params["b"][None] - aim) ** 2)
    return value, {"loss": value, "size": jnp.sum(params["w"] ** 2)}


def _fit(monkeypatch, per_piece, **options):
    monkeypatch.setattr(module, "_STEPS_PER_PIECE", per_piece)
    return trained(_init, _loss, adam(0.05), Steps(STEPS, 8, **options))


@pytest.mark.parametrize("per_piece", [1, 5, 1000])
@pytest.mark.parametrize("start", ["fresh", "warm"])
def test_pieces_are_one_scan_over_all_steps(monkeypatch, per_piece, start):
    fit = _fit(monkeypatch, per_piece, start=start)
    key, before = jax.random.key(3), _init(jax.random.key(9))
    assert fit.num_chunks == -(-STEPS // min(per_piece, STEPS))
    params, told = fit(key, before, DATA)
    key_init, key_train = jax.random.split(key)
    first = _init(key_init) if start == "fresh" else before
    whole, history = train(key_train, first, lambda k: DATA.minibatch(k, 8), _loss, adam(0.05), STEPS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), params, whole)
    tail = {name: np.mean(values[-(STEPS // 10) :]) for name, values in history.items()}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), told, tail)


def test_parts_of_a_minibatch_change_nothing_but_what_the_loss_draws(monkeypatch):
    quiet = lambda key, params, rows: (jnp.mean((rows @ params["w"] - 1) ** 2), {})  # noqa: E731
    key = jax.random.key(4)
    fits = [trained(_init, quiet, adam(0.05), Steps(STEPS, 8, "fresh", size)) for size in (None, 2, 3)]
    found = [jax.jit(jax.vmap(fit, (0, None, None)))(jax.random.split(key, 2), _init(key), DATA)[0] for fit in fits]
    for other in found[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found[0], other)


def test_the_host_driver_stops_between_pieces(monkeypatch):
    fit = _fit(monkeypatch, 5)
    draw = lambda key, params, num: as_samples(jax.random.uniform(key, (num, 1)) * params["w"][0, 0])  # noqa: E731
    chain = build_chain(Model(lambda key, real: _init(key), fit, draw), replace(), DATA, 12)
    seen = []
    hosted = list(run_host(chain, jax.random.key(1), 1, (1,), on_chunk=lambda seed, chunk: seen.append(chunk)))
    assert [chunk.position for chunk in seen if chunk.phase == "fit"][:5] == [1, 2, 3, 4, 5]
    keys = [chunk.carry.key for chunk in seen if chunk.phase == "fit" and chunk.carry is not None]
    assert keys and all(key.dtype == jax.random.key(0).dtype for key in keys), "a checkpoint reads JAX's keys alone"
    compiled = list(run_compiled(chain, jax.random.key(1), 1, (1,)))
    for one, other in zip(hosted, compiled):
        np.testing.assert_allclose(one.records["loss"], other.records["loss"], rtol=1e-4)
