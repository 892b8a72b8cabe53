"""Decoding with an OPT: prefill, then one compiled loop over new tokens.

`sample` and `greedy` continue prompts that are padded on the left, as `nn.beams` does, with the semantics of
transformers' `generate` (5.23): the order of the rules, what counts as finished, what fills the rest. All are
pure and may be jitted; lengths, counts and penalties are static.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.model import Cache, decode_step, logits, prefill, with_mask
from collapse_jax.networks.opt.processors import (
    draw,
    forbid,
    forbid_repeated_ngrams,
    penalise_repetition,
    warp,
)
from collapse_jax.networks.opt.watermarks import NO_TOKEN, Watermark, apply_watermark, check_watermark
from collapse_jax.types import Array, ArrayLike, Key, Params
from collapse_jax.validation import check_count, check_fraction, check_positive


@dataclasses.dataclass(frozen=True)
class Rules:
    """What every way of decoding obeys.

    Attributes:
        max_new_tokens: at most so many.
        min_new_tokens: before so many, a text may not end.
        repetition_penalty: of tokens in the prompt or generated; 1 is none.
        no_repeat_ngram: no n-gram of this size twice; 0 is none.
        ends: whether the model's `eos_token` ends a text; of several any does.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    ends: bool = True

    def __post_init__(self) -> None:
        check_count("max_new_tokens", self.max_new_tokens)
        check_count("min_new_tokens", self.min_new_tokens, minimum=0)
        check_count("no_repeat_ngram", self.no_repeat_ngram, minimum=0)
        check_positive("repetition_penalty", self.repetition_penalty)
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"`min_new_tokens` must be at most `max_new_tokens`, got {self.min_new_tokens} and "
                f"{self.max_new_tokens}; raise the latter."
            )


DEFAULT_RULES = Rules()


class Generated(NamedTuple):
    """New tokens of each prompt.

    Attributes:
        tokens: after its end a text is filled with the padding token.
        lengths: tokens up to the end, the end token included.
        scores: of a beam search, the sum of (processed) log-probabilities over length ** length_penalty, nats; of
            the other ways, the sum of the log-probabilities under the processed scores.
    """

    tokens: Int[Array, "batch new"]
    lengths: Int[Array, " batch"]
    scores: Float[Array, " batch"]


def greedy(
    config: OPTConfig,
    params: Params,
    prompts: Int[ArrayLike, "batch prompt"],
    mask: Bool[ArrayLike, "batch prompt"] | None = None,
    rules: Rules = DEFAULT_RULES,
) -> Generated:
    """Return the most probable token, again and again.

    Args:
        config: of the model.
        params: its weights.
        prompts: padded on the left.
        mask: true where there is text; default everywhere.
        rules: lengths and penalties.

    Raises:
        ValueError: prompt and new tokens together are longer than the positions.
    """
    return _follow(
        config, params, prompts, mask, rules, lambda step, scores, _: jnp.argmax(scores, -1).astype(jnp.int32)
    )


def sample(
    key: Key,
    config: OPTConfig,
    params: Params,
    prompts: Int[ArrayLike, "batch prompt"],
    mask: Bool[ArrayLike, "batch prompt"] | None = None,
    rules: Rules = DEFAULT_RULES,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    watermark: Watermark | None = None,
) -> Generated:
    """Return tokens drawn from the model.

    Args:
        key: token i uses `fold_in(key, i)`.
        config: of the model.
        params: its weights.
        prompts: padded on the left.
        mask: true where there is text; default everywhere.
        rules: lengths and penalties.
        temperature: divides the logits; below 1 the probable becomes more so.
        top_k: draw among the k most probable; 0 means all.
        top_p: draw from the nucleus of this probability; 1 means all.
        watermark: what marks the text, last of all, from `green_list` or `gumbel`; None: nothing.

    Raises:
        ValueError: a setting out of range, or prompt and new tokens together longer than the positions.
        TypeError: a watermark that is none.
    """
    check_positive("temperature", temperature)
    check_count("top_k", top_k, minimum=0)
    check_fraction("top_p", top_p), check_watermark(watermark)

    def choose(step: Array, scores: Array, context: Array) -> Array:
        scores = warp(scores, temperature, top_k, top_p)
        scores = scores if watermark is None else apply_watermark(watermark, scores, context)
        return draw(jax.random.fold_in(key, step), scores)

    return _follow(config, params, prompts, mask, rules, choose, 0 if watermark is None else watermark.window)


class Text(NamedTuple):
    """What the rules look at: the tokens so far, and which of the vocabulary occur among them; empty if none does."""

    tokens: Int[Array, "rows length"]
    seen: Bool[Array, "rows vocab"]


def _follow(
    config: OPTConfig,
    params: Params,
    prompts: ArrayLike,
    mask: ArrayLike | None,
    rules: Rules,
    choose: Callable[[Array, Array, Array], Array],
    window: int = 0,
) -> Generated:
    """Return one continuation of each prompt.

    `choose` is given the step, the processed scores, and the last `window` tokens of each text.
    """
    prompts, mask = with_mask(prompts, mask)
    batch, prompt_length = prompts.shape
    said = jnp.pad(jnp.where(mask, prompts, NO_TOKEN), ((0, 0), (window, 0)), constant_values=NO_TOKEN)
    before = said[:, prompt_length:].astype(jnp.int32)  # the last `window` of it
    hidden, caches = prefill(config, params, prompts, mask, rules.max_new_tokens, 1)
    num_tokens = jnp.sum(mask, axis=1)

    class Carry(NamedTuple):
        step: Array
        tokens: Array
        text: Text
        ended: Array
        score: Array
        caches: tuple[Cache, ...]

    def advance(carry: Carry, hidden: Array) -> Carry:
        scores = apply_rules(config, rules, logits(config, params, hidden), carry.text, carry.step)
        text = jnp.concatenate([before, carry.tokens], axis=1)
        context = jax.lax.dynamic_slice(text, (0, carry.step), (batch, window))
        token = jnp.where(carry.ended, config.pad_token, choose(carry.step, scores, context))
        gained = jnp.take_along_axis(scores, token[:, None], axis=1)[:, 0] - jax.nn.logsumexp(scores, axis=1)
        return Carry(
            carry.step + 1,
            jax.lax.dynamic_update_slice(carry.tokens, token[:, None], (0, carry.step)),
            extend_text(rules, carry.text, token, prompt_length + carry.step),
            carry.ended | ends_text(config, rules, token),
            carry.score + jnp.where(carry.ended, 0.0, gained),
            carry.caches,
        )

    def unfinished(carry: Carry) -> Array:
        return (carry.step < rules.max_new_tokens) & ~jnp.all(carry.ended)

    def body(carry: Carry) -> Carry:
        slot = carry.step - 1
        token = jax.lax.dynamic_slice(carry.tokens, (0, slot), (batch, 1))
        filled = jnp.broadcast_to(jnp.arange(rules.max_new_tokens) <= slot, (batch, rules.max_new_tokens))
        visible = jnp.concatenate([mask, filled], axis=1)[:, None]
        hidden, caches = decode_step(
            config, params, token, (num_tokens + slot)[:, None], visible, carry.caches, slot
        )
        return advance(carry._replace(caches=caches), hidden[:, 0])

    tokens = jnp.full((batch, rules.max_new_tokens), config.pad_token, jnp.int32)
    start = Carry(
        jnp.asarray(0), tokens, begin_text(config, rules, prompts, mask), jnp.zeros(batch, bool),
        jnp.zeros(batch, jnp.promote_types(hidden.dtype, jnp.float32)), caches,
    )  # fmt: skip
    end = jax.lax.while_loop(unfinished, body, advance(start, hidden))
    return Generated(end.tokens, _lengths(config, rules, end.tokens), end.score)


def begin_text(config: OPTConfig, rules: Rules, prompts: Array, mask: Array) -> Text:
    """Return the prompts, with room for new tokens, as the rules look at them."""
    rows = prompts.shape[0]
    tokens = jnp.zeros((rows, 0), jnp.int32)
    seen = jnp.zeros((rows, 0), bool)
    if rules.no_repeat_ngram:
        tokens = jnp.pad(prompts, ((0, 0), (0, rules.max_new_tokens)))
    if rules.repetition_penalty != 1.0:
        leading = jnp.cumsum(mask, axis=1) == 0  # padding on the left has not been said
        seen = jnp.zeros((rows, config.vocab_size), bool)
        seen = seen.at[jnp.arange(rows)[:, None], prompts].max(~leading)
    return Text(tokens, seen)


def extend_text(rules: Rules, text: Text, token: Array, length: Array) -> Text:
    """Return the text with one more token in each row, at place `length`."""
    tokens, seen = text
    if rules.no_repeat_ngram:
        tokens = jax.lax.dynamic_update_slice(tokens, token[:, None].astype(tokens.dtype), (0, length))
    if rules.repetition_penalty != 1.0:
        seen = seen | (jnp.arange(seen.shape[1])[None] == token[:, None])
    return Text(tokens, seen)


def apply_rules(config: OPTConfig, rules: Rules, scores: Array, text: Text, step: Array) -> Array:
    """Return the scores after the rules, in the reference's order."""
    if rules.repetition_penalty != 1.0:
        scores = penalise_repetition(scores, text.seen, rules.repetition_penalty)
    if rules.no_repeat_ngram:
        length = text.tokens.shape[1] - rules.max_new_tokens + step
        scores = forbid_repeated_ngrams(scores, text.tokens, length, rules.no_repeat_ngram)
    if rules.ends and rules.min_new_tokens:
        for end in config.ends:
            scores = forbid(scores, end, step < rules.min_new_tokens)
    return scores


def ends_text(config: OPTConfig, rules: Rules, tokens: Array) -> Array:
    """Return where a token ends its text, of the shape of `tokens`."""
    found = jnp.zeros(tokens.shape, bool)
    for index, end in enumerate(config.ends):
        found = (tokens == end) if index == 0 else found | (tokens == end)
    return found & rules.ends


def _lengths(config: OPTConfig, rules: Rules, tokens: Array) -> Array:
    """Return how many tokens each row has up to its end."""
    if not rules.ends:
        return jnp.full(tokens.shape[0], tokens.shape[1], jnp.int32)
    ended = jnp.cumsum(ends_text(config, rules, tokens), axis=1) > 0
    return jnp.minimum(jnp.sum(~ended, axis=1) + 1, tokens.shape[1]).astype(jnp.int32)
