"""Configuration and presets of the language-model study; no JAX here."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OPTStudyConfig:
    """An OPT fine-tuned on what an OPT wrote, generation after generation."""

    model: str | None = None
    """Folder or hub id of an OPT; default the tiny one that ships with the package."""
    text: str | None = None
    """A UTF-8 file, JSONL, a folder of .txt and .jsonl files, a folder with wikitext-2 (raw), or `wikitext-2`, fetched
    from the hub; default embedded Wikipedia articles."""
    text_column: str = "text"
    """The name that the text has in JSONL."""
    num_samples: int = 192
    """M, blocks of text in each generation, spread over the real text; 0 takes all there are."""
    generations: int = 5
    """Generations after generation 0."""
    seeds: int = 2
    """Independent repetitions; all share the pretrained weights."""
    arms: tuple[str, ...] = ("A5 beams", "B5 beams")
    """What is compared: SETTING EPOCHS METHOD. Settings: A, no original data after generation 0; B, a share kept in
    every generation; accumulate; fresh, the control. Methods: beams, sample, with -penalty-2, -temperature-0.7,
    -top-p-0.95, -top-k-50. Published: 'A5 beams' and 'B10 beams'."""
    kept: float = 0.1
    """Share of original data in setting B."""
    mixing: Literal["example", "batch"] = "example"
    """Setting B keeps single blocks, or makes whole minibatches of original blocks (published code)."""
    truth: Literal["text", "teacher"] = "text"
    """What is real: the text, or what model 0 of a larger run writes, to which the distance is then known exactly."""
    num_beams: int = 5
    """Width of the beam search."""
    prompts: Literal["original", "previous"] = "original"
    """Prompts are the real blocks in every generation (paper), or the blocks just trained on (published code)."""
    start: Literal["pretrained", "generation-0", "previous"] = "generation-0"
    """Where fine-tuning starts in later generations."""
    keep_best: bool = True
    """Keep the epoch of least loss on real validation text (published)."""
    batch_size: int = 32
    """Blocks of a minibatch (published: 128)."""
    learning_rate: float = 3e-4
    """AdamW's, of the first epoch (published: 2e-5); for the tiny model the best for model 0 on validation text among
    1, 2, 3, 6, 10, 20 and 40 e-4, at M = 128 and at 256, then frozen."""
    end_rate: float = 1e-6
    """Where the cosine of the learning rate ends."""
    weight_decay: float = 0.01
    """AdamW's."""
    spread: Literal["seeds", "rows", "weights"] = "seeds"
    """What the processes of a job, and their devices, share. Seeds: each process has seeds of its own. Rows: every
    device holds the weights of one chain and takes its share of each batch's rows. Weights: they, their gradients and
    the optimiser's state lie in parts on the devices, too."""
    num_evaluated: int = 128
    """Real blocks of validation and of test text that each generation is measured on; 0 takes all."""
    lanes: int = 2
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


_TWO_BY_TWO = ("A5 beams", "B5 beams", "A10 beams", "B10 beams")
_PENALTIES = ("A5 beams-penalty-2", "A5 beams-penalty-3")

PRESETS = {
    "smoke": OPTStudyConfig(
        num_samples=16, generations=1, arms=("A1 beams",), batch_size=8, num_beams=2, num_evaluated=16
    ),
    # sampled, as ten generations of five seeds then take minutes, and signs can be told; beams: `standard`
    "laptop": OPTStudyConfig(
        num_samples=96, generations=9, seeds=5, lanes=5, arms=("A5 sample", "B5 sample"), num_evaluated=64
    ),
    "standard": OPTStudyConfig(
        num_samples=128, generations=9, seeds=5, lanes=5,
        arms=(*_TWO_BY_TWO, "A5 sample", "B5 sample", "fresh5 beams", *_PENALTIES),
    ),
    "teacher": OPTStudyConfig(
        truth="teacher", num_samples=128, generations=9, seeds=5, lanes=5,
        arms=("A5 beams", "A5 sample", "B5 sample", "accumulate5 sample", "fresh5 sample"),
    ),
    "paper": OPTStudyConfig(
        model="facebook/opt-125m", text="wikitext-2", num_samples=0, generations=9, seeds=5,
        arms=(*_TWO_BY_TWO, *_PENALTIES), batch_size=128, learning_rate=2e-5, num_evaluated=0, lanes=1,
    ),
    "published-code": OPTStudyConfig(
        model="facebook/opt-125m", text="wikitext-2", num_samples=0, generations=9, seeds=5, prompts="previous",
        mixing="batch", arms=("A5 beams-penalty-3", "B10 beams-penalty-3"), batch_size=128, learning_rate=2e-5,
        num_evaluated=0, lanes=1,
    ),
}  # fmt: skip
