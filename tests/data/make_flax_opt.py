"""Writes the folders tests/data/flax_opt_*: what the last Flax OPT of transformers saved and computed.

Run where transformers 4.57.6, flax 0.8.5 and jax 0.4.30 are installed (Python 3.11, numpy < 2):

    python tests/data/make_flax_opt.py
"""

from pathlib import Path

CONFIGS = {
    "flax_opt_pre": {},
    "flax_opt_post": {"do_layer_norm_before": False, "word_embed_proj_dim": 8},
}
SMALL = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "ffn_dim": 24, "max_position_embeddings": 12,
    "num_attention_heads": 2,
}  # fmt: skip


def main() -> None:
    import jax
    import numpy as np
    from transformers import FlaxOPTForCausalLM, OPTConfig

    for name, changes in CONFIGS.items():
        rng = np.random.default_rng(0)
        model = FlaxOPTForCausalLM(OPTConfig(**SMALL, **changes))
        # every weight is random, so that no bias of 0 and no scale of 1 can be mixed up unseen
        model.params = jax.tree.map(
            lambda leaf, rng=rng: rng.normal(0.0, 0.3, leaf.shape).astype(np.float32), model.params
        )
        tokens = rng.integers(4, SMALL["vocab_size"], (3, 9))
        mask = np.ones((3, 9), np.int32)
        mask[1, :4], mask[2, 6:] = 0, 0  # padded left, padded right
        tokens = np.where(mask, tokens, 1)
        folder = Path(__file__).parent / name
        model.save_pretrained(folder)
        logits = model(tokens, attention_mask=mask).logits
        np.savez_compressed(folder / "expected.npz", tokens=tokens, mask=mask, logits=np.asarray(logits))


if __name__ == "__main__":
    main()
