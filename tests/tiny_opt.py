"""Tiny OPTs that between them turn every switch, with weights that are all different."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.model import abstract_params

FILES = Path(__file__).parent / "data"
SMALL = OPTConfig(vocab_size=24, hidden_size=8, num_layers=2, num_heads=2, ffn_size=12, max_positions=10)
CONFIGS = {
    "pre": SMALL,
    "350m": replace(SMALL, pre_norm=False, embed_size=4),
    "post": replace(SMALL, pre_norm=False, final_norm=False),
    "projected": replace(SMALL, embed_size=12),
    "no final norm": replace(SMALL, final_norm=False),
    "no bias": replace(SMALL, bias=False),
    "no affine": replace(SMALL, affine=False),
    "bare": replace(SMALL, bias=False, affine=False, final_norm=False, dropout=0.0),
}


def random_params(config, seed=0, scale=0.3):
    """Weights without a bias of 0 or a scale of 1, so that no mix-up goes unseen."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0.0, scale, leaf.shape), leaf.dtype), abstract_params(config)
    )


def equal(left, right):
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and bool(jnp.array_equal(a, b)), left, right)
    return all(jax.tree.leaves(same))


def rewrite(folder, change):
    """Let `change` alter the dict of tensors in a folder's safetensors."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
