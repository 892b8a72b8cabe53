"""The shapes of OPT: those published (Zhang et al. 2022), and a tiny one; no JAX here."""

import dataclasses
import math
from typing import Any, Literal

from collapse_jax.validation import check_count, check_fraction, nearest

POSITION_OFFSET = 2  # the published checkpoints' first two rows of positions belong to padding


@dataclasses.dataclass(frozen=True)
class OPTConfig:
    """The shape of an OPT, and how it computes.

    Attributes:
        vocab_size: tokens.
        hidden_size: width of the residual stream.
        num_layers: blocks of attention and feed-forward.
        num_heads: of attention; divides `hidden_size`.
        ffn_size: width of the feed-forward layer.
        max_positions: longest sequence.
        embed_size: width of token embeddings; another than `hidden_size` is projected in and out. None: the same.
        pre_norm: normalise before each sub-layer (all sizes but 350m), else after.
        final_norm: normalise after the last layer; only with `pre_norm`.
        bias: linear layers have one.
        affine: norms have scale and bias.
        dropout: rate on the outputs of sub-layers, in training.
        attention_dropout: rate on attention weights, in training.
        pad_token: fills what is no text.
        bos_token: begins every text.
        eos_token: ends a text; of several each does, of none, `()`, nothing.
        init_std: standard deviation of random weights.
        dtype: of the computation; weights, norms, softmax and log-softmax stay float32.
        precision: of matrix products, as `jax.lax.Precision` names it: on accelerators "default" is TF32 or
            bfloat16 passes, "highest" full float32.
        remat: recompute each layer's inside in the backward pass instead of storing it.
    """

    vocab_size: int = 50272
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_size: int = 3072
    max_positions: int = 2048
    embed_size: int | None = None
    pre_norm: bool = True
    final_norm: bool = True
    bias: bool = True
    affine: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    pad_token: int = 1
    bos_token: int = 2
    eos_token: int | tuple[int, ...] = 2
    init_std: float = 0.02
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    precision: Literal["default", "high", "highest"] = "default"
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "ffn_size", "max_positions"):
            check_count(name, getattr(self, name))
        if self.embed_size is not None:
            check_count("embed_size", self.embed_size)
        ends = [("eos_token", end) for end in self.ends]
        for name, token in [("pad_token", self.pad_token), ("bos_token", self.bos_token), *ends]:
            if check_count(name, token, 0) >= self.vocab_size:
                raise ValueError(
                    f"`{name}` must be below `vocab_size` ({self.vocab_size}), got {token}; take the model's own."
                )
        for name in ("dropout", "attention_dropout"):
            check_fraction(name, getattr(self, name))
        if not 0 <= self.init_std < math.inf:
            raise ValueError(f"`init_std` must be finite and not negative, got {self.init_std}; 0.02 is usual.")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of `num_heads`, got {self.hidden_size} and {self.num_heads}."
            )

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that each end a text."""
        return self.eos_token if isinstance(self.eos_token, tuple) else (self.eos_token,)

    @property
    def embedding_size(self) -> int:
        """Width of token embeddings."""
        return self.hidden_size if self.embed_size is None else self.embed_size

    @property
    def num_parameters(self) -> int:
        """How many weights there are; the head is the token embedding."""
        width, embed = self.hidden_size, self.embedding_size
        norm = 2 * width * self.affine
        linear = 4 * width**2 + 2 * width * self.ffn_size + self.bias * (5 * width + self.ffn_size)
        around = (self.vocab_size * embed) + (self.max_positions + POSITION_OFFSET) * width
        projections = 2 * width * embed * (embed != width)
        return around + projections + self.num_layers * (linear + 2 * norm) + norm * self.has_final_norm

    @property
    def has_final_norm(self) -> bool:
        """Whether the residual stream is normalised after the last layer."""
        return self.pre_norm and self.final_norm


def _published(layers: int, hidden: int, heads: int, **changes: Any) -> OPTConfig:
    return OPTConfig(num_layers=layers, hidden_size=hidden, num_heads=heads, ffn_size=4 * hidden, **changes)


OPT_CONFIGS = {
    "tiny": OPTConfig(
        vocab_size=2048, hidden_size=128, num_layers=4, num_heads=4, ffn_size=512, max_positions=256, dropout=0.0
    ),
    "125m": _published(12, 768, 12),
    "350m": _published(24, 1024, 16, embed_size=512, pre_norm=False),
    "1.3b": _published(24, 2048, 32),
    "2.7b": _published(32, 2560, 32),
    "6.7b": _published(32, 4096, 32),
    "13b": _published(40, 5120, 40),
    "30b": _published(48, 7168, 56),
    "66b": _published(64, 9216, 72),
}  # fmt: skip


def opt_config(size: str, **changes: Any) -> OPTConfig:
    """Return the configuration of a published size, or of "tiny", with fields changed.

    Raises:
        ValueError: no such size, or a field out of range.

    >>> opt_config("125m").num_parameters
    125239296
    """
    if size not in OPT_CONFIGS:
        raise ValueError(f"there is no OPT of size '{size}'; {nearest(size, OPT_CONFIGS)}")
    return dataclasses.replace(OPT_CONFIGS[size], **changes)
