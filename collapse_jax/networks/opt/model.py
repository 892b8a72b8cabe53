"""OPT (Zhang et al. 2022), a decoder-only transformer, as pure functions over a plain dict of weights.

    logits = head(final_norm(layers(embed(tokens) + positions(running sum of the mask))))

flax.nnx holds the layers; it is only split and merged, so `jit`, `grad`, `vmap` over several models and
sharding see a dict of arrays. `hidden_states` is the whole-sequence pass, for training and scoring;
`prefill` and `decode_step` are its cached forms, for `nn.decode`. Arrays inside the network are named by
their axes: B batch, L length, P prompt, N slots of new tokens, W beams, H heads, D head size, E embedding.

Reference: Zhang et al. (2022), "OPT: Open Pre-trained Transformer Language Models".
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float, Int

from collapse_jax.networks.lookup import lookup
from collapse_jax.networks.opt.config import POSITION_OFFSET, OPTConfig
from collapse_jax.networks.product import product
from collapse_jax.types import Array, ArrayLike, Key, Params

_MASKED = -1e30  # finite, so that a row with nothing to attend to stays finite


class Cache(NamedTuple):
    """Keys and values of one layer: of the prompt, shared by its beams, and of the new tokens, slot by slot.

    A beam's tokens stay in the places where they were computed; which of them a beam descends from is said by the
    mask of `decode_step`, so that beams change places without any copying. Slots and beams share one axis: XLA copies
    a cache that is updated in one shape and read in another.
    """

    prompt_keys: Float[Array, "B H P D"]
    prompt_values: Float[Array, "B H P D"]
    keys: Float[Array, "B H N*W D"]
    values: Float[Array, "B H N*W D"]


class _Attention(nnx.Module):
    """Causal self-attention of many heads; queries, keys and values by one product."""

    def __init__(self, config: OPTConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        self.qkv = _linear(config, config.hidden_size, 3 * config.hidden_size, config.bias, rngs)
        self.out = _linear(config, config.hidden_size, config.hidden_size, config.bias, rngs)

    def project(self, x_BxLxE: Array) -> tuple[Array, Array, Array]:
        """Return queries (scaled), keys and values, each [B, H, L, D]."""
        batch, length, _ = x_BxLxE.shape
        qkv = self.qkv(x_BxLxE).reshape(batch, length, 3, self.config.num_heads, -1).transpose(2, 0, 3, 1, 4)
        return qkv[0] * qkv.shape[-1] ** -0.5, qkv[1], qkv[2]

    def join(self, heads_BxHxLxD: Array) -> Array:
        """Return the output of all heads, [B, L, E]."""
        batch, _, length, _ = heads_BxHxLxD.shape
        return self.out(heads_BxHxLxD.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    def attend(self, scores: Array, key: Key | None) -> Array:
        """Return the attention weights over the last axis, in float32 until the end."""
        wide = jnp.promote_types(scores.dtype, jnp.float32)
        weights = _softmax(scores.astype(wide)).astype(scores.dtype)
        return _dropout(key, weights, self.config.attention_dropout)


class _Layer(nnx.Module):
    """Attention, then a feed-forward layer, each with its norm and its place on the residual stream."""

    def __init__(self, config: OPTConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        self.attention_norm = _norm(config, rngs)
        self.attention = _Attention(config, rngs)
        self.ffn_norm = _norm(config, rngs)
        self.up = _linear(config, config.hidden_size, config.ffn_size, config.bias, rngs)
        self.down = _linear(config, config.ffn_size, config.hidden_size, config.bias, rngs)

    def before(self, x: Array) -> tuple[Array, Array, Array]:
        """Return queries, keys and values of the residual stream."""
        return self.attention.project(self.attention_norm(x) if self.config.pre_norm else x)

    def after(self, x: Array, heads: Array, key: Key | None) -> Array:
        """Return the residual stream after this layer, given what its heads found."""
        pre, rate = self.config.pre_norm, self.config.dropout
        key_attention, key_ffn = (None, None) if key is None else jax.random.split(key)
        x = x + _dropout(key_attention, self.attention.join(heads), rate)
        x = x if pre else self.attention_norm(x)
        inner = self.down(jax.nn.relu(self.up(self.ffn_norm(x) if pre else x)))
        x = x + _dropout(key_ffn, inner, rate)
        return x if pre else self.ffn_norm(x)

    def __call__(self, x: Array, bias_Bx1xLxL: Array, key: Key | None) -> tuple[Array, Array, Array]:
        """Return the residual stream after this layer, and the keys and values it made."""
        key_weights, key_rest = (None, None) if key is None else jax.random.split(key)
        queries, keys, values = self.before(x)
        scores = jnp.einsum("bhld,bhmd->bhlm", queries, keys, precision=self.config.precision) + bias_Bx1xLxL
        weights = self.attention.attend(scores, key_weights)
        heads = jnp.einsum("bhlm,bhmd->bhld", weights, values, precision=self.config.precision)
        return self.after(x, heads, key_rest), keys, values

    def step(self, x_BxWxE: Array, bias: Array, cache: Cache, slot: Array) -> tuple[Array, Cache]:
        """Return the residual stream of one new token for each beam, and the cache with it in `slot`."""
        precision = self.config.precision
        queries, keys, values = self.before(x_BxWxE)  # [B, H, W, D]
        place = (0, 0, slot * x_BxWxE.shape[1], 0)
        cache = cache._replace(
            keys=jax.lax.dynamic_update_slice(cache.keys, keys, place),
            values=jax.lax.dynamic_update_slice(cache.values, values, place),
        )
        scores = [
            jnp.einsum("bhwd,bhmd->bhwm", queries, past, precision=precision)
            for past in (cache.prompt_keys, cache.keys)
        ]
        weights = self.attention.attend(jnp.concatenate(scores, axis=-1) + bias, None)
        of_prompt, of_past = jnp.split(weights, [cache.prompt_keys.shape[2]], axis=-1)
        found = jnp.einsum("bhwm,bhmd->bhwd", of_prompt, cache.prompt_values, precision=precision)
        found = found + jnp.einsum("bhwm,bhmd->bhwd", of_past, cache.values, precision=precision)
        return self.after(x_BxWxE, found, None), cache


class _OPT(nnx.Module):
    """The layers of an OPT."""

    def __init__(self, config: OPTConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        init = nnx.initializers.normal(config.init_std)
        types = {"dtype": config.dtype, "param_dtype": _param_dtype(config)}
        rows, embed = config.max_positions + POSITION_OFFSET, config.embedding_size
        self.tokens = nnx.Embed(config.vocab_size, embed, embedding_init=init, rngs=rngs, **types)
        self.positions = nnx.Embed(rows, config.hidden_size, embedding_init=init, rngs=rngs, **types)
        if embed != config.hidden_size:
            self.project_in = _linear(config, embed, config.hidden_size, False, rngs)
            self.project_out = _linear(config, config.hidden_size, embed, False, rngs)
        self.layers = nnx.List([_Layer(config, rngs) for _ in range(config.num_layers)])
        if config.has_final_norm:
            self.final_norm = _norm(config, rngs)

    def embed(self, tokens: Array, positions: Array) -> Array:
        """Return the residual stream before the first layer."""
        x = lookup(self._table(self.tokens), tokens)
        x = self.project_in(x) if hasattr(self, "project_in") else x
        return x + lookup(self._table(self.positions), positions + POSITION_OFFSET)

    def _table(self, rows: nnx.Embed) -> Array:
        return jnp.asarray(rows.embedding[...]).astype(self.config.dtype)

    def finish(self, x: Array) -> Array:
        """Return what the head reads, given the residual stream after the last layer."""
        x = self.final_norm(x) if hasattr(self, "final_norm") else x
        return self.project_out(x) if hasattr(self, "project_out") else x


def init_opt(key: Key, config: OPTConfig) -> Params:
    """Return random weights: normal of standard deviation `init_std`, biases 0, norms the identity.

    The padding token's embedding is 0, as in the published checkpoints.
    """
    model = _OPT(config, nnx.Rngs(key))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    embedding = params["tokens"]["embedding"]
    params["tokens"]["embedding"] = embedding.at[config.pad_token].set(0.0)
    return params


def abstract_params(config: OPTConfig) -> Params:
    """Return the shapes and types of the weights, without making any."""
    return jax.eval_shape(lambda: init_opt(jax.random.key(0), config))


def hidden_states(
    config: OPTConfig,
    params: Params,
    tokens: Int[ArrayLike, "batch length"],
    mask: Bool[ArrayLike, "batch length"] | None = None,
    key: Key | None = None,
) -> Float[Array, "batch length embed"]:
    """Return what the head reads at every place, from whole sequences.

    Args:
        config: of the model.
        params: its weights.
        tokens: padded left or right, or not at all.
        mask: true where there is text; default everywhere.
        key: for dropout; None means no dropout.

    Raises:
        ValueError: a sequence longer than the positions.
    """
    return _whole(config, params, *with_mask(tokens, mask), key)[0]


def logits(
    config: OPTConfig, params: Params, hidden: Float[Array, "*batch embed"]
) -> Float[Array, "*batch vocab"]:
    """Return the logits of the next token, at least float32: the head is the token embedding.

    Args:
        config: of the model.
        params: its weights.
        hidden: from `hidden_states`.
    """
    embedding = params["tokens"]["embedding"].astype(config.dtype)
    wide = jnp.promote_types(config.dtype, jnp.float32)
    return jnp.einsum(
        "...e,ve->...v", hidden, embedding, precision=config.precision, preferred_element_type=wide
    )  # fmt: skip


def prefill(
    config: OPTConfig,
    params: Params,
    tokens: Int[Array, "batch prompt"],
    mask: Bool[Array, "batch prompt"],
    num_new: int,
    num_beams: int,
) -> tuple[Float[Array, "batch embed"], tuple[Cache, ...]]:
    """Return what the head reads at the last place of each prompt, and caches with room for new tokens.

    Args:
        config: of the model.
        params: its weights.
        tokens: prompts, padded on the left.
        mask: true where there is text.
        num_new: slots for new tokens.
        num_beams: sequences that continue each prompt.

    Raises:
        ValueError: prompt and new tokens together are longer than the positions.
    """
    _check_length(config, tokens.shape[1] + num_new)
    hidden, made = _whole(config, params, tokens, mask, None)
    batch, depth = tokens.shape[0], config.hidden_size // config.num_heads
    empty = jnp.zeros((batch, config.num_heads, num_new * num_beams, depth), hidden.dtype)
    return hidden[:, -1], tuple(Cache(keys, values, empty, empty) for keys, values in made)


def decode_step(
    config: OPTConfig,
    params: Params,
    tokens: Int[Array, "batch beams"],
    positions: Int[Array, "batch beams"],
    visible: Bool[Array, "batch beams slots"],
    caches: tuple[Cache, ...],
    slot: Int[Array, ""],
) -> tuple[Float[Array, "batch beams embed"], tuple[Cache, ...]]:
    """Return what the head reads after one more token of every beam, and the caches with it.

    Args:
        config: of the model.
        params: its weights.
        tokens: the token of each beam.
        positions: its place in its text, from 0.
        visible: which places a beam may look at: those of the prompt, then slot by slot those of all beams.
        caches: of the layers.
        slot: where among the new tokens this one is put.
    """
    model = _merge(config, params)
    bias = jnp.where(visible, 0.0, _MASKED).astype(config.dtype)[:, None]
    x, after = model.embed(tokens, positions), []
    for layer, cache in zip(model.layers, caches):
        x, cache = layer.step(x, bias, cache, slot)
        after.append(cache)
    return model.finish(x), tuple(after)


def with_mask(
    tokens: Int[ArrayLike, "batch length"], mask: Bool[ArrayLike, "batch length"] | None
) -> tuple[Int[Array, "batch length"], Bool[Array, "batch length"]]:
    """Return tokens and their mask as arrays; without a mask there is text everywhere."""
    tokens = jnp.asarray(tokens)
    return tokens, jnp.ones(tokens.shape, bool) if mask is None else jnp.asarray(mask, bool)


def _whole(
    config: OPTConfig, params: Params, tokens: Array, mask: Array, key: Key | None
) -> tuple[Array, list[tuple[Array, Array]]]:
    """Return what the head reads, and each layer's keys and values."""
    length = tokens.shape[1]
    _check_length(config, length)
    model = _merge(config, params)
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, -1)
    causal = jnp.tril(jnp.ones((length, length), bool))
    bias = jnp.where(causal[None] & mask[:, None, :], 0.0, _MASKED).astype(config.dtype)[:, None]
    x, made = model.embed(tokens, positions), []
    for index, layer in enumerate(model.layers):
        key_layer = None if key is None else jax.random.fold_in(key, index)
        run = partial(_run_layer, *nnx.split(layer))
        x, keys, values = (jax.checkpoint(run) if config.remat else run)(x, bias, key_layer)
        made.append((keys, values))
    return model.finish(x), made


@partial(jax.jit, static_argnums=0)
def _run_layer(graph: Any, state: Any, x: Array, bias: Array, key: Key | None) -> tuple[Array, Array, Array]:
    """Return what a layer makes of the residual stream; traced once for all layers of one shape."""
    return nnx.merge(graph, state)(x, bias, key)


def _check_length(config: OPTConfig, length: int) -> None:
    if length > config.max_positions:
        raise ValueError(
            f"a sequence of {length} tokens is longer than the model's {config.max_positions} positions; "
            "shorten the prompt, or generate fewer tokens."
        )


@lru_cache
def _graph(config: OPTConfig) -> Any:
    """Return nnx's description of the model, which holds no arrays."""
    return nnx.split(nnx.eval_shape(lambda: _OPT(config, nnx.Rngs(0))))


def _merge(config: OPTConfig, params: Params) -> _OPT:
    """Return the model with these weights."""
    graph, state = _graph(config)
    state = jax.tree.map(lambda leaf: leaf, state)  # a copy: the next line writes into it
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


def _param_dtype(config: OPTConfig) -> Any:
    return jnp.float64 if config.dtype == "float64" else jnp.float32


def _linear(config: OPTConfig, inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        inputs, outputs, use_bias=bias, dtype=config.dtype, param_dtype=_param_dtype(config),
        precision=config.precision, kernel_init=nnx.initializers.normal(config.init_std), rngs=rngs,
        dot_general=_layer_product,
    )  # fmt: skip


def _layer_product(x: Array, weight: Array, axes: Any, precision: Any = None, **_: Any) -> Array:
    """Return x @ weight, which is what a layer asks `dot_general` for."""
    return product(x, weight, precision)


def _norm(config: OPTConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        config.hidden_size, epsilon=1e-5, use_bias=config.affine, use_scale=config.affine, dtype=config.dtype,
        param_dtype=_param_dtype(config), use_fast_variance=False, rngs=rngs,
    )  # fmt: skip


def _softmax(scores: Array) -> Array:
    """Return exp(scores) over their sum along the last axis.

    As `jax.nn.softmax`, but by a product: its division XLA makes a product in programs for one device and leaves as
    it is in those for several (JAX 0.10.2), so that how many there were would change the bits.
    """
    raised = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    return raised * (1 / jnp.sum(raised, axis=-1, keepdims=True))


def _dropout(key: Key | None, x: Array, rate: float) -> Array:
    if key is None or rate == 0.0:
        return x
    return jnp.where(jax.random.bernoulli(key, 1.0 - rate, x.shape), x / (1.0 - rate), 0.0)
