"""Beam search with an OPT, to the semantics of transformers' `generate` (5.23).

The K = `num_beams` best running sequences of each prompt compete at every token, and the K best that have ended
are kept beside them. Caches are never reordered: a beam's lineage says in whose slots its tokens lie.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.decoding import (
    DEFAULT_RULES,
    Generated,
    Rules,
    Text,
    apply_rules,
    begin_text,
    ends_text,
    extend_text,
)
from collapse_jax.networks.opt.model import Cache, decode_step, logits, prefill, with_mask
from collapse_jax.networks.opt.processors import top_k
from collapse_jax.types import Array, ArrayLike, Params
from collapse_jax.validation import check_count

_NEVER = -1e9  # the reference's score of what must not be chosen


class _Beams(NamedTuple):
    """The state of a beam search: K = `num_beams` sequences that run, and the K best that have ended, per prompt.

    `lineage[b, w, n]` is the beam whose slot n holds token n of what is now beam w.
    """

    step: Int[Array, ""]
    tokens: Int[Array, "batch beams new"]
    scores: Float[Array, "batch beams"]
    lineage: Int[Array, "batch beams new"]
    text: Text
    ended_tokens: Int[Array, "batch beams new"]
    ended_scores: Float[Array, "batch beams"]
    ended_lengths: Int[Array, "batch beams"]
    has_ended: Bool[Array, "batch beams"]
    can_improve: Bool[Array, " batch"]
    goes_on: Bool[Array, ""]


def beam_search(
    config: OPTConfig,
    params: Params,
    prompts: Int[ArrayLike, "batch prompt"],
    mask: Bool[ArrayLike, "batch prompt"] | None = None,
    rules: Rules = DEFAULT_RULES,
    *,
    num_beams: int = 5,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
) -> Generated:
    """Return the best continuation found by `num_beams` beams.

    Args:
        config: of the model.
        params: its weights.
        prompts: padded on the left.
        mask: true where there is text; default everywhere.
        rules: lengths and penalties; penalties act on log-probabilities, as in the reference.
        num_beams: width; 1 is greedy but for the rules' acting on log-probabilities.
        length_penalty: the score of an ended text is its log-probability over its length to this power.
        early_stopping: true stops a prompt when it has `num_beams` ended texts; false also by the heuristic that no
            running beam of its present length would do better; "never" only when none can.

    Raises:
        ValueError: no beams, or prompt and new tokens together longer than the positions.
    """
    check_count("num_beams", num_beams)
    prompts, mask = with_mask(prompts, mask)
    batch, num_new = prompts.shape[0], rules.max_new_tokens
    hidden, caches = prefill(config, params, prompts, mask, num_new, num_beams)
    num_tokens = jnp.sum(mask, axis=1)
    among = jnp.eye(num_beams, dtype=bool)[:, None]  # [W, 1, W], a beam's own slot

    def advance(beams: _Beams, hidden: Array) -> _Beams:
        scores = logits(config, params, hidden).reshape(batch * num_beams, -1)
        log_probs = apply_rules(config, rules, jax.nn.log_softmax(scores), beams.text, beams.step)
        total = log_probs.reshape(batch, num_beams, -1) + beams.scores[:, :, None]
        return _select(config, rules, beams, total, length_penalty, early_stopping)

    def body(carry: tuple[_Beams, tuple[Cache, ...]]) -> tuple[_Beams, tuple[Cache, ...]]:
        beams, caches = carry
        slot = beams.step - 1
        token = jax.lax.dynamic_slice_in_dim(beams.tokens, slot, 1, axis=2)[:, :, 0]
        own = among[None] | jnp.zeros((batch, 1, 1, 1), bool)
        descends = beams.lineage[:, :, :, None] == jnp.arange(num_beams)[None, None, None]  # [B, W, N, W]
        slots = jnp.arange(num_new)[None, None, :, None]
        past = jnp.where(slots == slot, own, descends & (slots < slot)).reshape(batch, num_beams, -1)
        prompt = jnp.broadcast_to(mask[:, None], (batch, num_beams, mask.shape[1]))
        positions = jnp.broadcast_to((num_tokens + slot)[:, None], token.shape)
        visible = jnp.concatenate([prompt, past], axis=-1)
        hidden, caches = decode_step(config, params, token, positions, visible, caches, slot)
        return advance(beams, hidden), caches

    start = _start(config, rules, prompts, mask, num_beams, jnp.promote_types(hidden.dtype, jnp.float32))
    first = advance(start, jnp.broadcast_to(hidden[:, None], (batch, num_beams, hidden.shape[-1])))
    end, _ = jax.lax.while_loop(lambda carry: carry[0].goes_on, body, (first, caches))
    return Generated(end.ended_tokens[:, 0], end.ended_lengths[:, 0], end.ended_scores[:, 0])


def _start(
    config: OPTConfig, rules: Rules, prompts: Array, mask: Array, num_beams: int, dtype: jnp.dtype
) -> _Beams:
    """Return beams before the first token: all alike, so that all but the first are out of the race."""
    batch = prompts.shape[0]
    text = jax.tree.map(
        lambda rows: jnp.repeat(rows, num_beams, axis=0), begin_text(config, rules, prompts, mask)
    )
    tokens = jnp.full((batch, num_beams, rules.max_new_tokens), config.pad_token, jnp.int32)
    scores = jnp.broadcast_to(jnp.where(jnp.arange(num_beams) == 0, 0.0, _NEVER), (batch, num_beams))
    none = jnp.zeros((batch, num_beams), bool)
    return _Beams(
        jnp.asarray(0), tokens, scores.astype(dtype), jnp.zeros_like(tokens), text, tokens,
        jnp.full((batch, num_beams), _NEVER, dtype), none.astype(jnp.int32), none, jnp.ones(batch, bool),
        jnp.asarray(True),
    )  # fmt: skip


def _select(
    config: OPTConfig, rules: Rules, beams: _Beams, total: Array, length_penalty: float,
    early_stopping: bool | Literal["never"],
) -> _Beams:  # fmt: skip
    """Return the beams after the best continuations have been chosen from `total`, [batch, beams, vocab]."""
    batch, num_beams, vocab = total.shape
    # so many that enough go on if the best all end, each by every token that does
    num_candidates = min(max(2, 1 + len(config.ends)), vocab) * num_beams
    scores, flat = top_k(total.reshape(batch, -1), num_candidates)
    parent, token = flat // vocab, (flat % vocab).astype(jnp.int32)
    length = beams.step + 1
    tokens = _set(_take(beams.tokens, parent), beams.step, token)
    is_last = length >= rules.max_new_tokens
    ends = ends_text(config, rules, token) | is_last

    running, chosen = jax.lax.top_k(scores + ends * _NEVER, num_beams)
    chosen_parent = _take(parent, chosen)
    rows = (jnp.arange(batch)[:, None] * num_beams + chosen_parent).reshape(-1)
    text = jax.tree.map(lambda old: old[rows], beams.text)
    written = text.tokens.shape[1] - rules.max_new_tokens + beams.step
    text = extend_text(rules, text, _take(token, chosen).reshape(-1), written)

    # only the best `num_beams` may end a text; the others stand by to go on
    final = scores / length**length_penalty
    stopped = (jnp.all(beams.has_ended, axis=1) & (early_stopping is True)) | ~beams.can_improve
    may_end = ends & (jnp.arange(num_candidates) < num_beams)[None]
    final = final + stopped[:, None] * _NEVER + ~may_end * _NEVER
    merged = jnp.concatenate([beams.ended_scores, final], axis=1)
    ended_scores, best = jax.lax.top_k(merged, num_beams)

    def merge(old: Array, new: Array) -> Array:
        return _take(jnp.concatenate([old, new], axis=1), best)

    has_ended = merge(beams.has_ended, may_end)
    reach = rules.max_new_tokens if early_stopping == "never" and length_penalty > 0 else length
    hope = running[:, :1] / jnp.asarray(reach, running.dtype) ** length_penalty
    can_improve = beams.can_improve & _may_improve(hope, has_ended, ended_scores)
    goes_on = jnp.any(can_improve) & ~(jnp.all(has_ended) & (early_stopping is True)) & ~jnp.all(ends)
    return _Beams(
        length, _take(tokens, chosen), running, _descend(beams, chosen_parent), text,
        merge(beams.ended_tokens, tokens), ended_scores,
        merge(beams.ended_lengths, jnp.broadcast_to(length, token.shape).astype(jnp.int32)),
        has_ended, can_improve, goes_on,
    )  # fmt: skip


def _may_improve(hope: Array, has_ended: Array, ended_scores: Array) -> Array:
    """Return whether what the best running beam may come to is above the worst text that has ended, for each prompt."""
    worst = jnp.where(has_ended, jnp.min(ended_scores, axis=1, keepdims=True), _NEVER)
    return jnp.any(hope > worst, axis=1)


def _descend(beams: _Beams, parent: Array) -> Array:
    """Return the lineage of beams that continue `parent`, whose last token stands in the parent's own slot."""
    slots = jnp.arange(beams.lineage.shape[2])
    return jnp.where((slots == beams.step - 1)[None, None], parent[:, :, None], _take(beams.lineage, parent))


def _take(values: Array, index: Int[Array, "batch chosen"]) -> Array:
    """Return values[b, index[b, c]] for arrays [batch, beams, ...]."""
    return jnp.take_along_axis(values, index.reshape(index.shape + (1,) * (values.ndim - 2)), axis=1)


def _set(tokens: Array, step: Array, token: Array) -> Array:
    """Return tokens with `token` at place `step`."""
    return jnp.where((jnp.arange(tokens.shape[2]) == step)[None, None], token[:, :, None], tokens)
