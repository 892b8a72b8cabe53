"""Keys that are written out draw, bit for bit, what JAX's keys draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import Metric, Model, Samples, build_chain, gaussian_truth, replace, run_compiled
from collapse_jax.drivers import lanes
from collapse_jax.numerics.threefry import as_jax, written_out

random = jax.random
DRAWS = {
    "normal": lambda key: random.normal(key, (7, 3)),
    "uniform": lambda key: random.uniform(key, ()),
    "bytes": lambda key: random.bits(key, (5,), jnp.uint8),
    "halves": lambda key: random.bits(key, (5,), jnp.uint16),
    "none": lambda key: random.normal(key, (0,)),
    "gamma": lambda key: random.gamma(key, jnp.array([0.3, 5.0, 100.0])),
    "choice": lambda key: random.choice(key, 10, (4,), replace=False),
    "permutation": lambda key: random.permutation(key, 100),
    "categorical": lambda key: random.categorical(key, jnp.zeros(5), shape=(9,)),
    "multinomial": lambda key: random.multinomial(key, 10, jnp.array([0.2, 0.8])),
    "split": lambda key: random.key_data(random.split(key, (2, 3))),
    "fold_in": lambda key: random.key_data(random.fold_in(key, 4_000_000_000)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_bits_are_those_of_jax(name):
    draw, key = DRAWS[name], random.key(7)
    assert written_out(key).dtype != key.dtype
    assert np.array_equal(draw(key), draw(written_out(key)))
    many = random.split(key, 3)
    assert np.array_equal(jax.vmap(draw)(many), jax.jit(jax.vmap(draw))(written_out(many)))


def test_words_of_64_bits():
    with jax.enable_x64(True):
        key = random.key(3)
        assert np.array_equal(random.bits(key, (9,), jnp.uint64), random.bits(written_out(key), (9,), jnp.uint64))


def test_there_and_back():
    tree = {"key": random.key(1), "other": random.key(1, impl="rbg"), "array": jnp.arange(3), "number": 2}
    back = as_jax(written_out(tree))
    assert back["key"].dtype == tree["key"].dtype and back["key"] == tree["key"]
    assert written_out(tree)["other"].dtype == tree["other"].dtype
    assert back["array"] is tree["array"] and back["number"] == 2


def test_keys_that_count_otherwise_stay():
    with jax.threefry_partitionable(False):
        key = random.key(0)
        assert written_out(key) is key


def test_a_model_that_needs_keys_of_jax(monkeypatch):
    """`jax.random.poisson` refuses all others: its chain runs with JAX's, and a key in the state stays JAX's."""
    truth = gaussian_truth(1)

    def fit(key, params, data):
        return {"rate": jnp.exp(jnp.mean(data.x)), "key": random.fold_in(key, 1)}, {}

    def draw(key, params, num):
        return Samples(jnp.log1p(random.poisson(key, params["rate"], (num, 1)).astype(float)), jnp.ones(num))

    model = Model(lambda key, real: {"rate": jnp.asarray(1.0), "key": key}, fit, draw)
    spread = Metric("spread", (), "1", lambda key, s: jnp.std(s.synthetic.x) + random.uniform(key))
    chain = build_chain(model, replace(), truth.sampler(50), 50, (spread,))
    *_, last = run_compiled(chain, random.key(0), 3, (4,), lanes=4)
    monkeypatch.setattr(lanes, "written_out", lambda tree: tree)
    chain = build_chain(model, replace(), truth.sampler(50), 50, (spread,))
    *_, plain = run_compiled(chain, random.key(0), 3, (4,), lanes=4)
    assert np.array_equal(last.records["spread"], plain.records["spread"])
    assert np.array_equal(last.state().params["key"], plain.state().params["key"])
