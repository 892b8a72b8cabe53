"""The published net: its size, its convolutions against XLA's, and a training step against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from collapse_jax.models.vae import loss
from collapse_jax.networks.training import adam
from collapse_jax.networks.vae import add_patches, init_conv, patches

KEY = jax.random.key(0)


def _kernel(weight, inputs, outputs, *, transposed=False):
    """Return a weight of ours as [4, 4, inputs, outputs]: height, width, input and output channels."""
    if transposed:  # [C, (block row, block column, row, column, O)]
        spread = weight.reshape(inputs, 2, 2, 2, 2, outputs)
        return spread.transpose(1, 3, 2, 4, 0, 5).reshape(4, 4, inputs, outputs)
    spread = weight.reshape(2, 2, 2, 2, inputs, outputs)  # (block row, block column, row, column, C, O)
    return spread.transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, inputs, outputs)


@pytest.mark.parametrize("side, inputs, outputs", [(28, 1, 64), (14, 64, 128), (6, 3, 2)])
def test_patches_make_the_convolution(side, inputs, outputs):
    key_x, key_w = jax.random.split(KEY)
    x = jax.random.normal(key_x, (3, side, side, inputs))
    weight = jax.random.normal(key_w, (16 * inputs, outputs))
    expected = jax.lax.conv_general_dilated(
        x, _kernel(weight, inputs, outputs), (2, 2), ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest",
    )  # fmt: skip
    found = jnp.matmul(patches(x), weight, precision="highest")
    # float32 sums of up to 1024 terms of order 1
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.sqrt(inputs))


@pytest.mark.parametrize("side, inputs, outputs", [(7, 128, 64), (14, 64, 1), (3, 2, 3)])
def test_added_patches_make_the_transposed_convolution(side, inputs, outputs):
    key_x, key_w = jax.random.split(KEY)
    x = jax.random.normal(key_x, (3, side, side, inputs))
    weight = jax.random.normal(key_w, (inputs, 16 * outputs))
    kernel = _kernel(weight, inputs, outputs, transposed=True)
    # the gradient of a convolution from 2 * side to side, and so its transpose
    big = jnp.zeros((3, 2 * side, 2 * side, outputs))
    forward = lambda grid: jax.lax.conv_general_dilated(  # noqa: E731
        grid, kernel.transpose(0, 1, 3, 2), (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )  # fmt: skip
    (expected,) = jax.linear_transpose(forward, big)(x)
    found = add_patches(jnp.matmul(x, weight, precision="highest"))
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.sqrt(inputs))  # as above


def test_it_has_the_published_number_of_parameters():
    net = init_conv(KEY, 20)
    assert sum(leaf.size for leaf in jax.tree.leaves(net)) == 647_081
    mean, log_variance = net.encode(jnp.zeros((2, 784)))
    assert mean.shape == log_variance.shape == (2, 20) and net.decode(mean).shape == (2, 784)


def test_nothing_in_a_training_step_is_a_convolution_of_xla():
    net = jax.eval_shape(lambda: init_conv(KEY, 20))
    images = jax.ShapeDtypeStruct((8, 784), jnp.float32)
    step = jax.grad(loss, argnums=1, has_aux=True)
    assert "stablehlo.convolution" not in jax.jit(step).lower(KEY, net, images).as_text()


def _torch_net(torch, net):
    """Return the published net in PyTorch with our weights."""
    nn = torch.nn
    as_tensor = lambda array: torch.nn.Parameter(torch.tensor(np.asarray(array)))  # noqa: E731

    class Published(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 64, 4, 2, 1), nn.Conv2d(64, 128, 4, 2, 1)
            self.mean, self.log_variance = nn.Linear(6272, 20), nn.Linear(6272, 20)
            self.latent = nn.Linear(20, 6272)
            self.up_first, self.up_second = (
                nn.ConvTranspose2d(128, 64, 4, 2, 1),
                nn.ConvTranspose2d(64, 1, 4, 2, 1),
            )

        def forward(self, x, noise):
            h = torch.relu(self.second(torch.relu(self.first(x.view(-1, 1, 28, 28))))).flatten(1)
            mean, log_variance = self.mean(h), self.log_variance(h)
            z = mean + torch.exp(0.5 * log_variance) * noise
            h = self.latent(z).view(-1, 128, 7, 7)
            logits = self.up_second(torch.relu(self.up_first(h))).flatten(1)
            bce = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = 0.5 * torch.sum(mean**2 + log_variance.exp() - 1 - log_variance)
            return (bce + kl) / x.shape[0]

    model = Published()
    places = lambda array: array.reshape(49, 128, -1).transpose(1, 0, 2).reshape(6272, -1)  # noqa: E731
    with torch.no_grad():
        for layer, weight in {
            model.first: _kernel(net.encode_first.weight, 1, 64).transpose(3, 2, 0, 1),
            model.second: _kernel(net.encode_second.weight, 64, 128).transpose(3, 2, 0, 1),
            model.mean: places(net.encode_mean.weight).T,
            model.log_variance: places(net.encode_log_variance.weight).T,
            model.latent: places(net.decode_latent.weight.T),
            model.up_first: _kernel(net.decode_first.weight, 128, 64, transposed=True).transpose(2, 3, 0, 1),
            model.up_second: _kernel(net.decode_second.weight, 64, 1, transposed=True).transpose(2, 3, 0, 1),
        }.items():
            layer.weight = as_tensor(weight)
        for layer, part in {
            model.first: net.encode_first, model.second: net.encode_second, model.mean: net.encode_mean,
            model.log_variance: net.encode_log_variance, model.up_first: net.decode_first,
            model.up_second: net.decode_second,
        }.items():  # fmt: skip
            layer.bias = as_tensor(part.bias)
        model.latent.bias = as_tensor(places(net.decode_latent.bias[:, None])[:, 0])
    return model


@pytest.mark.parity
def test_a_training_step_is_pytorch_s():
    """Adam with decay on the same weights, images and noise: the weights after one step, the losses of three.

    Adam divides a gradient by its own size, so where one is 0 to rounding the step is of either sign; such weights
    are one in 10,000 at most.
    """
    torch = pytest.importorskip("torch")
    net = init_conv(KEY, 20)
    images = np.random.default_rng(0).uniform(size=(16, 784)).astype(np.float32)
    model = _torch_net(torch, net)
    theirs = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    optimizer = adam(1e-3, 1e-5)
    state = optimizer.init(net)
    for index in range(3):
        key = jax.random.fold_in(KEY, index)
        noise = jax.random.normal(key, (16, 20))  # what `loss` draws from this key
        grads, reported = jax.grad(loss, argnums=1, has_aux=True)(key, net, jnp.asarray(images))
        updates, state = optimizer.update(grads, state, net)
        net = optax.apply_updates(net, updates)
        theirs.zero_grad()
        value = model(torch.tensor(images), torch.tensor(np.asarray(noise)))
        value.backward()
        theirs.step()
        assert float(reported["loss"]) == pytest.approx(float(value.detach()), rel=1e-4)
        if index == 0:
            pairs = zip(_torch_net(torch, net).parameters(), model.parameters())
            gaps = np.concatenate([np.abs((ours - other).detach().numpy()).ravel() for ours, other in pairs])
            assert len(gaps) == 647_081 and (gaps > 1e-4).mean() < 1e-4
