"""Pretrain the tiny OPT that ships with the package, and write it there.

    .venv/bin/python experiments/pretrain_tiny.py

Question: does a small OPT, pretrained on addresses of presidents, predict real text equally well at every place of
its context? It prints log-loss on held-out addresses by quarter of the context. Vocabulary and weights come from the
State of the Union addresses alone, so that the fine-tuning text, Wikipedia, is another genre. Takes about twenty
minutes; the result is `collapse_jax/datasets/files/opt_tiny`, in float16.
"""

import time
from datetime import date
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import collapse_jax.datasets
from collapse_jax import load_addresses, opt, to_blocks
from collapse_jax.networks.training import adamw

LENGTH, BATCH, EPOCHS, PEAK = 128, 64, 8, 2e-3


def main(folder: Path) -> None:
    addresses = load_addresses()
    lines = addresses.train + addresses.test  # only the validating addresses are held out
    tokenizer = opt.train_tokenizer(lines, vocab_size=2048)
    blocks = jnp.asarray(to_blocks(opt.encode(tokenizer, lines), LENGTH))
    held_out = jnp.asarray(to_blocks(opt.encode(tokenizer, addresses.validation), LENGTH))
    config = opt.opt_config("tiny", max_positions=LENGTH)
    print(f"{len(blocks)} blocks of {LENGTH}, {config.num_parameters:,} parameters", flush=True)

    per_epoch = len(blocks) // BATCH
    total = EPOCHS * per_epoch
    warm_up = lambda step: jnp.minimum(1.0, (step + 1) / 100)  # noqa: E731
    rate = lambda step: PEAK * warm_up(step) * (0.05 + 0.95 * 0.5 * (1 + jnp.cos(jnp.pi * step / total)))  # noqa: E731
    optimizer = adamw(rate, weight_decay=0.05, clip=1.0, decay_vectors=False)

    @jax.jit
    def epoch(key, params, state):
        order = jax.random.permutation(key, len(blocks))[: per_epoch * BATCH].reshape(per_epoch, BATCH)

        def step(carry, rows):
            params, state = carry
            texts = opt.Texts(blocks[rows], jnp.ones((BATCH, LENGTH), bool), jnp.ones(BATCH))
            grads, told = jax.grad(opt.language_loss(config), argnums=1, has_aux=True)(key, params, texts)
            updates, state = optimizer.update(grads, state, params)
            return (jax.tree.map(jnp.add, params, updates), state), told["loss"]

        return jax.lax.scan(step, (params, state), order)

    params = opt.init_opt(jax.random.key(0), config)
    state, begun = optimizer.init(params), time.perf_counter()
    for index in range(EPOCHS):
        (params, state), losses = epoch(jax.random.fold_in(jax.random.key(1), index), params, state)
        print(
            f"epoch {index}: {float(losses.mean()):.3f} nats, {time.perf_counter() - begun:.0f} s", flush=True
        )

    opt.save_opt(folder, config, jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params), overwrite=True)
    opt.save_tokenizer(tokenizer, folder)
    config, params = opt.load_opt(folder)
    losses = -np.asarray(jax.jit(lambda tokens: opt.token_log_probs(config, params, tokens))(held_out[:512]))
    quarters = [float(part.mean()) for part in np.array_split(losses, 4, axis=1)]
    print("held-out nats a token by quarter of the context:", np.round(quarters, 3))
    (folder / "README.md").write_text(
        f"An OPT of {config.num_parameters:,} weights and its byte-level vocabulary of 2,048, both made from the State "
        f"of the Union addresses of 1850 to 1962 (public domain) by `experiments/pretrain_tiny.py` on {date.today()}. "
        f"Held-out log-loss by quarter of the context: {', '.join(f'{part:.2f}' for part in quarters)} nats a token.\n"
    )


if __name__ == "__main__":
    main(Path(collapse_jax.datasets.__file__).parent / "files" / "opt_tiny")
