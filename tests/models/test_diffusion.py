"""Trained diffusion and flow models: what a net says means what it should; training comes near the exact score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    as_samples,
    build_chain,
    diffusion,
    flow_matching,
    mlp_denoiser,
    original,
    replace,
    replace_with_real,
    run_compiled,
    run_host,
    theory,
    unet_denoiser,
)
from collapse_jax.datasets import eight_gaussians
from collapse_jax.models import diffusion as module
from collapse_jax.models import trained
from collapse_jax.models.diffusion import _from_flow, _from_noise, _from_velocity, _velocity
from collapse_jax.networks.denoisers import Denoiser
from collapse_jax.numerics.solvers import Place

KEY = jax.random.key(4)
SPREAD = np.array([1.0, 0.3])
DATA = as_samples(np.random.default_rng(0).normal(size=(3000, 2)) * SPREAD)
SMALL = mlp_denoiser(2, width=32, depth=2)
QUICK = {"num_fit_steps": 4, "batch_size": 16, "num_steps": 3}


@pytest.mark.parametrize("place", [Place(0.6, 0.8), Place(1.0, 40.0), Place(0.3, 0.7), Place(1.0, 0.0)])
def test_what_a_net_that_is_right_says_gives_back_data_and_noise(place):
    x, z = (jax.random.normal(key, (5, 2)) for key in jax.random.split(KEY))
    noised = place.signal * x + place.noise * z
    ways = {"velocity": (_velocity(x, z, place), _from_velocity), "noise": (z, _from_noise)}
    if place.signal + place.noise == 1:
        ways["flow"] = (x - z, _from_flow)
    for name, (said, estimates) in ways.items():
        clean, noise = estimates(noised, said, place)
        np.testing.assert_allclose(clean, x, atol=1e-4 * (1 + place.noise), err_msg=name)
        if name != "velocity" or place.noise:
            np.testing.assert_allclose(noise, z, atol=1e-4, err_msg=name)


def _affine(kind):
    """A "net" whose one parameter a direction is the variance it takes the data to have: then it is exact."""

    def apply(variance, x, angle):
        a, s = jnp.cos(angle * jnp.pi / 2)[:, None], jnp.sin(angle * jnp.pi / 2)[:, None]
        size = 1 / (a + s) if kind == "flow" else 1.0  # the path's own scale
        a, s, x = a * size, s * size, x * size
        total = a**2 * variance[None] + s**2
        clean, noise = a * variance[None] / total * x, s / total * x
        return {"noise": noise, "velocity": a * noise - s * clean, "flow": clean - noise}[kind]

    return Denoiser(2, lambda key: jnp.asarray(SPREAD**2, jnp.float32), apply)


CASES = {
    "noise, DDIM": ("noise", lambda net: diffusion(net, num_steps=30), ("ddim", "linear", 30)),
    "velocity, cosine": (
        "velocity", lambda net: diffusion(net, schedule="cosine", num_steps=20, predicts="velocity"),
        ("ddim", "cosine", 20),
    ),
    "noise, DDPM": ("noise", lambda net: diffusion(net, solver="ddpm", num_steps=40), ("ddpm", "linear", 40)),
    "velocity, EDM": (
        "velocity", lambda net: diffusion(net, solver="heun", schedule="edm", num_steps=9, predicts="velocity"),
        ("heun", "edm", 9),
    ),
    "flow": ("flow", lambda net: flow_matching(net, num_steps=12), ("euler", "flow", 12)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_net_that_is_exact_draws_as_the_law_of_its_solver_says(name):
    """40,000 draws: a variance 3.5 % off fails; the law is exact."""
    kind, make, setting = CASES[name]
    net = _affine(kind)
    rows = np.asarray(jax.jit(lambda key: make(net).sample(key, net.init(key), 40_000).x)(KEY), np.float64)
    expected = theory.samplers.variance_drawn(SPREAD**2, *setting)
    z = (rows.var(axis=0) / expected - 1) / np.sqrt(2 / 40_000)
    assert np.all(abs(z) < 5), z


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_least_at_the_net_that_is_exact(name):
    """Its one number a direction, moved by a tenth either way, does worse on the same 100,000 rows and noise."""
    kind, make, _ = CASES[name]
    net = _affine(kind)
    found = []
    for factor in (0.8, 1.0, 1.25):
        moved = Denoiser(2, net.init, lambda v, x, angle, f=factor: net.apply(v * f, x, angle))
        captured = {}

        def catch(init, loss, optimizer, steps, captured=captured):
            captured["loss"] = loss
            return trained.trained(init, loss, optimizer, steps)

        keep, module.trained = module.trained, catch
        try:
            make(moved)
        finally:
            module.trained = keep
        rows = jax.random.normal(KEY, (100_000, 2)) * SPREAD.astype(np.float32)[None]
        found.append(float(captured["loss"](jax.random.key(9), net.init(KEY), rows)[0]))
    assert found[1] < min(found[0], found[2]), found


def test_training_comes_nearer_to_the_law_as_it_goes_on():
    """Distance of the drawn variances from the null of an exact score, in nats: short training is farther than long."""
    law = theory.samplers.variance_drawn(np.asarray(DATA.x, np.float64).var(axis=0), "euler", "flow", 50)

    def miss(num_fit_steps, width):
        model = flow_matching(mlp_denoiser(2, width=width, depth=2), num_fit_steps=num_fit_steps, average=0.99)

        def drawn(key):
            return model.sample(key, model.fit(key, model.init(key, DATA), DATA)[0], 4000).x

        rows = np.asarray(jax.jit(jax.vmap(drawn))(jax.random.split(KEY, 2)))
        return np.abs(np.log(rows.var(axis=1) / law)).mean()

    assert miss(15, 8) > 2 * miss(400, 32)


@pytest.mark.parametrize("says", ["noise", "velocity", "flow"])
def test_a_net_finds_eight_gaussians(says):
    """Soon: nets that begin nearly linear draw a round cloud for thousands of steps, of which 0.46 lie on the truth."""
    truth, net = eight_gaussians(), mlp_denoiser(2, width=64)
    fit = {"num_fit_steps": 600, "batch_size": 128, "learning_rate": 4e-3, "num_steps": 30}
    model = flow_matching(net, **fit) if says == "flow" else diffusion(net, predicts=says, **fit)
    data = truth.sample(jax.random.key(0), 1000)
    params, _ = model.fit(jax.random.key(1), model.init(jax.random.key(2), data), data)
    shares = truth.modes(model.sample(jax.random.key(3), params, 1000).x) / 1000
    assert shares.sum() > 0.8 and shares.min() > 0.04, shares


@pytest.mark.parametrize("make, start", [(diffusion, "fresh"), (flow_matching, "warm")])
def test_chains_run_compiled_and_by_the_host_alike(make, start):
    """The host driver draws the same keys, piece by piece."""
    model = make(SMALL, start=start, **QUICK)
    chain = build_chain(model, replace_with_real(original(), fraction=0.25), DATA, 40)
    compiled = list(run_compiled(chain, KEY, 1, (2,)))
    hosted = list(run_host(chain, KEY, 1, (2,)))
    for one, other in zip(compiled, hosted):
        np.testing.assert_allclose(one.records["loss"], other.records["loss"], rtol=2e-3)
    assert compiled[1].records["is_finite"].all()


def test_a_running_mean_of_the_weights_draws():
    last, mean = (diffusion(SMALL, average=average, num_fit_steps=30, batch_size=16) for average in (0.0, 0.9))
    fits = [model.fit(KEY, model.init(KEY, DATA), DATA)[0] for model in (last, mean)]
    size = lambda tree: float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree[-1])))  # noqa: E731
    assert 0 < size(fits[1]) < size(fits[0])  # the last layer began at 0


def test_images_are_drawn_by_a_net_of_their_size():
    images = as_samples(np.random.default_rng(1).uniform(-1, 1, size=(20, 64)).astype(np.float32))
    model = flow_matching(unet_denoiser(8, channels=(4, 4, 4)), **QUICK)
    state, record = jax.jit(build_chain(model, replace(), images, 12).init)(KEY)
    assert state.synthetic.x.shape == (12, 64) and record["is_finite"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: diffusion(SMALL, schedule="flow"), "`schedule` has no choice 'flow'"),
        (lambda: diffusion(SMALL, solver="heun"), "does not take the `schedule` 'linear'"),
        (lambda: flow_matching(SMALL, solver="ddim"), "`solver` has no choice 'ddim'"),
        (lambda: flow_matching(SMALL, num_steps=1), "`num_steps` must be at least 2"),
        (lambda: flow_matching(SMALL, stop=1.0), "`stop` must be in"),
        (lambda: diffusion(SMALL, average=1.5), "`average`"),
        (lambda: diffusion(SMALL, num_fit_steps=0), "`num_fit_steps`"),
        (lambda: build_chain(diffusion(mlp_denoiser(3), **QUICK), replace(), DATA, 10), "rows of 3 numbers, got 2"),
    ],
)
def test_what_is_wrong_meets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
