"""Labs of the web study that fine-tune the tiny OPT on blocks of text, and write blocks."""

from functools import partial

import jax
import jax.numpy as jnp

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.real_data import fresh
from collapse_jax.models.language import FineTuning, language, sampled_decoding
from collapse_jax.networks.in_turn import in_turn
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.networks.opt.scoring import block_log_loss
from collapse_jax.studies.texts import BLOCK, load_model, load_texts
from collapse_jax.studies.web.arms import ArmOfWeb, detector_of, members
from collapse_jax.studies.web.config import WebConfig
from collapse_jax.types import Key, Params
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import pool, web_metrics

_EVALUATED = 64  # blocks of validation text
_TUNING = FineTuning(num_epochs=5, learning_rate=1e-3, start="pretrained", keep_best=False)
_BATCH = 16  # blocks


def chain_of_texts(config: WebConfig, arm: ArmOfWeb) -> Chain:
    """Return the chain of one web of texts; biased labs write at the temperature `bias`.

    Every lab begins each training from the pretrained net and keeps its last weights: no real text chooses an epoch.

    Raises:
        ValueError: a field out of range, or more rows than the real text has blocks.
    """
    network, pretrained, _ = load_model(None)
    num, most = len(members(config)), config.num_samples
    texts = load_texts(most, _EVALUATED)
    blocks = jnp.asarray(texts.pool)
    for name in ("num_real", "inflow"):
        if getattr(config, name) > len(blocks):
            raise ValueError(
                f"`{name}` is {getattr(config, name)}, and the real text has {len(blocks)} blocks; lower it."
            )
    if config.num_released > most:
        raise ValueError(
            f"`num_released` must be at most `num_samples`, {most}, the prompts that a lab continues, got "
            f"{config.num_released}; lower it."
        )

    def human(key: Key, count: int) -> Samples:
        rows = jax.random.choice(key, len(blocks), (count,), replace=False)
        return Samples(blocks[rows], jnp.ones(count))

    written = sampled_decoding(Rules(BLOCK, ends=False), temperature=config.bias if arm.biased else 1.0)
    tuning = _TUNING._replace(batch_size=min(_BATCH, most))
    model = labs(
        language(network, pretrained, texts.training, texts.validation, written, tuning), num, draws=most,
        releases=[config.num_released if arm.releases else 0] * config.labs + [0], crawl=arm.crawl,
    )  # fmt: skip
    regime = pool(
        fresh(human), inflow=config.inflow, deletion=config.deletion, filter=detector_of(config, arm.filtered)
    )  # fmt: skip

    @in_turn
    def scored(weights: Params) -> jax.Array:
        return block_log_loss(network, weights, texts.validation.ravel(), BLOCK, _EVALUATED).per_token

    loss = Metric("log_loss", (), "nats a token", lambda key, snapshot: scored(snapshot.params.weights))
    real, (size, contamination, _) = partial(human, count=config.num_real), web_metrics(num)
    return build_chain(model, regime, real, most, (*per_lab([loss]), size, contamination))
