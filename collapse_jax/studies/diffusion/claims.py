"""What a run of the diffusion study says about published statements, and about the laws of solvers.

Where nothing happens, draws have the real variances in every generation. Differences are taken seed by seed: nets of
two arms share a seed's randomness, a net and its null nothing but the real digits.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import EXACT, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies.diffusion import protocol
from collapse_jax.studies.diffusion.arms import ArmOfSampler, parse_arm
from collapse_jax.studies.diffusion.config import DiffusionConfig
from collapse_jax.studies.published import data_read
from collapse_jax.theory.samplers import variance_after

LEADING, FINE = slice(0, 10), slice(20, 30)  # principal components
_SLOPE, _LATE = 4, 8  # generations that slopes are taken to, and at which the slow is measured
_MIN_SEEDS = 3
_SHARED = "real digits"
_FEW_STEPS = 20  # of EDM, up to which its law says that a variance grows by a twentieth or more


class _Run(NamedTuple):
    """What claims are made of.

    Attributes:
        arms: name -> records of one arm, of those that the run has.
        variances: of the real digits along their principal axes.
    """

    arms: Mapping[str, xr.Dataset]
    variances: np.ndarray


def evidence(config: DiffusionConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each claim."""
    read = data_read(dataset)
    names = [str(name) for name in dataset["arm"].values] if "log_kept" in dataset else []
    run = _Run({name: dataset.sel(arm=name) for name in names}, _variances(read))
    found = [
        *_null(run), *_orders(run), *_signs(run), _concentrated(run), _fine(run), _accumulated(run), *_quality(run),
    ]  # fmt: skip
    return [
        labelled(item, protocol.departure_of(config, item.claim.source, name, read), _SHARED)
        for name, item in found
    ]


def law_of(variances: np.ndarray, arm: ArmOfSampler, num_fits: int) -> np.ndarray:
    """Return the law of log variance kept along each component, by the sampler alone and infinite data."""
    return _law_of(tuple(variances.tolist()), arm, num_fits)


@cache  # of a run it is asked for many times
def _law_of(variances: tuple[float, ...], arm: ArmOfSampler, num_fits: int) -> np.ndarray:
    real = np.array(variances)
    after = variance_after(real, num_fits, arm.solver, arm.schedule, arm.num_steps, arm.stop)
    return np.log(np.asarray(after, float) / real)


def _variances(read: Mapping[str, Any] | None) -> np.ndarray:
    told = {} if read is None else read
    return np.array([told[name] for place in range(1, 31) if (name := f"variance_{place}") in told], float)


def _null(run: _Run) -> Iterator[tuple[str, Evidence]]:
    """A chain of nets, and what its sampler alone would do."""
    name = _first(run, lambda arm: arm.is_plain and arm.order > 0)
    claim = Claim(
        "solver-alone",
        "Along the ten leading principal components variance goes as the solver alone would have it: the slope of its "
        "log over generations, net less affine null, is within half of the law's (as a share of it).",
        protocol.LAW_OF_SOLVERS, (-0.5, 0.5), "mean", _MIN_SEEDS, null=-1.0,
    )  # fmt: skip

    def excess(generation: int, arm: xr.Dataset) -> np.ndarray:
        ends = [law_of(run.variances[LEADING], parse_arm(name), num).mean() for num in (1, generation + 1)]
        net, null = (_slope(arm, generation, LEADING, kind) for kind in ("", "null_"))
        return (net - null) * generation / (ends[1] - ends[0])

    yield _of(run, claim, name, _SLOPE, ("ddim:50",), excess, _unknown(run))


def _orders(run: _Run) -> Iterator[tuple[str, Evidence]]:
    """Half as large steps: half the loss, or a quarter."""
    for order, label, examples in ((1, "first", ("ddim:25", "ddim:50")), (2, "second", ("edm:9", "edm:18"))):
        coarse, fine = _halved(run, order)
        law = 2.0**order
        if coarse and not _unknown(run):
            law = float(
                np.divide(*(law_of(run.variances[LEADING], parse_arm(n), 1).mean() for n in (coarse, fine)))
            )
        claim = Claim(
            f"{label}-order",
            f"Steps half as large leave 1/{2**order} of what a solver of {label} order does to a variance: along the "
            "ten leading components the nets' log variances kept in the first generation have the law's ratio "
            f"{law:.2f}, to a quarter.",
            protocol.LAW_OF_SOLVERS, (0.75 * law, 1.25 * law), "mean", _MIN_SEEDS, null=1.0,
        )  # fmt: skip

        def quotient(generation: int, arm: xr.Dataset, fine: str = fine) -> np.ndarray:
            return _kept(arm, generation, LEADING) / _kept(run.arms[fine], generation, LEADING)

        yield _of(run, claim, coarse, 0, examples, quotient, _unknown(run))


def _unknown(run: _Run) -> str:
    return "" if len(run.variances) else "the variances of the real digits are not recorded"


def _signs(run: _Run) -> Iterator[tuple[str, Evidence]]:
    """Solvers of one kind shrink, those of another inflate."""
    shrinks = Claim(
        "ddim-shrinks",
        "DDIM shrinks: along the ten leading components the first generation's log variance is below the real one.",
        protocol.LAW_OF_SOLVERS, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    grows = Claim(
        "edm-inflates",
        f"Heun's method on EDM's {_FEW_STEPS} or fewer steps inflates: along the ten leading components the first "
        "generation's log variance is above the real one.",
        protocol.LAW_OF_SOLVERS, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    ddim = _first(run, lambda arm: arm.is_plain and arm.sampler == "ddim")
    edm = _first(run, lambda arm: arm.is_plain and arm.sampler == "edm" and arm.num_steps <= _FEW_STEPS)
    yield _of(run, shrinks, ddim, 0, ("ddim:50",), lambda g, arm: _kept(arm, g, LEADING))
    yield _of(run, grows, edm, 0, ("edm:18",), lambda g, arm: _kept(arm, g, LEADING))


def _concentrated(run: _Run) -> tuple[str, Evidence]:
    """The net's part in the first generation."""
    claim = Claim(
        "over-concentrates",
        "Nets drawn by a deterministic solver concentrate more than the solver alone does: in the first generation the "
        "ten leading components' log variance kept lies below the affine null's.",
        protocol.ERRORS, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    name = _first(run, lambda arm: arm.is_plain and arm.order > 0)
    return _of(
        run,
        claim,
        name,
        0,
        ("ddim:50",),
        lambda g, arm: _kept(arm, g, LEADING) - _kept(arm, g, LEADING, "null_"),
    )


def _fine(run: _Run) -> tuple[str, Evidence]:
    """What the net adds to the loss of fine features."""
    claim = Claim(
        "fine-first",
        "Fine features die first, also with the solver's share taken off: components 21 to 30 lose log variance faster "
        "than the ten leading ones, net less affine null.",
        protocol.REPOSITORY, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip

    def excess(generation: int, arm: xr.Dataset, kind: str = "") -> np.ndarray:
        return _slope(arm, generation, FINE, kind) - _slope(arm, generation, LEADING, kind)

    name = _first(run, lambda arm: arm.is_plain and arm.order > 0)
    return _of(
        run, claim, name, _SLOPE, ("ddim:50",), lambda g, arm: excess(g, arm) - excess(g, arm, "null_")
    )


def _accumulated(run: _Run) -> tuple[str, Evidence]:
    """The same sampler on the last data alone, and on all."""
    claim = Claim(
        "accumulation-keeps",
        "Training on all data so far keeps more: by generation 8 the ten leading components have more log variance "
        "than under replace.",
        protocol.ACCUMULATION, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    pairs = [name for name in run.arms if parse_arm(name).is_plain and f"{name}:accumulate" in run.arms]
    name = pairs[0] if pairs else ""

    def gain(generation: int, arm: xr.Dataset) -> np.ndarray:
        return _kept(run.arms[f"{name}:accumulate"], generation, LEADING) - _kept(arm, generation, LEADING)

    return _of(run, claim, name, _LATE, ("ddim:50", "ddim:50:accumulate"), gain)


def _quality(run: _Run) -> Iterator[tuple[str, Evidence]]:
    """What loops without fresh data do to the draws' likeness and variety."""
    grows = Claim(
        "frechet-grows",
        "Without fresh data the Frechet distance to held-out images grows from generation 0 to 8 (its log).",
        protocol.MAD, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    falls = Claim(
        "recall-falls", "Without fresh data recall falls from generation 0 to 8.",
        protocol.MAD, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0, resolution=1e-3,
    )  # fmt: skip
    name = _first(run, lambda arm: arm.is_plain)
    at = lambda arm, what, g: np.asarray(arm[what].sel(generation=g).values, float)  # noqa: E731
    yield _of(
        run,
        grows,
        name,
        _LATE,
        ("ddim:50",),
        lambda g, arm: np.log(at(arm, "frechet", g) / at(arm, "frechet", 0)),
    )
    yield _of(
        run, falls, name, _LATE, ("ddim:50",), lambda g, arm: at(arm, "recall", g) - at(arm, "recall", 0)
    )


def _of(
    run: _Run, claim: Claim, name: str, generation: int, examples: tuple[str, ...],
    measure: Callable[[int, xr.Dataset], np.ndarray], unmet: str = "",
) -> tuple[str, Evidence]:  # fmt: skip
    """Return the arm that a claim is about, and what it shows, or which arms would."""
    if not name:
        told = " and ".join(examples)
        item = Evidence(claim, np.array([]), EXACT, f"needs arms such as {told}", lacks={"arms": examples})
        return "", item
    arm = run.arms[name]
    return name, measured(
        claim,
        generation,
        last_reached(arm["log_kept"].isel(component=0)),
        lambda g: measure(g, arm),
        EXACT,
        unmet,
    )


def _first(run: _Run, wanted: Callable[[ArmOfSampler], bool]) -> str:
    """Return the name of the first arm of a kind, "" for none."""
    return next((name for name in run.arms if wanted(parse_arm(name))), "")


def _halved(run: _Run, order: int) -> tuple[str, str]:
    """Return the first two arms of a solver of that order, the second with twice the steps of the first."""
    arms = {name: parse_arm(name) for name in run.arms}
    plain = {name: arm for name, arm in arms.items() if arm.is_plain and arm.order == order}
    for name, arm in plain.items():
        twice = arm._replace(num_steps=2 * arm.num_steps)
        for other, same in plain.items():
            if same == twice:
                return name, other
    return "", ""


def _kept(arm: xr.Dataset, generation: int, components: slice, kind: str = "") -> np.ndarray:
    """Return the mean log variance kept along some components, one number a seed."""
    values = arm[f"{kind}log_kept"].sel(generation=generation).isel(component=components)
    return np.asarray(values.mean("component", skipna=False).values, float)


def _slope(arm: xr.Dataset, generation: int, components: slice, kind: str = "") -> np.ndarray:
    """Return the slope over generations 0 to `generation` of the mean log variance kept, by least squares."""
    places = np.arange(generation + 1.0) - generation / 2
    kept = np.stack([_kept(arm, g, components, kind) for g in range(generation + 1)])
    return places @ kept / (places @ places)
