"""Language models fine-tuned on what language models wrote (Shumailov et al. 2024, the OPT experiment).

A datum is a block of tokens. `fit` fine-tunes an OPT on blocks by AdamW; `sample` continues every prompt by as many
new tokens as a block has, and these continuations, without their prompts, are the next generation's data:

    weights_g = argmin -log p(blocks_{g-1});   blocks_g = continuations of the prompts by weights_g

Both are made of `Chunked`, so that a large model can be stopped between them, and a tiny one runs compiled, many
seeds under one `vmap`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from collapse_jax.core.chunks import Chunked
from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_rows
from collapse_jax.core.protocol import Model
from collapse_jax.drivers.sharding import Layout, replicated
from collapse_jax.networks.in_turn import in_turn
from collapse_jax.networks.opt.beams import beam_search
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.decoding import Rules, sample
from collapse_jax.networks.opt.scoring import Texts, block_log_loss, language_loss
from collapse_jax.networks.opt.watermarks import Watermark, check_watermark
from collapse_jax.networks.training import adamw, cosine_by_epoch, epoch_order, optimizer_step, spread_rows
from collapse_jax.numerics.threefry import written_out
from collapse_jax.types import Array, ArrayLike, Key, Params, PyTree
from collapse_jax.validation import (
    check_choice,
    check_count,
    check_fraction,
    check_function,
    check_kind,
    check_numbers,
    check_positive,
    is_concrete,
)

Decode = Callable[[Key, OPTConfig, Params, Array], Array]  # key, model, prompts -> new tokens


class LanguageParams(NamedTuple):
    """A fine-tuned model with what it continues.

    Attributes:
        weights: of the model.
        base: where fine-tuning started from, or will start from.
        prompts: what `sample` continues.
        num_fits: how often it was fitted.
    """

    weights: Params
    base: Params
    prompts: Int[Array, "num_prompts length"]
    num_fits: Int[Array, ""]


class FineTuning(NamedTuple):
    """How a fit is done.

    Attributes:
        num_epochs: passes over as many blocks as there are prompts.
        batch_size: blocks of a minibatch.
        learning_rate: of the first epoch; it falls along a cosine by epochs.
        end_rate: where the cosine ends.
        weight_decay: AdamW's.
        start: of fine-tuning: "pretrained" weights, "generation-0" for all later generations, or "previous".
        real_batches: share of minibatches that hold original blocks, the first prompts, from the second fit on
            (the published code's way of keeping data; the published text's is `replace_with_real(original(), ...)`).
        keep_best: of the weights after each epoch, those of least loss on `validation`.
        steps_per_piece: optimiser steps after which the host driver may stop; 0: an epoch's.
    """

    num_epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 2e-5
    end_rate: float = 1e-6
    weight_decay: float = 0.01
    start: str = "generation-0"
    real_batches: float = 0.0
    keep_best: bool = True
    steps_per_piece: int = 0


def beam_decoding(rules: Rules, num_beams: int = 5) -> Decode:
    """Return decoding by beam search, the published way with 5 beams; deterministic.

    Args:
        rules: lengths and penalties.
        num_beams: width.
    """
    check_kind("rules", rules, Rules, "for example Rules(max_new_tokens=64)")
    check_count("num_beams", num_beams)
    return lambda key, config, params, prompts: (
        beam_search(config, params, prompts, rules=rules, num_beams=num_beams).tokens
    )


def sampled_decoding(
    rules: Rules,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    watermark: Watermark | None = None,
) -> Decode:
    """Return decoding by drawing; arguments as for `opt.sample`."""
    check_kind("rules", rules, Rules, "for example Rules(max_new_tokens=64)")
    check_positive("temperature", temperature)
    check_count("top_k", top_k, minimum=0), check_fraction("top_p", top_p), check_watermark(watermark)
    return lambda key, config, params, prompts: (
        sample(
            key, config, params, prompts, rules=rules, temperature=temperature, top_k=top_k, top_p=top_p,
            watermark=watermark,
        ).tokens
    )  # fmt: skip


def language(
    config: OPTConfig,
    pretrained: Params,
    prompts: Int[ArrayLike, "num_prompts length"],
    validation: Int[ArrayLike, "num_blocks length"],
    decode: Decode,
    tuning: FineTuning = FineTuning(),  # noqa: B008  (frozen)
    *,
    prompts_from: str = "original",
    prompt_batch: int = 64,
    mesh: Mesh | None = None,
    place: Callable[[PyTree, Mesh], PyTree] = replicated,
) -> Model:
    """Return the model of an OPT that is fine-tuned on blocks of text.

    Args:
        config: of the network.
        pretrained: its weights before any fine-tuning.
        prompts: what the first generations continue; their number is M, which the chain must draw.
        validation: real blocks that choose the best epoch.
        decode: how prompts are continued, by exactly as many tokens as a block has.
        tuning: how a fit is done.
        prompts_from: "original", the given prompts in every generation (the paper), or "previous", the blocks just
            trained on (the published code).
        prompt_batch: prompts continued at a time.
        mesh: devices, from `model_mesh`, perhaps of several processes, that share the rows of every batch; for the
            host driver. None: the driver's choice.
        place: where the weights lie on them: `replicated`, each device holds them, or `fully_sharded`, they share
            the weights, gradients and optimiser state.

    Returns:
        A model over int32 blocks. Its fit reports `loss`, nats a token, mean over the last epoch, and
        `validation_loss`, of the weights that were kept.

    Raises:
        ValueError: an option out of range, fewer prompts than a minibatch, or batches that do not divide among
            the devices.
    """
    check_kind("config", config, OPTConfig, "load_opt(folder) gives it")
    check_kind("tuning", tuning, FineTuning, "for example FineTuning(num_epochs=1)")
    check_function("decode", decode, "such as beam_decoding(rules) gives")
    check_choice("start", tuning.start, ("pretrained", "generation-0", "previous"))
    check_choice("prompts_from", prompts_from, ("original", "previous"))
    check_fraction("real_batches", tuning.real_batches)
    check_count("prompt_batch", prompt_batch)
    first_prompts = jnp.asarray(_blocks("prompts", prompts), jnp.int32)
    _blocks("validation", validation)
    layout = Layout(mesh, place)
    fit = _fine_tuning(config, np.asarray(validation, np.int32), first_prompts, tuning, prompts_from, layout)

    def init(key: Key, real: Samples) -> LanguageParams:
        need_rows(real, "language()", "give it blocks, as_samples(to_blocks(...))")
        if real.x.ndim != 2 or not jnp.issubdtype(real.x.dtype, jnp.integer):
            raise ValueError(
                f"a language model needs blocks of tokens, integers [num_blocks, length], got {real.x.dtype} of shape "
                f"{real.x.shape}; see to_blocks."
            )
        return LanguageParams(pretrained, pretrained, first_prompts, jnp.asarray(0))

    return Model(init, fit, _continuation(config, decode, first_prompts.shape[0], prompt_batch, layout))


def _blocks(name: str, tokens: ArrayLike) -> ArrayLike:
    """Return blocks of tokens, integers [num_blocks, length]."""
    if is_concrete(tokens):
        known = check_numbers(name, tokens)
        if known.ndim != 2 or known.dtype.kind not in "iu":
            raise ValueError(
                f"`{name}` must be integers [num_blocks, length], got {known.dtype} of shape {known.shape}; see "
                "to_blocks."
            )
    return tokens


class _Fit(NamedTuple):
    """A fine-tuning under way."""

    key: Key
    params: LanguageParams
    data: Samples
    weights: Params
    opt_state: PyTree
    order: Int[Array, "num_steps batch"]
    best: Params
    best_loss: Float[Array, ""]
    total: Float[Array, ""]  # of the losses of this epoch so far


def _fine_tuning(
    config: OPTConfig, validation: np.ndarray, original: Array, tuning: FineTuning, prompts_from: str,
    layout: Layout,
) -> Chunked:  # fmt: skip
    """Return `fit`, in pieces of some optimiser steps each."""
    num_rows = original.shape[0]
    check_count("num_epochs", tuning.num_epochs), check_count("batch_size", tuning.batch_size)
    check_positive("learning_rate", tuning.learning_rate)
    check_positive("end_rate", tuning.end_rate, or_zero=True)
    check_positive("weight_decay", tuning.weight_decay, or_zero=True)
    check_count("steps_per_piece", tuning.steps_per_piece, minimum=0)
    steps_per_epoch = num_rows // tuning.batch_size
    if steps_per_epoch < 1:
        raise ValueError(
            f"{num_rows} prompts do not fill one minibatch of {tuning.batch_size}; lower `batch_size`."
        )
    per_piece = min(tuning.steps_per_piece or steps_per_epoch, steps_per_epoch)
    pieces_per_epoch = -(-steps_per_epoch // per_piece)
    rate = cosine_by_epoch(tuning.learning_rate, tuning.end_rate, steps_per_epoch, tuning.num_epochs)
    optimizer, loss = adamw(rate, tuning.weight_decay), language_loss(config)
    everywhere = jnp.ones((tuning.batch_size, validation.shape[1]), bool)

    def start(key: Key, params: LanguageParams, data: Samples) -> _Fit:
        weights = params.weights if tuning.start == "previous" else params.base
        key_orders, key_steps = jax.random.split(key)  # apart: fold_in(key, i) is split(key)[i]
        keys = jax.random.split(key_orders, tuning.num_epochs)
        orders = jax.vmap(lambda k: epoch_order(k, data.weight, num_rows))(keys)
        orders = orders[:, : steps_per_epoch * tuning.batch_size].reshape(-1, tuning.batch_size)
        worst = jnp.asarray(jnp.inf, jnp.float32)
        return _Fit(key_steps, params, data, weights, optimizer.init(weights), orders, weights, worst, worst)

    def advance(index: Array, carry: _Fit) -> _Fit:
        def step(number: Array, carry_step: tuple) -> tuple:
            weights, opt_state, total = carry_step
            rows = carry.data.x[carry.order[number]]
            key = jax.random.fold_in(written_out(carry.key), number)
            key_loss, key_kept, key_rows = jax.random.split(key, 3)
            if tuning.real_batches:
                real = original[jax.random.choice(key_rows, num_rows, (tuning.batch_size,), replace=False)]
                is_real = jax.random.uniform(key_kept) < tuning.real_batches
                rows = jnp.where(is_real & (carry.params.num_fits > 0), real, rows)
            texts = Texts(layout.rows(rows), everywhere, jnp.ones(tuning.batch_size))
            stepped, told = optimizer_step(key_loss, weights, opt_state, texts, loss, optimizer)
            return *layout.state(stepped), total + told["loss"]

        epoch, place = index // pieces_per_epoch, index % pieces_per_epoch
        first = epoch * steps_per_epoch + place * per_piece
        num_steps = jnp.minimum(per_piece, steps_per_epoch - place * per_piece)  # the last piece may be short
        total = jnp.where(place == 0, 0.0, carry.total)
        weights, opt_state, total = jax.lax.fori_loop(
            first, first + num_steps, step, (carry.weights, carry.opt_state, total)
        )
        carry = carry._replace(weights=weights, opt_state=opt_state, total=total)
        if pieces_per_epoch == 1:  # under vmap both branches of a condition would be computed
            return judge(carry)
        return jax.lax.cond(place == pieces_per_epoch - 1, judge, lambda c: c, carry)

    def judge(carry: _Fit) -> _Fit:
        """Keep the weights if they are the best so far, or whatever they are."""
        now = block_log_loss(config, carry.weights, validation.ravel(), validation.shape[1], 64).per_token
        better = (now < carry.best_loss) if tuning.keep_best else jnp.asarray(True)
        # a loss of NaN is never better: the last finite weights stay
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), carry.weights, carry.best)
        return carry._replace(best=best, best_loss=jnp.where(better, now, carry.best_loss))

    def finish(carry: _Fit) -> tuple[LanguageParams, dict[str, Array]]:
        before, prompts = carry.params, carry.params.prompts
        base = before.base
        if tuning.start == "generation-0":
            is_first = before.num_fits == 0
            base = jax.tree.map(lambda new, old: jnp.where(is_first, new, old), carry.best, base)
        if prompts_from == "previous":
            prompts = carry.data.x[spread_rows(carry.data.weight, num_rows, 0.5)]
        after = LanguageParams(carry.best, base, prompts, before.num_fits + 1)
        return after, {"loss": carry.total / steps_per_epoch, "validation_loss": carry.best_loss}

    # compiled here: the host driver calls each piece from Python
    return Chunked(
        layout.compiled(start), layout.compiled(in_turn(advance)), layout.compiled(finish),
        tuning.num_epochs * pieces_per_epoch,
    )  # fmt: skip


class _Writing(NamedTuple):
    """Continuations under way."""

    key: Key
    params: LanguageParams
    tokens: Int[Array, "num_prompts length"]


def _continuation(
    config: OPTConfig, decode: Decode, num_prompts: int, prompt_batch: int, layout: Layout
) -> Chunked:
    """Return `sample`, a batch of prompts a piece."""
    num_chunks = -(-num_prompts // prompt_batch)
    devices = 1 if layout.mesh is None else layout.mesh.size
    # as even as they can be, in whole rows a device: where batches overlap, work is done twice
    size = min(-(-num_prompts // (num_chunks * devices)) * devices, num_prompts)

    def start(key: Key, params: LanguageParams, num_samples: int) -> _Writing:
        if num_samples != num_prompts:
            raise ValueError(
                f"each of the {num_prompts} prompts is continued once, so `num_samples` must be {num_prompts}, got "
                f"{num_samples}."
            )
        return _Writing(key, params, jnp.zeros_like(params.prompts))

    def advance(index: Array, carry: _Writing) -> _Writing:
        # the last batch overlaps the one before it where the number does not divide
        first = jnp.minimum(index * size, num_prompts - size)
        prompts = layout.rows(jax.lax.dynamic_slice_in_dim(carry.params.prompts, first, size))
        new = decode(jax.random.fold_in(carry.key, index), config, carry.params.weights, prompts)
        if new.shape != prompts.shape:
            raise ValueError(
                f"a block has {prompts.shape[1]} tokens and `decode` writes {new.shape[1]}; set the rules' "
                "max_new_tokens to the length of a block."
            )
        tokens = jax.lax.dynamic_update_slice_in_dim(carry.tokens, layout.everywhere(new), first, axis=0)
        return carry._replace(tokens=tokens)

    def finish(carry: _Writing) -> Samples:
        return Samples(carry.tokens, jnp.ones(num_prompts))

    return Chunked(start, layout.compiled(in_turn(advance)), finish, num_chunks)
