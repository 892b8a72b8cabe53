"""The language-model study: build the chains, one for each setting, number of epochs and way of decoding.

Reference: Shumailov et al. (2024), the OPT-125m experiment; `--preset paper` is its protocol.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from collapse_jax.chain import Chain, Metric, Regime, build_chain
from collapse_jax.data import Samples, as_samples
from collapse_jax.errors import check_choice, check_count, check_fraction
from collapse_jax.models.language import Decode, FineTuning, by_beams, by_sampling, language
from collapse_jax.models.text_metrics import (
    PROTOCOLS,
    band_log_probs,
    diversity_metrics,
    generated_nats,
    log_loss_metric,
)
from collapse_jax.nn.decode import Rules
from collapse_jax.nn.scoring import block_log_loss
from collapse_jax.regimes import fresh, original, replace, replace_part
from collapse_jax.studies.opt.claims import evidence
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.opt.figures import figures
from collapse_jax.studies.opt.texts import BLOCK, Texts, load_model, load_texts
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.types import Key

__all__ = ["build", "evidence", "figures"]

_PROMPT_BATCH = 64
_NUM_SHOWN = 3
_LARGE = (
    20_000_000  # weights: from here on one seed fills a machine, and its pieces are worth stopping between
)


class Condition(NamedTuple):
    """What distinguishes an arm; its name is how the results call it."""

    setting: str
    epochs: int
    decoding: str

    @property
    def name(self) -> str:
        """For example "A5 beams": setting A, 5 epochs, 5 beams."""
        return f"{self.setting}{self.epochs} {self.decoding}"


def conditions(config: OPTStudyConfig) -> tuple[Condition, ...]:
    """Return the arms of a configuration, in order.

    Raises:
        ValueError: there is none.
    """
    found = tuple(
        Condition(setting, epochs, decoding)
        for decoding in config.decodings
        for epochs in config.epochs
        for setting in config.settings
    )
    if not found:
        raise ValueError(
            "`settings`, `epochs` and `decodings` must each name at least one; for example --epochs 5."
        )
    return (*found, Condition("fresh", config.epochs[0], config.decodings[0])) if config.control else found


def build(config: OPTStudyConfig) -> Plan:
    """Return the chains of the study, checked.

    Raises:
        ValueError: a field out of range, or text or a model that cannot be read.
    """
    check_fraction("kept", config.kept)
    check_count("num_samples", config.num_samples, minimum=0)
    check_count("num_evaluated", config.num_evaluated, minimum=0)
    texts = load_texts(config)
    metrics = _metrics(config, texts)
    arms = tuple(
        Arm(condition.name, _chain(config, condition, texts, metrics)) for condition in conditions(config)
    )
    large = load_model(config.model)[0].num_parameters > _LARGE
    return Plan("arm", arms, 1, config.lanes, {"protocol": PROTOCOLS}, on_host=large)


def _chain(config: OPTStudyConfig, condition: Condition, texts: Texts, metrics: tuple[Metric, ...]) -> Chain:
    network, pretrained, _ = load_model(config.model)
    tuning = FineTuning(
        condition.epochs, config.batch_size, config.learning_rate, config.end_rate, config.weight_decay,
        config.start, config.keep_best,
    )  # fmt: skip
    model = language(
        network, pretrained, texts.training, texts.validation, _decode(config, condition.decoding), tuning,
        prompts_from=config.prompts, prompt_batch=_PROMPT_BATCH,
    )  # fmt: skip
    real = as_samples(jnp.asarray(texts.training))
    return build_chain(model, _regime(config, condition.setting, texts), real, len(texts.training), metrics)


def _regime(config: OPTStudyConfig, setting: str, texts: Texts) -> Regime:
    pool = jnp.asarray(texts.pool)

    def blocks(key: Key, num: int) -> Samples:
        rows = jax.random.choice(key, len(pool), (num,), replace=num > len(pool))
        return Samples(pool[rows], jnp.ones(num))

    check_choice("settings", setting, ("A", "B", "fresh"))
    if setting == "fresh":
        return replace_part(fresh(blocks), fraction=1.0)
    kept = round(config.kept * len(texts.training))
    return replace_part(original(), count=kept) if setting == "B" and kept else replace()


def _decode(config: OPTStudyConfig, decoding: str) -> Decode:
    check_choice("decodings", decoding, ("beams", "sample", "beams-penalty-2", "beams-penalty-3"))
    penalty = {"beams-penalty-2": 2.0, "beams-penalty-3": 3.0}.get(decoding, 1.0)
    rules = Rules(BLOCK, BLOCK, penalty)
    if decoding == "sample":
        return by_sampling(rules, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)
    return by_beams(rules, config.num_beams)


def _metrics(config: OPTStudyConfig, texts: Texts) -> tuple[Metric, ...]:
    network, pretrained, _ = load_model(config.model)
    zero_shot = block_log_loss(network, pretrained, texts.validation.ravel(), BLOCK).per_token
    return (
        log_loss_metric("validation", network, texts.validation.ravel(), BLOCK),
        log_loss_metric("test", network, texts.test.ravel(), BLOCK),
        Metric("zero_shot", (), "nats a token", lambda key, snapshot: zero_shot),
        generated_nats(network),
        band_log_probs(network, texts.validation, texts.pool),
        *diversity_metrics(network.vocab_size, _NUM_SHOWN),
    )
