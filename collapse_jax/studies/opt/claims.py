"""What a run of the language-model study says about published statements."""

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from collapse_jax.claims import ANALOGUE, EXACT, Claim, Evidence, measured
from collapse_jax.studies.opt.config import PRESETS, OPTStudyConfig

_PAPER, _CODE = "Shumailov et al. 2024", "replication of the published code"
_MIN_SEEDS, _LAST = 5, 9
_PROTOCOL = (
    "model", "num_samples", "num_beams", "prompts", "start", "mixing", "keep_best", "batch_size", "learning_rate",
    "end_rate", "weight_decay", "kept",
)  # fmt: skip
_POINTS = {  # two readings of "from 20 to 28 perplexity points"
    "by-20-to-28": ("loses 20 to 28 points of 34 (0.46 to 0.60 nats)", (0.46, 0.60)),
    "from-20-to-28": ("goes from perplexity 20 to 28 (0.34 nats, within 0.05)", (0.29, 0.39)),
}


def evidence(config: OPTStudyConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arms = {str(name): dataset.sel(arm=name) for name in dataset["arm"].values}
    label, label_code = (
        ANALOGUE if protocol_unmet(config, preset) else EXACT for preset in ("paper", "published-code")
    )
    return [
        *_learning(config, next(iter(arms.values())), label),
        *_degradation(arms, label),
        *_tails(arms, label),
        *_penalties(arms, label, label_code),
    ]


def protocol_unmet(config: OPTStudyConfig, preset: str = "paper") -> str:
    """Return in what a configuration departs from the protocol of a preset, "" for nothing."""
    paper = PRESETS[preset]
    differing = [
        f"{name} = {getattr(paper, name)}"
        for name in _PROTOCOL
        if getattr(config, name) != getattr(paper, name)
    ]
    if config.text is None or config.truth != "text":
        differing.append("wikitext-2")
    return f"exact protocol only: published are {', '.join(differing)}" if differing else ""


def _learning(config: OPTStudyConfig, arm: xr.Dataset, label: str) -> list[Evidence]:
    """Fine-tuning on real text, and the perplexities printed for it."""
    gained = Claim(
        "fine-tuning-learns", "Fine-tuning on real text lowers the log-loss on held-out real text.",
        _PAPER, (-math.inf, 0.0), "mean", _MIN_SEEDS,
    )  # fmt: skip
    last, unmet = arm.sizes["generation"] - 1, protocol_unmet(config)
    found = [measured(gained, 0, last, lambda g: nats(arm, g) - arm["zero_shot"].sel(generation=g), label)]
    for name, variable, perplexity in (("zero-shot", "zero_shot", 115), ("fine-tuned", "validation", 34)):
        claim = Claim(
            f"published-{name}", f"The {name} model's perplexity is {perplexity} (log ratio within 0.05).",
            _PAPER, (-0.05, 0.05), "mean", _MIN_SEEDS,
        )  # fmt: skip

        def ratio(generation: int, variable: str = variable, perplexity: int = perplexity) -> np.ndarray:
            value = (
                nats(arm, generation)
                if variable == "validation"
                else arm[variable].sel(generation=generation)
            )
            return np.asarray(value) - math.log(perplexity)

        found.append(measured(claim, 0, last, ratio, label, unmet))
    return found


def _degradation(arms: dict[str, xr.Dataset], label: str) -> list[Evidence]:
    """A degrades; B less."""
    found = []
    a = Claim(
        "a-degrades", f"Setting A (5 epochs, no original data): log-loss on real text grows by generation {_LAST}.",
        _PAPER, (0.0, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    found.append(_of(arms, ("A5 beams",), a, _LAST, lambda g, arm: growth(arm, g), label))
    for name, (words, region) in _POINTS.items():
        claim = Claim(f"a-degrades-{name}", f"Setting A {words}.", _PAPER, region, "mean", _MIN_SEEDS)
        found.append(_of(arms, ("A5 beams",), claim, _LAST, lambda g, arm: growth(arm, g), label))
    minor = Claim(
        "b-minor", "Setting B (10 epochs, 10 % original): log-loss grows by less than 0.21 nats (34 to 42).",
        _PAPER, (-math.inf, 0.21), "mean", _MIN_SEEDS,
    )  # fmt: skip
    found.append(_of(arms, ("B10 beams",), minor, _LAST, lambda g, arm: growth(arm, g), label))
    for epochs in (5, 10):
        less = Claim(
            f"b-less-than-a-{epochs}", f"At equal epochs ({epochs}) setting B degrades less than A (paired seeds).",
            _PAPER, (0.0, math.inf), "mean", _MIN_SEEDS,
        )  # fmt: skip
        pair = (f"A{epochs} beams", f"B{epochs} beams")
        found.append(_of(arms, pair, less, _LAST, lambda g, a, b: growth(a, g) - growth(b, g), label))
    return found


def _tails(arms: dict[str, xr.Dataset], label: str) -> list[Evidence]:
    """Probable text piles up, and a longer tail grows: sequences under model 0 against model 0's own."""
    piled = Claim(
        "low-perplexity-grows", f"At generation {_LAST} more than 5 % of texts lie below model 0's own 5th percentile.",
        _PAPER, (0.05, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    tail = Claim(
        "right-tail-grows", f"At generation {_LAST} more than 1 % of texts lie above model 0's own 99th percentile.",
        _PAPER, (0.01, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    num = next(iter(arms.values())).sizes["text"]
    never = Claim(
        "never-produced",
        f"At generation {_LAST} texts appear that model 0 would not produce (above the largest of its own {num}).",
        _PAPER, (1 / (num + 1), math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    measures = (
        (piled, lambda g, arm: share_below(arm, g, 0.05)),
        (tail, lambda g, arm: 1 - share_below(arm, g, 0.99)),
        (never, lambda g, arm: 1 - share_below(arm, g, 1.0)),
    )
    return [_of(arms, ("A5 beams",), claim, _LAST, measure, label) for claim, measure in measures]


def _penalties(arms: dict[str, xr.Dataset], label: str, label_code: str) -> list[Evidence]:
    """Repetition penalties 2 (the paper) and 3 (the code)."""
    doubled = Claim(
        "penalty-doubles", f"Repetition penalty 2 doubles the perplexity of generation {_LAST} (log2 within 0.4 of 1).",
        _PAPER, (0.6, 1.4), "mean", _MIN_SEEDS,
    )  # fmt: skip
    spike = Claim(
        "spike", "With penalty 3 the log-loss of generation 2 is above the mean of generations 6 to 9.",
        _CODE, (0.0, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    plateau = Claim(
        "partial-recovery", "With penalty 3 the mean log-loss of generations 6 to 9 stays above generation 0's.",
        _CODE, (0.0, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    late = lambda arm: sum(nats(arm, g) for g in range(6, _LAST + 1)) / (_LAST - 5)  # noqa: E731
    pair, harsh = ("A5 beams", "A5 beams-penalty-2"), ("A5 beams-penalty-3",)
    return [
        _of(arms, pair, doubled, _LAST, lambda g, a, b: (nats(b, g) - nats(a, g)) / math.log(2), label),
        _of(arms, harsh, spike, _LAST, lambda g, arm: nats(arm, 2) - late(arm), label_code),
        _of(arms, harsh, plateau, _LAST, lambda g, arm: late(arm) - nats(arm, 0), label_code),
    ]


def nats(arm: xr.Dataset, generation: int) -> np.ndarray:
    """Return the log-loss on real validation text by blocks of 64, nats a token, one for each seed."""
    return arm["validation"].sel(generation=generation).isel(protocol=0).values


def growth(arm: xr.Dataset, generation: int) -> np.ndarray:
    """Return by how much the log-loss on real text has grown since generation 0, nats a token."""
    return nats(arm, generation) - nats(arm, 0)


def share_below(arm: xr.Dataset, generation: int, quantile: float) -> np.ndarray:
    """Return the share of a generation's texts at or below a quantile of model 0's own, seed by seed."""
    values = arm["generated_nats"].transpose("seed", "generation", "text")
    edge = np.quantile(values.sel(generation=0).values, quantile, axis=1)
    return (values.sel(generation=generation).values <= edge[:, None]).mean(axis=1)


def _of(
    arms: dict[str, xr.Dataset], names: tuple[str, ...], claim: Claim, generation: int,
    measure: Callable[..., np.ndarray], label: str,
) -> Evidence:  # fmt: skip
    """Return what `measure` finds in the named arms, or which of them the run lacks."""
    missing = [name for name in names if name not in arms]
    if missing:
        return measured(claim, generation, 0, measure, label, f"needs the arm {', '.join(missing)}")
    chosen = [arms[name] for name in names]
    last = chosen[0].sizes["generation"] - 1
    return measured(claim, generation, last, lambda g: measure(g, *chosen), label)
