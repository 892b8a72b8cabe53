"""OPT beside transformers, with the same random weights: decoding and training."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from harness import Row, row
from peaks import matmul_peak, reading_rate
from sides import REPEATS, Side, timings

from collapse_jax import opt
from collapse_jax.networks.training import adamw, train_step
from collapse_jax.types import Params

LENGTH = 64  # of prompts, of what is generated, and of texts to train on
BEAMS, RATE = 5, 1e-4
# configuration, warm runs, and (work, batch, least ratio); training comes last: it changes the peer's weights
WORK = {
    "OPT tiny (d 128, 4 layers, vocab 4096)": (opt.opt_config("tiny", vocab_size=4096), REPEATS, (
        ("sampling", 32, 3.0), ("sampling", 128, 3.0), ("5 beams", 32, 3.0), ("training", 128, 1.5),
    )),
    # where a run takes many seconds, few of them say as much
    "OPT-125m": (opt.opt_config("125m"), 3, (("sampling", 8, 3.0), ("5 beams", 8, 3.0), ("training", 8, 1.3))),
}  # fmt: skip


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    from peers.transformers_opt import decoders, same_weights, trainers

    peak, rate = matmul_peak(), reading_rate()
    for name, (config, repeats, works) in WORK.items():
        params = opt.init_opt(jax.random.key(0), config)
        model = same_weights(config, params)
        for kind, batch, target in works:
            text = np.random.default_rng(0).integers(3, config.vocab_size, (batch, LENGTH))
            how = f"64 tokens after 64, batch {batch}"
            if kind == "training":
                peers = list(trainers(model, text))
                how = f"AdamW, {batch} x 64 tokens, dropout {config.dropout:g}"
            else:
                beams = BEAMS if kind == "5 beams" else 0
                peers = list(decoders(model, text, LENGTH, beams))
            found = timings([ours(kind, config, params, text), *peers], repeats)
            if kind == "training":
                share = training_flops(config, LENGTH) / found[0].cost / 1e9 / peak
                limit = f"{share:.0%} of what its matrix products alone would take ({peak:.0f} GFLOP/s)"
            else:
                read, products = decoding_work(config, batch, beams or 1)
                limit = (
                    f"Reading weights and cache once would take {read / rate / 1e3:.0f} us a token ({rate:.0f} GB/s), "
                    f"its matrix products {products / peak / 1e3:.0f} us ({peak:.0f} GFLOP/s)"
                )
            yield row(f"{name}, {kind}, {how}", "us / token", found, target, limit=limit)


def training_flops(config: opt.OPTConfig, length: int) -> float:
    """Return the operations of matrix products for a token trained on: forward, and twice as many backward."""
    width, inner = config.hidden_size, config.ffn_size
    layer = 4 * width**2 + 2 * width * inner + 2 * length * width  # attention's two products see all places
    return 6 * (config.num_layers * layer + config.vocab_size * width)


def decoding_work(config: opt.OPTConfig, batch: int, rows: int) -> tuple[float, float]:
    """Return the bytes that must be read and the operations of matrix products for a token that is written.

    A step of decoding reads the weights of all layers and of the head once for the whole batch, and each of a text's
    `rows` (beams) reads its keys and values, of 1.5 x `LENGTH` places in the mean.
    """
    width, inner, places = config.hidden_size, config.ffn_size, 1.5 * LENGTH
    weights = config.num_layers * (4 * width**2 + 2 * width * inner) + config.vocab_size * width
    cache = 2 * config.num_layers * places * width
    return 4 * (weights / batch + rows * cache), rows * (2 * weights + 2 * cache)


def ours(kind: str, config: opt.OPTConfig, params: Params, text: np.ndarray) -> Side:
    """Return what decodes after `text` once, or takes one step of training on it."""
    key, tokens, rules = jax.random.key(1), jnp.asarray(text, jnp.int32), opt.Rules(LENGTH, LENGTH)
    if kind == "sampling":
        draw = jax.jit(lambda params, tokens: opt.sample(key, config, params, tokens, rules=rules))
        return Side("ours", lambda: draw(params, tokens), text.size)
    if kind == "5 beams":
        search = jax.jit(partial(opt.beam_search, config, rules=rules, num_beams=BEAMS))
        return Side("ours", lambda: search(params, tokens), text.size)
    optimizer, loss = adamw(RATE), opt.language_loss(config)
    texts = opt.Texts(tokens, jnp.ones(tokens.shape, bool), jnp.ones(tokens.shape[0]))
    state = jax.tree.map(jnp.copy, (params, optimizer.init(params)))
    # donated: in place, as the peer's
    step = jax.jit(
        lambda state: train_step(key, *state, lambda _: texts, loss, optimizer)[0], donate_argnums=0
    )

    def fit() -> None:
        nonlocal state
        state = jax.block_until_ready(step(state))

    return Side("ours", fit, text.size)
