"""What a run of the language-model study says about published statements.

Where nothing happens, what a generation records has the law of generation 0, and its texts are a second draw of
model 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import EXACT, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import last_reached, upper_tail
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.opt.protocol import CODE, PAPER, departure_of, shared_by_seeds
from collapse_jax.studies.published import data_read

_MIN_SEEDS, _LAST, _VOCABULARY = 5, 9, 50_272
_POINTS = {  # two readings of "from 20 to 28 perplexity points"
    "by-20-to-28": ("loses 20 to 28 points of 34 (0.46 to 0.60 nats)", (0.46, 0.60)),
    "from-20-to-28": ("goes from perplexity 20 to 28 (0.34 nats, within 0.05)", (0.29, 0.39)),
}


class _Tail(NamedTuple):
    """A tail of model 0's own texts: their share in it, whether it is the lower one, and fewest texts in it."""

    share: float
    below: bool = False
    least: int = 1


def evidence(config: OPTStudyConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arms = {str(name): dataset.sel(arm=name) for name in dataset["arm"].values}
    first, read = next(iter(arms)), data_read(dataset)
    sampled = not any("beams" in name for name in arms)  # then the claims about beams are told of sampling
    if sampled:
        arms = {name.replace("sample", "beams"): arm for name, arm in arms.items()}
    departure = lambda claim: departure_of(config, claim, first, read, sampled=sampled)  # noqa: E731
    one = next(iter(arms.values()))
    gathered = [*_learning(one, departure), *_degradation(arms), *_tails(arms), *_penalties(arms)]
    shared = lambda claim: shared_by_seeds(config, claim.name, sampled=sampled)  # noqa: E731
    return [labelled(item, departure(item.claim), shared(item.claim)) for item in gathered]


def _learning(arm: xr.Dataset, departure: Callable[[Claim], str]) -> list[Evidence]:
    """Fine-tuning on real text, and the perplexities printed for it, which an analogue does not test."""
    gained = Claim(
        "fine-tuning-learns", "Fine-tuning on real text lowers the log-loss on held-out real text.",
        PAPER, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    last = _last(arm)
    found = [measured(gained, 0, last, lambda g: nats(arm, g) - arm["zero_shot"].sel(generation=g), EXACT)]
    # nothing learnt: every token is as probable, or fine-tuning leaves the model as it was
    for name, variable, perplexity, nothing in (
        ("zero-shot", "zero_shot", 115, _VOCABULARY), ("fine-tuned", "validation", 34, 115)
    ):  # fmt: skip
        claim = Claim(
            f"published-{name}", f"The {name} model's perplexity is {perplexity} (log ratio within 0.05).",
            PAPER, (-0.05, 0.05), "mean", _MIN_SEEDS, null=math.log(nothing / perplexity),
            resolution=1 / perplexity,  # printed as a whole number; seeds share the zero-shot model
        )  # fmt: skip

        def ratio(generation: int, variable: str = variable, perplexity: int = perplexity) -> np.ndarray:
            value = (
                nats(arm, generation)
                if variable == "validation"
                else arm[variable].sel(generation=generation)
            )
            return np.asarray(value) - math.log(perplexity)

        found.append(measured(claim, 0, last, ratio, EXACT, departure(claim)))
    return found


def _degradation(arms: dict[str, xr.Dataset]) -> list[Evidence]:
    """A degrades; B less."""
    found = []
    a = Claim(
        "a-degrades", f"Setting A (5 epochs, no original data): log-loss on real text grows by generation {_LAST}.",
        PAPER, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    found.append(_of(arms, ("A5 beams",), a, _LAST, lambda g, arm: growth(arm, g)))
    for name, (words, region) in _POINTS.items():
        claim = Claim(f"a-degrades-{name}", f"Setting A {words}.", PAPER, region, "mean", _MIN_SEEDS, 0.0)
        found.append(_of(arms, ("A5 beams",), claim, _LAST, lambda g, arm: growth(arm, g)))
    minor = Claim(
        "b-minor", "Setting B (10 epochs, 10 % original): log-loss grows by less than 0.21 nats (34 to 42).",
        PAPER, (-math.inf, 0.21), "mean", _MIN_SEEDS, null=0.21,
    )  # fmt: skip
    found.append(_of(arms, ("B10 beams",), minor, _LAST, lambda g, arm: growth(arm, g)))
    for epochs in (5, 10):
        less = Claim(
            f"b-less-than-a-{epochs}", f"At equal epochs ({epochs}) setting B degrades less than A (paired seeds).",
            PAPER, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
        )  # fmt: skip
        pair = (f"A{epochs} beams", f"B{epochs} beams")
        found.append(_of(arms, pair, less, _LAST, lambda g, a, b: growth(a, g) - growth(b, g)))
    return found


def _tails(arms: dict[str, xr.Dataset]) -> list[Evidence]:
    """Probable text piles up, and a longer tail grows: sequences under model 0 against model 0's own."""
    num = next(iter(arms.values())).sizes["text"]

    def claim(name: str, statement: str, tail: _Tail) -> Evidence:
        chance = upper_tail(np.zeros(num), tail.share, tail.least)[1]
        of_chance = f"than the {chance:.2%} of a second draw of model 0"
        stated = Claim(
            name, f"At generation {_LAST} more texts lie {statement} {of_chance}.",
            PAPER, (chance, math.inf), "mean", _MIN_SEEDS, null=chance, resolution=1 / num,
        )  # fmt: skip
        return _of(arms, ("A5 beams",), stated, _LAST, lambda g, arm: share_beyond(arm, g, tail))

    return [
        claim("low-perplexity-grows", "below model 0's own 5th percentile", _Tail(0.05, below=True)),
        # the second largest of few texts at least: the largest is what the next claim is about
        claim("right-tail-grows", "above model 0's own 99th percentile", _Tail(0.01, least=2)),
        claim("never-produced", f"above the largest of model 0's own {num}, as it would not produce them,", _Tail(0.0)),
    ]


def _penalties(arms: dict[str, xr.Dataset]) -> list[Evidence]:
    """Repetition penalties 2 (the paper) and 3 (the code)."""
    doubled = Claim(
        "penalty-doubles", f"Repetition penalty 2 doubles the perplexity of generation {_LAST} (log2 within 0.4 of 1).",
        PAPER, (0.6, 1.4), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    spike = Claim(
        "spike", "With penalty 3 the log-loss of generation 2 is above the mean of generations 6 to 9.",
        CODE, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    plateau = Claim(
        "partial-recovery",
        "With penalty 3 the log-loss recovers in part: after its spike the mean of generations 6 to 9 stays above "
        "generation 0's.",
        CODE, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    late = lambda arm: nats(arm, slice(6, _LAST)).mean(axis=1)  # noqa: E731
    spiked = lambda arm: nats(arm, 2) - late(arm)  # noqa: E731
    pair, harsh = ("A5 beams", "A5 beams-penalty-2"), ("A5 beams-penalty-3",)
    return [
        _of(arms, pair, doubled, _LAST, lambda g, a, b: (nats(b, g) - nats(a, g)) / math.log(2)),
        _of(arms, harsh, spike, _LAST, lambda g, arm: spiked(arm)),
        _of(arms, harsh, plateau, _LAST, lambda g, arm: late(arm) - nats(arm, 0), _no_spike(spiked)),
    ]


def _no_spike(spiked: Callable[[xr.Dataset], np.ndarray]) -> Callable[[xr.Dataset], str]:
    """Return what says why a recovery cannot be told: there was nothing to recover from."""

    def unmet(arm: xr.Dataset) -> str:
        height = float(np.nanmean(spiked(arm)))
        return "" if height > 0 else f"generation 2 is {-height:.2g} nats below generations 6 to 9: no recovery"

    return unmet


def nats(arm: xr.Dataset, generation: int | slice) -> np.ndarray:
    """Return the log-loss on real validation text by blocks of 64, nats a token: [seed], or [seed, generation]."""
    return arm["validation"].isel(protocol=0).sel(generation=generation).transpose("seed", ...).values


def growth(arm: xr.Dataset, generation: int) -> np.ndarray:
    """Return by how much the log-loss on real text has grown since generation 0, nats a token."""
    return nats(arm, generation) - nats(arm, 0)


def share_beyond(arm: xr.Dataset, generation: int, tail: _Tail) -> np.ndarray:
    """Return the share of a generation's texts in a tail of model 0's own, seed by seed; NaN where a text is NaN."""
    values = arm["generated_nats"].transpose("seed", "generation", "text")
    own, texts = (values.sel(generation=g).values * (-1 if tail.below else 1) for g in (0, generation))
    edge, _ = upper_tail(own, tail.share, tail.least)
    known = np.isfinite(own).all(axis=1) & np.isfinite(texts).all(axis=1)
    return np.where(known, (texts > edge[:, None]).mean(axis=1), math.nan)


def _last(arm: xr.Dataset) -> int:
    """Return the last generation that this arm reached; an interrupted run may hold more of another."""
    return last_reached(arm["validation"])


def _of(
    arms: dict[str, xr.Dataset], names: tuple[str, ...], claim: Claim, generation: int,
    measure: Callable[..., np.ndarray], presupposed: Callable[..., str] = lambda *arms: "",
) -> Evidence:  # fmt: skip
    """Return what `measure` finds in the named arms, or which of them the run lacks, or what it presupposes."""
    missing = [name for name in names if name not in arms]
    if missing:
        lacking = measured(claim, generation, 0, measure, EXACT, f"needs the arm {', '.join(missing)}")
        return lacking._replace(lacks={"arms": names, "generations": generation})
    chosen = [arms[name] for name in names]
    last = min(_last(arm) for arm in chosen)
    unmet = presupposed(*chosen) if last >= generation else ""
    return measured(claim, generation, last, lambda g: measure(g, *chosen), EXACT, unmet)
