"""The variational autoencoder against its formulas in plain NumPy, and its switches."""

import re
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from collapse_jax import (
    add_real,
    as_samples,
    build_chain,
    load_mnist,
    original,
    replace,
    vae,
    vae_metrics,
    weight_real,
)
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.core.streams import Blend, Stream
from collapse_jax.models import vae as module
from collapse_jax.networks.vae import MLP, Linear
from collapse_jax.networks.vae import init_mlp as init_mlp_eagerly

SMALL = {"num_pixels": 16, "num_hidden": 8, "num_latents": 2, "batch_size": 12}
KEY = jax.random.key(0)

# compiled once for each shape
loss = jax.jit(module.loss)
init_mlp = jax.jit(init_mlp_eagerly, static_argnums=(1, 2, 3))


def _model(**options):
    return vae(**{**SMALL, "num_steps": 1, **options})


@lru_cache
def _fit(**options):
    return jax.jit(_model(**options).fit)


def _params(seed: int = 0) -> MLP:
    return init_mlp(jax.random.key(seed), 16, 8, 2)


def _pictures(num: int = 40) -> Samples:
    return as_samples(jax.random.uniform(jax.random.key(5), (num, 16)))


def _distance(a, b) -> float:
    """The largest difference between two nets."""
    return max(float(jnp.max(jnp.abs(x - y))) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


# --- the loss


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _numpy_loss(params: MLP, x: np.ndarray, noise: np.ndarray) -> tuple[float, float, MLP]:
    """Reconstruction, KL and the gradient of their sum, by hand."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = (map(np.asarray, layer) for layer in params)
    n, latents = len(x), noise.shape[1]
    a1 = x @ w1 + b1
    h1 = np.maximum(a1, 0)
    code = h1 @ w2 + b2
    mean, log_variance = code[:, :latents], code[:, latents:]
    std = np.exp(log_variance / 2)
    z = mean + std * noise
    a3 = z @ w3 + b3
    h3 = np.maximum(a3, 0)
    p = _sigmoid(h3 @ w4 + b4)
    reconstruction = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n
    kl = np.sum((mean**2 + std**2 - 1 - log_variance) / 2) / n
    # backwards
    d4 = (p - x) / n
    d3 = (d4 @ w4.T) * (a3 > 0)
    dz = d3 @ w3.T
    d_mean = dz + mean / n
    d_log_variance = dz * noise * std / 2 + (std**2 - 1) / (2 * n)
    d2 = np.concatenate([d_mean, d_log_variance], axis=1)
    d1 = (d2 @ w2.T) * (a1 > 0)
    layers = ((x, d1), (h1, d2), (z, d3), (h3, d4))
    return reconstruction, kl, MLP(*(Linear(h.T @ d, d.sum(axis=0)) for h, d in layers))


def test_loss_and_gradient_are_those_of_plain_numpy(x64):
    params = jax.tree.map(lambda leaf: 3 * leaf, _params())  # far from where everything is linear
    x = np.random.default_rng(0).uniform(size=(10, 16))
    noise = np.asarray(jax.random.normal(KEY, (10, 2)))
    reconstruction, kl, gradient = _numpy_loss(params, x, noise)
    (total, parts), got = jax.jit(jax.value_and_grad(module.loss, argnums=1, has_aux=True))(
        KEY, params, jnp.asarray(x)
    )
    # float64 on both sides, sums of 160 terms
    assert float(parts["reconstruction"]) == pytest.approx(reconstruction, rel=1e-10)
    assert float(parts["kl"]) == pytest.approx(kl, rel=1e-10) and kl > 0.1
    assert float(total) == float(parts["loss"]) == pytest.approx(reconstruction + kl, rel=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), got, gradient)


def test_kl_vanishes_for_a_standard_normal_code_and_loss_is_log_two_a_pixel():
    nothing = jax.tree.map(jnp.zeros_like, _params())
    _, parts = loss(KEY, nothing, _pictures().x)
    assert float(parts["kl"]) == 0.0
    assert float(parts["reconstruction"]) == pytest.approx(16 * np.log(2), rel=1e-5)  # float32


def test_loss_of_extreme_logits_is_finite():
    params = _params()
    sure = params._replace(decode_pixels=params.decode_pixels._replace(bias=jnp.full(16, 1e4)))
    assert float(loss(KEY, sure, jnp.zeros((3, 16)))[0]) == pytest.approx(16e4, rel=1e-3)
    assert np.isfinite(float(loss(KEY, sure, jnp.ones((3, 16)))[0]))


def test_fresh_weights_are_uniform_within_the_root_of_inputs():
    params = init_mlp(KEY, 400, 100, 5)
    for layer, inputs in zip(params, (400, 100, 5, 100)):
        for leaf in layer:
            assert float(jnp.max(jnp.abs(leaf))) <= inputs**-0.5
    first = np.asarray(params.encode_hidden.weight)
    # 40,000 uniforms: 5 standard errors of their variance are 2.2 %
    assert first.var() * 3 * 400 == pytest.approx(1, abs=0.025)


# --- one fit


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_one_step_of_a_fit_is_adams(weight_decay, x64):
    start, data = _params(), _pictures()
    params, _ = _fit(start="warm", learning_rate=1e-2, weight_decay=weight_decay)(KEY, start, data)
    # the keys of a fit: start and training; of its step 0: batch and loss
    key_batch, key_loss = jax.random.split(jax.random.fold_in(jax.random.split(KEY)[1], 0))
    rows = np.asarray(data.minibatch(key_batch, 12))
    _, _, gradient = _numpy_loss(start, rows, np.asarray(jax.random.normal(key_loss, (12, 2))))

    def adam(theta, g):
        g = g + weight_decay * np.asarray(theta)
        # at step 1 both corrected moments are the gradient itself: m = g, v = g^2
        return np.asarray(theta) - 1e-2 * g / (np.abs(g) + 1e-8)

    expected = jax.tree.map(adam, start, gradient)
    # rounding of g, 1e-17, over Adam's epsilon, 1e-8, times the rate
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), params, expected)


def test_many_trainings_under_vmap_are_the_trainings_one_by_one(x64):
    fit, start, data = _fit(start="warm", learning_rate=1e-2, weight_decay=0.0), _params(), _pictures()
    keys = jax.random.split(KEY, 3)
    lanes, infos = jax.vmap(lambda key: fit(key, start, data))(keys)
    for lane, key in enumerate(keys):
        params, info = fit(key, start, data)
        one = jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)
        # one step in float64: other orders of sums alone
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), one, params)
        assert float(infos["loss"][lane]) == pytest.approx(float(info["loss"]), rel=1e-12)


def test_a_warm_start_goes_on_and_a_fresh_start_forgets():
    data, tiny = _pictures(), {"learning_rate": 1e-7, "num_steps": 3}
    warm, fresh = (_fit(start=start, **tiny) for start in ("warm", "fresh"))
    # Adam moves a weight by about the learning rate a step, and float32 rounds weights below 1
    assert _distance(warm(KEY, _params(1), data)[0], _params(1)) < 1e-6
    assert _distance(fresh(KEY, _params(1), data)[0], _params(1)) > 0.1
    jax.tree.map(
        np.testing.assert_array_equal, fresh(KEY, _params(1), data)[0], fresh(KEY, _params(2), data)[0]
    )
    assert _distance(fresh(KEY, _params(1), data)[0], fresh(jax.random.key(1), _params(1), data)[0]) > 0.1


def test_a_net_begins_anew_unless_told_otherwise():
    data = _pictures()
    jax.tree.map(np.testing.assert_array_equal, *(_fit()(KEY, _params(seed), data)[0] for seed in (1, 2)))


def test_info_is_the_mean_of_the_last_tenth_of_the_steps():
    data = _pictures()
    short, long = (_fit(num_steps=steps, start="warm") for steps in (19, 20))
    whole, parts = long(KEY, _params(), data)[1], []
    # with 19 steps the last tenth is step 19 alone, with 20 it is steps 19 and 20
    parts.append(short(KEY, _params(), data))
    key_batch, key_loss = jax.random.split(jax.random.fold_in(jax.random.split(KEY)[1], 19))
    last = loss(key_loss, parts[0][0], data.minibatch(key_batch, 12))[1]
    for name in ("loss", "reconstruction", "kl"):
        expected = (float(parts[0][1][name]) + float(last[name])) / 2
        assert float(whole[name]) == pytest.approx(expected, rel=1e-4)  # float32 after 19 steps


def test_rows_of_weight_zero_are_never_trained_on():
    x = _pictures().x
    data = Samples(x.at[:20].set(jnp.nan), jnp.ones(40).at[:20].set(0.0))
    params, info = _fit(num_steps=20, start="warm")(KEY, _params(), data)
    assert np.isfinite(float(info["loss"])) and all(
        np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)
    )


def test_training_lowers_the_loss_on_real_digits():
    digits = as_samples(load_mnist().images[:2000])
    model = vae(num_hidden=64, num_latents=8, num_steps=300, batch_size=64)
    start = model.init(KEY, digits)
    before = float(loss(KEY, start, digits.x[:200])[0])
    params, info = jax.jit(model.fit)(KEY, start, digits)
    after = float(loss(KEY, params, digits.x[:200])[0])
    # an untrained net costs about log 2 a pixel, 543 nats; the best constant image costs 204, and only a
    # code that tells the images apart costs less (179 and 184 when this was written)
    mean = np.asarray(digits.x, np.float64).mean(axis=0)
    constant = np.sum(special.entr(mean) + special.entr(1 - mean))
    assert 500 < before < 600
    assert after < constant - 10 and float(info["loss"]) < constant - 10
    assert float(info["kl"]) > 1  # the code is used
    drawn = model.sample(KEY, params, 100).x
    assert drawn.shape == (100, 784) and 0 <= float(drawn.min()) <= float(drawn.max()) <= 1


# --- what a model draws


def test_means_are_intensities_and_are_the_decoders():
    num = 50
    data = _model().sample(KEY, _params(), num)
    assert isinstance(data, Samples) and data.x.shape == (num, 16) and float(data.total_weight) == num
    assert float(data.x.min()) >= 0 and float(data.x.max()) <= 1
    assert len(np.unique(data.x)) > 100
    latents = jax.random.normal(jax.random.split(KEY)[0], (num, 2))
    np.testing.assert_allclose(data.x, jax.nn.sigmoid(_params().decode(latents)), rtol=1e-5)  # float32


def test_bernoulli_draws_are_bits_with_the_decoders_means():
    num = 20_000
    params = jax.tree.map(lambda leaf: 3 * leaf, _params())
    means = np.asarray(_model().sample(KEY, params, num).x, np.float64)
    bits = np.asarray(_model(draws="bernoulli").sample(KEY, params, num).x, np.float64)
    assert set(np.unique(bits)) == {0.0, 1.0}
    # the same latents, so that bit - mean has mean 0 pixel by pixel
    spread = np.sqrt(np.sum(means * (1 - means), axis=0))
    # power: 5 standard errors are 1.8 % in a pixel's mean
    assert np.all(np.abs(np.sum(bits - means, axis=0)) < 5 * spread)
    # and follows its own mean, not only the average one
    slope = np.sum((bits - means) * (means - means.mean(axis=0)), axis=0)
    error = np.sqrt(np.sum(means * (1 - means) * (means - means.mean(axis=0)) ** 2, axis=0))
    assert np.all(np.abs(slope) < 5 * error)


def test_fresh_synthetic_data_are_a_stream_of_new_minibatches():
    stream = _model(synthetic="fresh").sample(KEY, _params(), 500)
    assert isinstance(stream, Stream) and stream.num_rows == 0 and float(stream.total_weight) == 500
    one, again, other = (stream.minibatch(jax.random.key(seed), 12) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (12, 16) and float(jnp.max(jnp.abs(one - other))) > 0.01


@pytest.mark.parametrize("synthetic", ["fixed", "fresh"])
@pytest.mark.parametrize("regime", [replace(), add_real(original()), weight_real(original(), weight=0.3)])
def test_chains_of_both_kinds_of_data_build(synthetic, regime):
    # tracing alone: the carry keeps its shapes under every regime a stream allows
    build_chain(_model(synthetic=synthetic), regime, _pictures(), num_samples=20)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_stream_blended_with_real_data_draws_the_stated_share(weight):
    real = as_samples(jnp.full((7, 16), 2.0))  # no decoder mean is 2
    stream = _model(synthetic="fresh").sample(KEY, _params(), 500)
    regime = weight_real(original(), weight=weight)
    training, _ = regime.update(KEY, stream, regime.init(real, stream))
    assert isinstance(training, Blend)
    assert float(training.total_weight) == pytest.approx(500, rel=1e-6)  # float32
    num = 20_000
    rows = np.asarray(training.minibatch(KEY, num))
    is_real = rows[:, 0] == 2.0
    assert np.array_equal(is_real, np.all(rows == 2.0, axis=1))
    # power: 5 standard errors are 1.6 %; the shares of rows, 7 of 507, would be 1.4 %
    assert abs(is_real.mean() - weight) <= 5 * np.sqrt(weight * (1 - weight) / num)


# --- metrics and refusals


def test_latent_metrics_read_generated_images_with_the_encoder_of_generation_0():
    origin, params = (init_mlp(jax.random.key(seed), 784, 8, 2) for seed in (1, 2))
    data = as_samples(jax.random.uniform(KEY, (30, 784)))
    snapshot = Snapshot(jnp.asarray(3), params, origin, data, data)
    measure = {metric.name: metric for metric in vae_metrics(100, 5)}
    codes = np.asarray(origin.encode(data.minibatch(KEY, 100))[0], np.float64)
    # float32; the mean may nearly cancel
    assert float(measure["latent_mean"].function(KEY, snapshot)) == pytest.approx(codes.mean(), abs=1e-5)
    assert float(measure["latent_spread"].function(KEY, snapshot)) == pytest.approx(codes.std(), rel=1e-4)
    assert set(measure) == {"latent_mean", "latent_spread", "pixel_variance", "sharpness", "images"}
    assert measure["images"].function(KEY, snapshot).shape == (5, 784)


def test_held_out_images_cost_their_negative_elbo_and_its_reconstruction():
    params, known = _params(), _pictures().x
    snapshot = Snapshot(jnp.asarray(3), params, _params(1), None, None)
    measure = {metric.name: metric.function(KEY, snapshot) for metric in module.held_out_metrics(known)}
    total, parts = loss(KEY, params, known)
    assert float(measure["held_out_loss"]) == pytest.approx(float(total), rel=1e-5)  # float32
    reconstruction = float(measure["held_out_reconstruction"])
    assert reconstruction == pytest.approx(float(parts["reconstruction"]), rel=1e-5)
    assert float(total) - reconstruction == pytest.approx(float(parts["kl"]), rel=0.01) and parts["kl"] > 0.01


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_pixels": 0}, "`num_pixels` must be at least 1"),
        ({"num_hidden": 0}, "`num_hidden` must be at least 1"),
        ({"num_latents": 0}, "`num_latents` must be at least 1"),
        ({"num_steps": 0}, "`num_steps` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"start": "warn"}, "did you mean 'warm'"),
        ({"synthetic": "fix"}, "did you mean 'fixed'"),
        ({"draws": "bernouilli"}, "did you mean 'bernoulli'"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        vae(**options)


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"needs rows of 16 pixels, got \(25,\); set `num_pixels`"):
        build_chain(_model(), replace(), as_samples(jnp.zeros((5, 25))), num_samples=10)


# --- the published net on a CPU


def _conv_fits(batch_size, part_size, monkeypatch):
    """Two chains' fits of one step of the published net, taken abreast, and their arguments."""
    monkeypatch.setattr(module, "_CONV_PART", part_size)
    model = module.conv_vae(num_steps=1, batch_size=batch_size, synthetic="fixed")
    data = as_samples(jax.random.uniform(KEY, (10, 784)))
    return jax.jit(jax.vmap(lambda key: model.fit(key, model.init(key, data), data))), jax.random.split(KEY)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="accelerators take minibatches whole")
@pytest.mark.parametrize("batch_size, part_size, held", [(4, 2, 2), (3, 2, 3)])
def test_convolutions_meet_a_part_of_one_chain_s_minibatch(batch_size, part_size, held, monkeypatch):
    """Larger arrays would not stay in the cache; a minibatch that cannot be cut is taken whole."""
    fits, keys = _conv_fits(batch_size, part_size, monkeypatch)
    text = fits.lower(keys).as_text()
    assert set(re.findall(r"tensor<([\dx]*)x7x7x1024xf32>", text)) == {str(held)}


def test_parts_change_rounding_and_noise_alone(monkeypatch):
    """One Adam step of 1e-3 moves every weight by as much, whatever the noise: the nets stay within two steps."""
    (whole, told), (parts, told_parts) = (
        fits(keys) for fits, keys in (_conv_fits(4, size, monkeypatch) for size in (4, 2))
    )
    assert _distance(whole, parts) < 2.1e-3
    np.testing.assert_allclose(told["loss"], told_parts["loss"], rtol=0.02)  # 545 nats, 1 of them the noise's
