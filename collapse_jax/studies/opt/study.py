"""The language-model study: build the chains, one for each arm.

Reference: Shumailov et al. (2024), the OPT-125m experiment; `--preset paper` is its protocol.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples, as_samples
from collapse_jax.core.protocol import Chain, Metric, Regime
from collapse_jax.core.regimes import accumulate, fresh, original, replace, replace_with_real
from collapse_jax.drivers.sharding import fully_sharded, model_mesh, replicated
from collapse_jax.metrics.text import (
    DIRECTIONS,
    PROTOCOLS,
    band_log_probs,
    divergences,
    diversity_metrics,
    forgotten_words,
    generated_nats,
    log_loss_metric,
)
from collapse_jax.models.language import Decode, FineTuning, beam_decoding, language, sampled_decoding
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.networks.opt.scoring import block_log_loss
from collapse_jax.studies.opt.answer import PUBLISHED, answer
from collapse_jax.studies.opt.arms import ArmOfTexts, parse_arm
from collapse_jax.studies.opt.claims import evidence
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.opt.figures import figures
from collapse_jax.studies.opt.sources import data_read
from collapse_jax.studies.opt.teacher import teach
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.texts import BLOCK, Texts, load_model, load_texts
from collapse_jax.types import Key
from collapse_jax.validation import check_choice, check_count, check_fraction

__all__ = ["PUBLISHED", "answer", "build", "evidence", "figures", "remarks"]

_PROMPT_BATCH = 64
_NUM_SHOWN = 2
_LARGE = 20_000_000  # weights
_TEACHER_STREAM = 0x7EAC4  # a stream of its own, away from the chains' seeds
_STEPS_PER_PIECE = 50  # of a large model: some minutes on a few cores, seconds on an accelerator


def build(config: OPTStudyConfig) -> Plan:
    """Return the chains of the study, checked.

    Raises:
        ValueError: a field out of range, or text or a model that cannot be read.
    """
    check_fraction("kept", config.kept)
    check_choice("mixing", config.mixing, ("example", "batch"))
    check_choice("truth", config.truth, ("text", "teacher"))
    check_choice("spread", config.spread, ("seeds", "rows", "weights"))
    check_count("num_samples", config.num_samples, minimum=0)
    check_count("num_evaluated", config.num_evaluated, minimum=0)
    chosen = {name: parse_arm(name) for name in config.arms}
    if not chosen:
        raise ValueError("`arms` must name at least one; for example --arms 'A5 beams'.")
    texts, metrics = _reading(config)
    arms = tuple(Arm(name, _chain(config, arm, texts, metrics)) for name, arm in chosen.items())
    coordinates = {"protocol": PROTOCOLS, "direction": DIRECTIONS}
    return Plan(
        "arm", arms, 1, config.lanes, coordinates, on_host=_is_large(config) or config.spread != "seeds",
        mesh=None if config.spread == "seeds" else _mesh(config, len(texts.training)),
        data=partial(data_read, config),
    )  # fmt: skip


def _is_large(config: OPTStudyConfig) -> bool:
    """Whether one seed fills a machine, so that it runs from the host, in pieces, on all devices."""
    return load_model(config.model)[0].num_parameters > _LARGE


def remarks(config: OPTStudyConfig) -> tuple[str, ...]:
    """Return what a reader of the report must know about a run."""
    found = [
        "All seeds share one pretrained model, the real blocks, which are the prompts, too, and the validation text: "
        f"intervals are conditional on them. Seeds differ by {_differences(config)}.",
        "Setting A still meets real data in three ways: real prompts, fine-tuning from generation 0's weights, and the "
        "choice of the best epoch by real validation text.",
    ]
    if config.model is None:
        found.insert(
            0,
            "The tiny OPT is a stand-in: 1.07 million weights for OPT-125m's 125 million, pretrained on 1.7 million "
            "tokens for its 180 billion, fine-tuned on "
            f"{config.num_samples or 'all'} blocks of text for about 36,000. Signs may carry over; the size and the "
            "speed of collapse do not.",
        )
    if config.truth == "teacher":
        found.insert(
            0, "Real is what a teacher writes: model 0 of a larger run. The distance to it is exact."
        )
    return tuple(found)


def _differences(config: OPTStudyConfig) -> str:
    """Return in what the seeds of a run differ, where its texts are written by beams, sampled, or both."""
    arms = [parse_arm(name) for name in config.arms]
    told = ["the order of minibatches", "dropout"]
    if any(arm.setting == "B" for arm in arms):
        told.append("which blocks setting B keeps")
    if any(arm.method == "sample" for arm in arms):
        told.append("what is drawn where text is sampled")
    ends = "" if all(arm.method == "sample" for arm in arms) else "; a beam search draws nothing"
    return f"{', '.join(told[:-1])}, and {told[-1]}{ends}"


def _reading(config: OPTStudyConfig) -> tuple[Texts, tuple[Metric, ...]]:
    """Return the real text, or a teacher's, and what is recorded."""
    network, pretrained, _ = load_model(config.model)
    texts = load_texts(
        config.num_samples, config.num_evaluated, config.model, config.text, config.text_column
    )
    if config.truth == "text":
        return texts, _metrics(config, texts)
    key = jax.random.fold_in(jax.random.key(config.seed), _TEACHER_STREAM)
    teacher = teach(key, network, pretrained, texts, _tuning(config, 5))
    divergence = divergences(network, teacher.weights, teacher.texts.validation)
    return teacher.texts, (*_metrics(config, teacher.texts), divergence)


def _tuning(config: OPTStudyConfig, num_epochs: int, real_batches: float = 0.0) -> FineTuning:
    return FineTuning(
        num_epochs, config.batch_size, config.learning_rate, config.end_rate, config.weight_decay, config.start,
        real_batches, config.keep_best, _STEPS_PER_PIECE if _is_large(config) or config.spread != "seeds" else 0,
    )  # fmt: skip


def _chain(config: OPTStudyConfig, arm: ArmOfTexts, texts: Texts, metrics: tuple[Metric, ...]) -> Chain:
    network, pretrained, _ = load_model(config.model)
    in_batches = arm.setting == "B" and config.mixing == "batch"
    model = language(
        network, pretrained, texts.training, texts.validation, _decode(config, arm),
        _tuning(config, arm.epochs, config.kept if in_batches else 0.0),
        prompts_from=config.prompts, prompt_batch=_PROMPT_BATCH,
        mesh=_mesh(config, len(texts.training)), place=fully_sharded if config.spread == "weights" else replicated,
    )  # fmt: skip
    real = as_samples(jnp.asarray(texts.training))
    regime = replace() if in_batches else _regime(config, arm.setting, texts)
    return build_chain(model, regime, real, len(texts.training), metrics)


def _mesh(config: OPTStudyConfig, num_prompts: int) -> Mesh | None:
    """Return all devices of all processes, or as many of this one's as divide the batches, if one seed fills them.

    Raises:
        ValueError: a minibatch or a batch of prompts does not divide among all devices.
    """
    if config.spread != "seeds":
        num, sizes = jax.device_count(), (config.batch_size, min(_PROMPT_BATCH, num_prompts))
        if any(size % num for size in sizes):
            raise ValueError(
                f"`spread` over {num} devices needs minibatches and batches of prompts that divide among them, got "
                f"{sizes[0]} and {sizes[1]}; change `batch_size` or `num_samples`."
            )
        return model_mesh()
    devices = jax.local_devices()
    if not _is_large(config) or devices[0].platform == "cpu":  # a machine's CPU devices share its cores
        return None
    num = math.gcd(len(devices), config.batch_size, min(_PROMPT_BATCH, num_prompts))
    return model_mesh(devices[:num])


def _regime(config: OPTStudyConfig, setting: str, texts: Texts) -> Regime:
    pool = jnp.asarray(texts.pool)

    def blocks(key: Key, num: int) -> Samples:
        rows = jax.random.choice(key, len(pool), (num,), replace=num > len(pool))
        return Samples(pool[rows], jnp.ones(num))

    kept = round(config.kept * len(texts.training))
    if setting == "fresh":
        return replace_with_real(fresh(blocks), fraction=1.0)
    if setting == "accumulate":
        return accumulate(config.generations)
    return replace_with_real(original(), count=kept) if setting == "B" and kept else replace()


def _decode(config: OPTStudyConfig, arm: ArmOfTexts) -> Decode:
    # exactly 64 tokens: published is that a text may not end before; a teacher's ends are words like others, so that
    # plain sampling draws from the very distribution that is measured
    rules = Rules(BLOCK, 0 if config.truth == "teacher" else BLOCK, arm.penalty, ends=config.truth == "text")
    if arm.method == "sample":
        return sampled_decoding(rules, temperature=arm.temperature, top_k=arm.top_k, top_p=arm.top_p)
    return beam_decoding(rules, config.num_beams)


def _metrics(config: OPTStudyConfig, texts: Texts) -> tuple[Metric, ...]:
    network, pretrained, _ = load_model(config.model)
    zero_shot = block_log_loss(network, pretrained, texts.validation.ravel(), BLOCK).per_token
    return (
        log_loss_metric("validation", network, texts.validation.ravel(), BLOCK),
        log_loss_metric("test", network, texts.test.ravel(), BLOCK),
        Metric("bytes_per_token", (), "bytes", lambda key, snapshot: jnp.asarray(texts.bytes_per_token)),
        Metric("zero_shot", (), "nats a token", lambda key, snapshot: zero_shot),
        generated_nats(network),
        band_log_probs(network, texts.validation, texts.pool),
        forgotten_words(texts.training),
        Metric(
            "prompts",
            ("sample", "place"),
            "token",
            lambda key, snapshot: snapshot.params.prompts[:_NUM_SHOWN],
        ),
        *diversity_metrics(network.vocab_size, _NUM_SHOWN),
    )
