"""OPT beside transformers, with the same random weights: decoding and training."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import REPEATS, Row

from collapse_jax import opt
from collapse_jax.networks.training import adamw, train_step
from collapse_jax.types import Params

LENGTH = 64  # of prompts, of what is generated, and of texts to train on
BEAMS, RATE = 5, 1e-4
# configuration, warm runs, and (work, batch, least ratio); training comes last: it changes the peer's weights
WORK = {
    "OPT tiny (d 128, 4 layers, vocab 4096)": (opt.opt_config("tiny", vocab_size=4096), REPEATS, (
        ("sampling", 32, 3.0), ("sampling", 128, 3.0), ("5 beams", 32, 2.5), ("training", 128, 1.3),
    )),
    # where a run takes many seconds, few of them say as much
    "OPT-125m": (opt.opt_config("125m"), 3, (("sampling", 8, 1.5), ("5 beams", 8, 2.0), ("training", 8, 2.0))),
}  # fmt: skip


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    for name, (config, repeats, works) in WORK.items():
        params, model = _both(config)
        for kind, batch, target in works:
            text = np.random.default_rng(0).integers(3, config.vocab_size, (batch, LENGTH))
            ours, theirs = _ours(kind, config, params, text), _theirs(kind, model, text)
            how = f"64 tokens after 64, batch {batch}"
            if kind == "training":
                how = f"AdamW, {batch} x 64 tokens, dropout {config.dropout:g}"
            yield _beside(f"{name}, {kind}, {how}", ours, theirs, text.size, target, repeats)


def _both(config: opt.OPTConfig) -> tuple[Params, Any]:
    """Return our random weights, and the peer's model with them."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    params = opt.init_opt(jax.random.key(0), config)
    with tempfile.TemporaryDirectory() as folder:
        opt.save_opt(folder, config, params)
        model = transformers.OPTForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    return params, model.eval()


def _ours(kind: str, config: opt.OPTConfig, params: Params, text: np.ndarray) -> Callable[[], object]:
    """Return a function that decodes after `text` once, or takes one step of training on it."""
    key, tokens, rules = jax.random.key(1), jnp.asarray(text, jnp.int32), opt.Rules(LENGTH, LENGTH)
    if kind == "sampling":
        draw = jax.jit(lambda params, tokens: opt.sample(key, config, params, tokens, rules=rules))
        return lambda: jax.block_until_ready(draw(params, tokens))
    if kind == "5 beams":
        search = jax.jit(partial(opt.beam_search, config, rules=rules, num_beams=BEAMS))
        return lambda: jax.block_until_ready(search(params, tokens))
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

    return fit


def _theirs(kind: str, model: Any, text: np.ndarray) -> Callable[[], object]:
    """Return the same by transformers."""
    import torch

    tokens, lengths = torch.tensor(text), {"min_new_tokens": LENGTH, "max_new_tokens": LENGTH}
    how = {"do_sample": True, "top_k": 0} if kind == "sampling" else {"do_sample": False, "num_beams": BEAMS}

    @torch.inference_mode()
    def decode() -> object:
        return model.generate(tokens, attention_mask=torch.ones_like(tokens), **how, **lengths)

    if kind != "training":
        return decode
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=RATE)

    def fit() -> None:
        optimizer.zero_grad()
        model(tokens, labels=tokens, use_cache=False).loss.backward()
        optimizer.step()

    return fit


def _beside(work: str, ours: Callable, theirs: Callable, tokens: int, target: float, repeats: int) -> Row:
    """Return the row of two functions that take turns, so that both meet the same machine."""
    import torch

    every, tried = torch.get_num_threads(), {}
    first, _ = _seconds(ours), theirs()  # a first call sets up more than later ones
    for threads in sorted({1, every}):
        torch.set_num_threads(threads)
        tried[threads] = _seconds(theirs)
    best = min(tried, key=tried.__getitem__)
    torch.set_num_threads(best)
    mine, peer = np.median([(_seconds(ours), _seconds(theirs)) for _ in range(repeats)], axis=0).tolist()
    torch.set_num_threads(every)
    name, scale = f"transformers, {best} of {every} threads", 1e6 / tokens
    return Row(work, "us / token", mine * scale, first - mine, name, peer * scale, target)


def _seconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun
