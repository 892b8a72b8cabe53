"""A language model as the truth: what it writes is the real text, so the distance to the truth is known exactly.

    truth = OPT fine-tuned on all of the training text;   real text ~ truth, blocks drawn from `</s>` on

Every distribution of a next token is then known on both sides.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import as_samples
from collapse_jax.models.language import FineTuning, language, sampled_decoding
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.decoding import Rules, sample
from collapse_jax.studies.texts import BLOCK, Texts, spread
from collapse_jax.types import Key, Params

_POOL = 4  # blocks of text for each of the M that generation 0 learns: what the control draws from
_BATCH = 128


class Teacher(NamedTuple):
    """The true model and its text.

    Attributes:
        weights: of the truth.
        texts: what it wrote, in the place of real text.
    """

    weights: Params
    texts: Texts


def teach(key: Key, config: OPTConfig, pretrained: Params, texts: Texts, tuning: FineTuning) -> Teacher:
    """Return a truth fine-tuned on all of a real text, and text drawn from it.

    Args:
        key: of its training and its text.
        config: of the model.
        pretrained: weights before fine-tuning.
        texts: the real text; the truth's has as many blocks to learn, to validate and to test with.
        tuning: how the truth is fine-tuned.
    """
    key_fit, key_text = jax.random.split(key)
    model = language(
        config, pretrained, texts.pool, texts.validation, sampled_decoding(Rules(BLOCK, ends=False)), tuning
    )
    real = as_samples(jnp.asarray(texts.pool))
    params, _ = model.fit(key_fit, model.init(key_fit, real), real)
    num_training, num_validation, num_test = len(texts.training), len(texts.validation), len(texts.test)
    num = _POOL * num_training + num_validation + num_test
    written = _write(key_text, config, params.weights, num)
    pool, validation, test = np.split(written, [_POOL * num_training, _POOL * num_training + num_validation])
    return Teacher(
        params.weights, Texts(pool, spread(pool, num_training), validation, test, texts.bytes_per_token)
    )


def _write(key: Key, config: OPTConfig, weights: Params, num: int) -> np.ndarray:
    """Return `num` blocks drawn from a model, each from the beginning of a text on."""
    first = jnp.full((_BATCH, 1), config.bos_token, jnp.int32)
    rules = Rules(BLOCK - 1, ends=False)  # `</s>` parts lines, in the middle of a block, too
    draw = jax.jit(lambda key: sample(key, config, weights, first, rules=rules).tokens)
    parts = [
        np.concatenate([first, draw(jax.random.fold_in(key, index))], axis=1)
        for index in range(-(-num // _BATCH))
    ]
    return np.concatenate(parts)[:num]
