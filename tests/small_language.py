"""A language model of one layer on texts of six tokens: the smallest that has something to learn."""

from dataclasses import replace as changed

import numpy as np
from tiny_opt import SMALL, random_params

from collapse_jax.models.language import FineTuning, language, sampled_decoding
from collapse_jax.networks.opt.decoding import Rules

CONFIG = changed(SMALL, max_positions=12, embed_size=12, dropout=0.0, num_layers=1)
PRETRAINED = random_params(CONFIG, scale=0.3)
RNG = np.random.default_rng(0)
REAL = RNG.integers(3, 9, (8, 6)).astype(np.int32)  # six of 24 tokens, so that there is something to learn
VALIDATION = RNG.integers(3, 9, (4, 6)).astype(np.int32)
RULES = Rules(6, 6)
TUNING = FineTuning(num_epochs=2, batch_size=4, learning_rate=1e-2)


def build(decode=sampled_decoding(RULES), tuning=TUNING, prompts=REAL, **options):  # noqa: B008
    return language(CONFIG, PRETRAINED, prompts, VALIDATION, decode, tuning, prompt_batch=3, **options)
