"""Networks of diffusion models: shapes, what they read, convolutions as products against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from collapse_jax.networks.denoisers import _halved, _neighbours, mlp_denoiser, unet_denoiser

KEY = jax.random.key(1)
NETS = {"mlp": mlp_denoiser(16, width=12, depth=2), "unet": unet_denoiser(4, channels=(3, 4, 5))}


def _awake(net):
    """Params that say something: the last layers begin at 0."""
    leaves, nesting = jax.tree.flatten(jax.jit(net.init)(KEY))
    keys = jax.random.split(KEY, len(leaves))
    noise = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys)]
    return jax.tree.unflatten(nesting, noise)


@pytest.mark.parametrize("name", NETS)
def test_it_begins_by_saying_nothing_and_reads_every_number_and_the_angle(name):
    net = NETS[name]
    apply = jax.jit(net.apply)
    x, angle = jax.random.normal(KEY, (3, 16)), jnp.array([0.1, 0.5, 0.9])
    assert not apply(jax.jit(net.init)(KEY), x, angle).any()
    params = _awake(net)
    said = apply(params, x, angle)
    assert said.shape == x.shape and jnp.isfinite(said).all()
    by_x = jax.jit(jax.grad(lambda row: jnp.sum(net.apply(params, row[None], angle[:1])[0] * x[1])))(x[0])
    assert np.all(abs(by_x) > 1e-6)
    moved = apply(params, x, angle + 0.01) - said
    assert np.all(abs(moved).max(axis=1) > 1e-5)
    alone = apply(params, x[1:2], angle[1:2])
    np.testing.assert_allclose(alone[0], said[1], rtol=1e-4, atol=1e-5)


def test_neighbours_and_a_product_are_a_convolution():
    rng = np.random.default_rng(0)
    grid, kernel = rng.normal(size=(2, 6, 6, 3)), rng.normal(size=(3, 3, 3, 4))
    found = _neighbours(jnp.asarray(grid)) @ kernel.reshape(27, 4)
    for image in range(2):
        for out in range(4):
            planes = [correlate2d(grid[image, :, :, c], kernel[:, :, c, out], mode="same") for c in range(3)]
            np.testing.assert_allclose(found[image, :, :, out], sum(planes), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(_halved(jnp.asarray(grid))[0, 1, 2], grid[0, 2:4, 4:6].mean(axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: unet_denoiser(30), lambda: mlp_denoiser(0), lambda: mlp_denoiser(2, depth=0)])
def test_sizes_meet_a_sentence(make):
    with pytest.raises(ValueError, match=r"^`\w+` must be"):
        make()
