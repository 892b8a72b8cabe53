"""OPT's layers: who sees whom, padding, several models at once, precisions, dropout, and the published sizes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpy_opt
import pytest
from tiny_opt import CONFIGS, SMALL, random_params

from collapse_jax.networks.opt.config import OPT_CONFIGS, opt_config
from collapse_jax.networks.opt.model import abstract_params, hidden_states, init_opt, logits

KEY = jax.random.key(0)
LENGTH = 6
TOKENS = jax.random.randint(KEY, (3, LENGTH), 3, SMALL.vocab_size)
SWITCHES = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))


def run(config, params, tokens, mask=None, key=None):
    # not compiled as a whole: single operations are then compiled once for all configurations
    return logits(config, params, hidden_states(config, params, tokens, mask, key))


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("125m", 125_239_296),
        ("350m", 331_196_416),
        ("1.3b", 1_315_758_080),
        ("2.7b", 2_651_596_800),
        ("6.7b", 6_658_473_984),
        ("13b", 12_853_473_280),
        ("30b", 29_974_540_288),
        ("66b", 65_719_701_504),
    ],
)
def test_published_sizes_have_their_number_of_parameters(size, parameters):
    """Counted from shapes alone, and by a formula; the first three are published, the others follow from table 1."""
    config = opt_config(size)
    assert config.num_parameters == parameters
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config))) == parameters


@SWITCHES
def test_the_formula_counts_the_parameters_of_every_switch(config):
    assert config.num_parameters == sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))


def test_unknown_sizes_and_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="there is no OPT of size '125n'; did you mean '125m'"):
        opt_config("125n")
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple of `num_heads`, got 8 and 3"):
        replace(SMALL, num_heads=3)
    with pytest.raises(ValueError, match="`num_layers` must be at least 1, got 0"):
        replace(SMALL, num_layers=0)
    assert set(OPT_CONFIGS) >= {"tiny", "125m", "350m", "66b"}


def test_random_weights_are_normal_norms_the_identity_and_padding_is_zero():
    config = opt_config("tiny", num_layers=1)
    params = init_opt(KEY, config)
    embedding = params["tokens"]["embedding"]
    assert not embedding[config.pad_token].any()
    # 262,144 draws: the standard deviation is known to 0.14 %, and a tenth off would be seen
    assert np.std(embedding) == pytest.approx(config.init_std, rel=0.01)
    layer = params["layers"][0]
    assert (layer["ffn_norm"]["scale"] == 1).all() and not layer["up"]["bias"].any()
    assert np.std(layer["attention"]["qkv"]["kernel"]) == pytest.approx(config.init_std, rel=0.03)


@SWITCHES
def test_logits_are_those_of_plain_numpy(config, x64):
    """In float64 on both sides, so that an epsilon of a norm shows."""
    wide = replace(config, dtype="float64", dropout=0.0)
    params = random_params(wide)
    expected = numpy_opt.next_scores(wide, params, TOKENS)
    np.testing.assert_allclose(run(wide, params, TOKENS), expected, rtol=1e-9, atol=1e-10)


@SWITCHES
def test_no_place_sees_a_later_one(config):
    """The gradient of one place's logits with respect to the inputs: zero after it, not before it."""
    params = random_params(config)
    here = 3

    def of_one_place(positions):
        # one row of positions per place, so that its gradient says whether the place was looked at
        return run(config, {**params, "positions": {"embedding": positions}}, TOKENS[:1])[0, here].sum()

    slope = jnp.abs(jax.grad(of_one_place)(params["positions"]["embedding"])).sum(axis=1)
    seen = slope[2 : 2 + LENGTH] > 1e-6
    assert seen.tolist() == [True] * (here + 1) + [False] * (LENGTH - here - 1)
    later = TOKENS.at[:, here + 1 :].set(5)
    before, after = run(config, params, TOKENS), run(config, params, later)
    np.testing.assert_array_equal(before[:, : here + 1], after[:, : here + 1])


@SWITCHES
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_nothing_for_the_text(config, side):
    """Not even what stands in the padding matters; 1e-5 is for sums taken in another order."""
    params, width = random_params(config), 4
    alone = run(config, params, TOKENS)
    for filler in (config.pad_token, 7):
        pad = ((0, 0), (width, 0) if side == "left" else (0, width))
        padded = jnp.pad(TOKENS, pad, constant_values=filler)
        mask = jnp.pad(jnp.ones_like(TOKENS, bool), pad)
        with_padding = run(config, params, padded, mask)
        assert bool(jnp.isfinite(with_padding).all())
        text = with_padding[:, width:] if side == "left" else with_padding[:, :LENGTH]
        np.testing.assert_allclose(text, alone, atol=1e-5 * float(jnp.abs(alone).max()))


def test_rows_are_independent_of_each_other():
    params = random_params(SMALL)
    mask = jnp.arange(LENGTH) < jnp.asarray([6, 4, 2])[:, None]
    together = run(SMALL, params, TOKENS, mask)
    for row, length in enumerate((6, 4, 2)):
        alone = run(SMALL, params, TOKENS[row : row + 1, :length])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


@SWITCHES
def test_two_models_at_once_are_each_alone(config):
    models = [random_params(config, seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    together = jax.vmap(lambda params: run(config, params, TOKENS))(stacked)
    for one, params in zip(together, models):
        alone = run(config, params, TOKENS)
        np.testing.assert_allclose(one, alone, atol=1e-5 * float(jnp.abs(alone).max()))


def _gradients(config, params, key):
    return jax.grad(lambda params: jnp.mean(run(config, params, TOKENS, key=key) ** 2))(params)


def _saved(config, params):
    """Bytes that the backward pass keeps of the forward pass, without the weights themselves."""
    _, backward = jax.vjp(lambda params: run(config, params, TOKENS), params)
    return sum(leaf.nbytes for leaf in jax.tree.leaves(backward) if hasattr(leaf, "nbytes"))


@pytest.mark.parametrize("key", [None, KEY], ids=["still", "dropout"])
def test_recomputing_layers_changes_memory_and_no_gradient(key):
    config = replace(SMALL, dropout=0.2, attention_dropout=0.2)
    saving, params = replace(config, remat=True), random_params(config)
    for one, other in zip(
        jax.tree.leaves(_gradients(config, params, key)), jax.tree.leaves(_gradients(saving, params, key))
    ):
        np.testing.assert_allclose(one, other, atol=1e-6 * float(jnp.abs(one).max()))
    assert _saved(saving, params) < 0.7 * _saved(config, params)


@pytest.mark.parametrize("name", ["pre", "350m"])
def test_bfloat16_is_near_float32_and_its_logits_are_float32(name):
    """bfloat16 keeps 8 bits, 0.4 %, and a few roundings add up; a mistake would be of the order of the logits."""
    config = CONFIGS[name]
    narrow = replace(config, dtype="bfloat16")
    params = random_params(narrow)
    wide = run(config, params, TOKENS)
    out = run(narrow, params, TOKENS)
    assert out.dtype == jnp.float32
    assert hidden_states(narrow, params, TOKENS).dtype == jnp.bfloat16
    gap = float(jnp.sqrt(jnp.mean((out - wide) ** 2) / jnp.mean(wide**2)))
    assert 1e-4 < gap < 0.03
    slopes = jax.grad(lambda params: run(narrow, params, TOKENS).sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(slopes)} == {jnp.dtype("float32")}


def test_double_precision_is_double_throughout(x64):
    wide = replace(SMALL, dtype="float64")
    params = random_params(wide)
    narrow = jax.tree.map(lambda leaf: leaf.astype("float32"), params)
    out = run(wide, params, TOKENS)
    assert out.dtype == jnp.float64
    gap = np.abs(out - run(SMALL, narrow, TOKENS)).max() / np.abs(out).max()
    assert 1e-9 < gap < 1e-5


def test_dropout_happens_only_with_a_key_and_keeps_the_mean():
    params = random_params(SMALL)
    for rates in ({"dropout": 0.3, "attention_dropout": 0.0}, {"dropout": 0.0, "attention_dropout": 0.3}):
        config = replace(SMALL, **rates)
        still = run(config, params, TOKENS)
        np.testing.assert_array_equal(still, run(replace(SMALL, dropout=0.0), params, TOKENS))
        one, same, other = (run(config, params, TOKENS, key=jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert float(jnp.abs(one - still).max()) > 1e-2 and float(jnp.abs(one - other).max()) > 1e-2
    config = replace(SMALL, dropout=0.0, attention_dropout=0.0)
    np.testing.assert_array_equal(run(config, params, TOKENS, key=KEY), run(config, params, TOKENS))


def test_dropout_scales_what_it_keeps():
    """Where nothing but the last bias is not zero, and no norm follows, the mean over keys is that bias."""
    config = replace(SMALL, num_layers=1, dropout=0.25, final_norm=False)
    params = jax.tree.map(jnp.zeros_like, random_params(config))
    params["layers"][0]["down"]["bias"] += 1.0
    keys = jax.random.split(KEY, 2000)
    hidden = jax.jit(jax.vmap(lambda key: hidden_states(config, params, TOKENS[:1, :2], key=key)))(keys)
    assert set(np.unique(hidden).round(5)) == {0.0, np.float32(1 / 0.75).round(5)}
    # 32,000 draws of standard deviation 0.577: |z| < 5 catches an error of 1.6 % in the rate
    assert abs(float(hidden.mean()) - 1.0) < 5 * 0.577 / np.sqrt(hidden.size)


def test_a_sequence_longer_than_the_positions_is_refused():
    params = random_params(SMALL)
    longest = jnp.full((1, SMALL.max_positions), 4)
    assert run(SMALL, params, longest).shape == (1, SMALL.max_positions, SMALL.vocab_size)
    with pytest.raises(ValueError, match="a sequence of 11 tokens is longer than the model's 10 positions"):
        run(SMALL, params, jnp.full((1, SMALL.max_positions + 1), 4))


def test_a_row_without_any_text_stays_finite():
    params = random_params(SMALL)
    mask = jnp.zeros_like(TOKENS, bool).at[0].set(True)
    slopes = jax.grad(lambda params: run(SMALL, params, TOKENS, mask)[0].sum())(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes))


def test_a_configuration_without_a_width_of_its_own_embeds_at_the_hidden_size():
    assert "project_in" not in random_params(replace(SMALL, embed_size=8))
    assert {"project_in", "project_out"} <= set(random_params(replace(SMALL, embed_size=4)))
