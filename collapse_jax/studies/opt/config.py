"""Configuration and presets of the language-model study; no JAX here."""

from dataclasses import dataclass
from typing import Literal

Decoding = Literal["beams", "sample", "beams-penalty-2", "beams-penalty-3"]


@dataclass(frozen=True)
class OPTStudyConfig:
    """An OPT fine-tuned on what an OPT wrote, generation after generation."""

    model: str | None = None
    """Folder or hub id of an OPT; default the tiny one that ships with the package."""
    text: str | None = None
    """A UTF-8 file, a folder of .txt files, or a folder with wikitext-2 (raw); default embedded Wikipedia articles."""
    num_samples: int = 256
    """M, blocks of text in each generation, spread over the real text; 0 takes all there are."""
    generations: int = 5
    """Generations after generation 0."""
    seeds: int = 2
    """Independent repetitions; all share the pretrained weights."""
    settings: tuple[Literal["A", "B"], ...] = ("A", "B")
    """A: no original data after generation 0. B: a random share of it kept in every generation."""
    kept: float = 0.1
    """Share of original data in setting B."""
    epochs: tuple[int, ...] = (5,)
    """Passes of a fit (published: 5 in setting A, 10 in B); an arm for each."""
    decodings: tuple[Decoding, ...] = ("beams",)
    """How text is generated: 5 beams (published), plain sampling, or 5 beams with repetition penalty 2 or 3."""
    control: bool = False
    """One more arm that is trained on fresh real text in every generation."""
    num_beams: int = 5
    """Width of the beam search."""
    temperature: float = 1.0
    """Of sampling."""
    top_k: int = 0
    """Sample among the k most probable tokens; 0 means all."""
    top_p: float = 1.0
    """Sample from the nucleus of this probability; 1 means all."""
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
    1, 2, 3, 6, 10 and 20 e-4, then frozen."""
    end_rate: float = 1e-6
    """Where the cosine of the learning rate ends."""
    weight_decay: float = 0.01
    """AdamW's."""
    num_evaluated: int = 128
    """Real blocks of validation and of test text that each generation is measured on; 0 takes all."""
    lanes: int = 2
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {
    "smoke": OPTStudyConfig(
        num_samples=16, generations=1, epochs=(1,), batch_size=8, num_beams=2, num_evaluated=16, settings=("A",)
    ),
    "laptop": OPTStudyConfig(),
    "standard": OPTStudyConfig(
        num_samples=512, generations=9, seeds=5, epochs=(5, 10), decodings=("beams", "sample"), control=True, lanes=5
    ),
    "paper": OPTStudyConfig(
        model="facebook/opt-125m", num_samples=0, generations=9, seeds=5, epochs=(5, 10), batch_size=128,
        learning_rate=2e-5, num_evaluated=0, lanes=1,
    ),
}  # fmt: skip
