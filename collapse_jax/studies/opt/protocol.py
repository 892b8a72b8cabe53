"""What the language-model study's publications fix, and what all seeds of a run share."""

from collections.abc import Mapping
from typing import Any

from collapse_jax.analysis.claims import Claim
from collapse_jax.datasets.text import WIKITEXT2_SHA256
from collapse_jax.studies.opt.arms import parse_arm
from collapse_jax.studies.opt.config import PRESETS, OPTStudyConfig
from collapse_jax.studies.opt.sources import from_the_hub
from collapse_jax.studies.published import KnownData, Publication, departure

PAPER, CODE = "Shumailov et al. 2024", "replication of the published code"
_HUB = from_the_hub("facebook/opt-125m")
_DATA = (
    KnownData("wikitext-2 (raw)", {name: (value,) for name, value in WIKITEXT2_SHA256.items()}),
    KnownData("OPT-125m's shape", {"network": ("125m",)}),
    # pytorch_model.bin: others, and what was converted from it, are known by coming from the hub alone
    KnownData(
        "OPT-125m's weights",
        {"weights": ("2d74da6615135c58cf3cf9ad4cb11e7c613ff9e55fe658a47ab83b6c8d1174a9", _HUB)},
    ),
    KnownData(
        "OPT-125m's tokenizer",  # vocab.json and merges.txt
        {"tokens": ("0a39732b2d8be8e493cab3da68b68cc3e28221de 226b0752cac7789c48f0cb3ec53eda48b7be36cc", _HUB)},
    ),
)
_FREE = {
    "model": "compared by what was read of it",
    "text": "compared by what was read of it",
    "text_column": "of JSONL, which wikitext-2 is not",
    "generations": "each claim names the generation at which it is measured",
    "seeds": "repetitions",
    "arms": "each claim names the arms that it is about",
    "spread": "how the work is cut",
    "lanes": "how the work is cut",
    "seed": "chance",
}
_FIXED = (
    "num_samples", "kept", "mixing", "truth", "num_beams", "prompts", "start", "keep_best", "batch_size",
    "learning_rate", "end_rate", "weight_decay", "num_evaluated",
)  # fmt: skip
PUBLISHED = {
    PAPER: Publication(PRESETS["paper"], _FIXED, _FREE, _DATA),
    CODE: Publication(PRESETS["published-code"], _FIXED, _FREE, _DATA),
}


_BEFORE_WRITING = ("fine-tuning-learns", "published-fine-tuned")  # of model 0 of a run's first arm
_ZERO_SHOT = "published-zero-shot"  # of no arm
_EPOCHS = 5  # of the published fine-tuning, and of setting A


def departure_of(
    config: OPTStudyConfig, claim: Claim, first_arm: str, read: Mapping[str, Any] | None, *, sampled: bool = False
) -> str:
    """Return in what a run departs from what a claim's source did, "" for nothing.

    Args:
        config: of the run.
        claim: what is judged.
        first_arm: of the run.
        read: what the run says of the data that it read.
        sampled: its texts are sampled, in no arm written by beams.

    Raises:
        KeyError: a source that nobody has said the protocol of.
    """
    epochs, others = parse_arm(first_arm).epochs, []
    if claim.name.startswith("b-less-than-a"):
        others = ["setting A with 5 epochs beside B with 10, here equal epochs"]
    elif claim.name in _BEFORE_WRITING and epochs != _EPOCHS:
        others = [f"{_EPOCHS} epochs, here {epochs}"]
    if sampled and claim.name not in (*_BEFORE_WRITING, _ZERO_SHOT):
        others.append("texts by 5 beams, here sampled")
    return departure(config, PUBLISHED[claim.source], read, others)


def shared_by_seeds(config: OPTStudyConfig, claim: str, *, sampled: bool = False) -> str:
    """Return what all seeds have in common that a claim depends on.

    Seeds differ by the order of minibatches and by dropout, in setting B by which blocks are kept, and where text is
    sampled by what is drawn. A beam search draws nothing.

    Args:
        config: of the run.
        claim: its name.
        sampled: its texts are sampled, in no arm written by beams.
    """
    if claim == _ZERO_SHOT:
        return "all: no seed enters a loss before training"
    given = "base model, real blocks, validation text"
    if config.truth == "teacher":
        given = f"teacher, {given}"
    if claim in _BEFORE_WRITING:
        return given
    prompts = ", prompts" if config.prompts == "original" else ""
    return f"{given}{prompts}" if sampled else f"{given}{prompts}; beams are deterministic"
