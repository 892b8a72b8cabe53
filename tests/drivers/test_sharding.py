"""A model's weights and minibatch over devices: the same logits and the same training step as on one.

Devices are simulated, 8 of them, in a process of its own: their number is fixed when JAX starts.
"""

import subprocess
import sys
import textwrap

import jax
import pytest

from collapse_jax.drivers.sharding import by_rows, fully_sharded, model_mesh, replicated

PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp
import numpy as np
from dataclasses import replace
from collapse_jax.networks.opt.model import hidden_states, init_opt, logits
from collapse_jax.networks.opt.config import opt_config
from collapse_jax.networks.opt.scoring import Texts, language_loss
from collapse_jax.drivers.sharding import by_rows, fully_sharded, model_mesh, replicated
from collapse_jax.networks.training import adamw, train_step

config = opt_config("tiny", vocab_size=256, num_layers=2, max_positions=32, dropout=0.1)
params = init_opt(jax.random.key(0), config)
tokens = jax.random.randint(jax.random.key(1), (16, 24), 3, 256)
texts = Texts(tokens, jnp.ones(tokens.shape, bool).at[3, 9:].set(False), jnp.linspace(0.5, 1.5, 16))
optimizer = adamw(1e-3, clip=1.0)
predict = jax.jit(lambda params, tokens: logits(config, params, hidden_states(config, params, tokens)))

@jax.jit
def step(params, state, texts):
    return train_step(jax.random.key(2), params, state, lambda key: texts, language_loss(config), optimizer)

def gap(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)

mesh = model_mesh()
assert mesh.size == 8
expected, ((after, _), reported) = predict(params, tokens), step(params, optimizer.init(params), texts)
for place in (replicated, fully_sharded):
    placed, rows = place(params, mesh), by_rows(texts, mesh)
    kernel = placed["layers"][0]["up"]["kernel"]
    share = kernel.addressable_shards[0].data.size / kernel.size
    assert share == (1 if place is replicated else 1 / 8), share
    found = predict(placed, by_rows(tokens, mesh))
    assert len(found.sharding.device_set) == 8
    (moved, state), told = step(placed, jax.jit(optimizer.init)(placed), rows)
    if place is fully_sharded:
        assert moved["layers"][0]["up"]["kernel"].addressable_shards[0].data.size == kernel.size // 8
    print(place.__name__, gap(found, expected), gap(moved, after), gap(told, reported))
    # Adam's first step is the sign of the gradient times 1e-3: where it is 0 to rounding, its sign is not determined
    far = [np.mean(np.abs(np.asarray(a) - np.asarray(b)) > 1e-5)
           for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(after))]
    assert gap(found, expected) < 1e-5 and gap(told, reported) < 1e-5 and max(far) < 0.01, far
"""


@pytest.mark.heavy
def test_eight_devices_compute_what_one_does():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "fully_sharded" in done.stdout


def test_rows_that_do_not_divide_are_refused():
    mesh = model_mesh(jax.devices()[:2])
    with pytest.raises(ValueError, match="7 rows do not divide among 2 devices"):
        by_rows(jax.numpy.ones((7, 3)), mesh)


def test_what_does_not_divide_is_copied():
    mesh = model_mesh(jax.devices()[:2])
    placed = fully_sharded({"odd": jax.numpy.ones(3), "even": jax.numpy.ones((3, 4))}, mesh)
    assert placed["odd"].addressable_shards[0].data.shape == (3,)
    assert placed["even"].addressable_shards[0].data.shape == (3, 2)
    assert replicated(jax.numpy.ones(4), mesh).addressable_shards[0].data.shape == (4,)
