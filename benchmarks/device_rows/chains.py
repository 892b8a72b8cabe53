"""Chains of small models, thousands to a million at once, by the package's own driver."""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from sides import Side

from collapse_jax import (
    Chain,
    Summary,
    bigram,
    build_chain,
    gaussian,
    gaussian_metrics,
    gaussian_statistics,
    gaussian_truth,
    kde,
    known_table,
    mixture,
    replace,
    sweep,
    two_gaussians,
)
from collapse_jax.drivers.compiled import run_lanes
from collapse_jax.drivers.lanes import Lanes, compile_lanes
from collapse_jax.drivers.summary import reducer
from device_rows.ceilings import at_ceiling, copy_ceiling
from device_rows.found import Found, Program, Setting, Target, gathered, measured, program_mib
from device_rows.language import torch_precision

SIZE, TOL = 1000, 1e-3
_GENERATIONS = {64: 200, 4096: 50, 65_536: 20}
_STORED = Path(__file__).parent.parent / "results.json"


def mixtures(seeds: int, setting: Setting) -> None:
    """Tell of mixture chains: in one block of lanes, and for many seeds in narrower ones too."""
    generations = 3 if setting.tiny else _GENERATIONS[seeds]
    num = 8 if setting.tiny else seeds
    chain = build_chain(mixture(2, tol=TOL), replace(), two_gaussians().sampler(SIZE), SIZE)
    # a block runs as many steps of EM as its slowest lane needs
    widths = [num] if seeds < 65_536 else [num, num // 4] if setting.tiny else [num, num // 4, num // 16]
    found = []
    for width in widths:
        ours, program = driven(Lanes(chain, num, width), generations)
        peers, note = _peers(setting, num, generations) if width == num else ([], "")
        with torch_precision("float32"):
            found.append(
                measured(
                    setting, f"GMM, K=2, D=2, M={SIZE:,}, warm EM to {TOL:g}, {num:,} seeds, {generations} generations",
                    "chain-generations", ours, program, peers=peers, note=note,
                    # least: the points are written once and read by each of about three steps of EM
                    cost=at_ceiling(copy_ceiling(setting), 4 * SIZE * 2 * 4),
                )
            )  # fmt: skip
        found[-1] = found[-1]._replace(part=f"blocks of {width:,}")
        setting.tell(_beside_two_cores(found[-1]) if seeds == 65_536 else found[-1])


def _peers(setting: Setting, num: int, generations: int) -> tuple[list[Side], str]:
    def make() -> Iterable[Side]:
        import torch
        from peers.torch_mixture import chains_of_mixtures

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return chains_of_mixtures(num, SIZE, generations, TOL, device, compiled=setting.compile_peers)

    return gathered(setting, make)


def _beside_two_cores(found: Found) -> Found:
    """Return a row with its target: 100 times what two CPU cores were measured to do, elsewhere."""
    stored = json.loads(_STORED.read_text(encoding="utf-8"))["gmm"]
    cost = next(row[2] for row in stored["rows"] if "64 seeds" in row[0])  # microseconds
    machine = stored["machine"].split(";")[0]
    ratio = found.rate * cost / 1e6
    said = f"{ratio:.3g}x our {1e6 / cost:,.0f} a second of 64 seeds on another machine ({machine}; results.json)"
    note = "; ".join(filter(None, (said, found.note)))
    return found._replace(target="100x two CPU cores", met=ratio >= 100, note=note)


def driven(lanes: Lanes, generations: int) -> tuple[Side, Program]:
    """Return lanes run from generation 0 on by the driver, as one segment."""
    key, begun = jax.random.key(0), time.perf_counter()
    lanes = lanes.checked()
    program = compile_lanes(lanes, key.dtype, generations // lanes.record_every)

    def run() -> None:
        for _ in run_lanes(lanes, key, (generations,)):
            pass

    taken = time.perf_counter() - begun
    return Side("ours", run, lanes.num * generations), Program(run, taken, program_mib(program.advance))


def summarised(draws: str, setting: Setting) -> None:
    """Tell of a million Gaussian chains as a summary: exact statistics, or points."""
    statistics = draws == "statistics"
    seeds, generations = (1000, 20) if setting.tiny else (10**6, 2000 if statistics else 200)
    summary = Summary(edges={"log_total_variance": np.linspace(-60.5, 9.5, 141)})
    target = Target("5e9 a second", rate=5e9) if statistics else None
    for parts in (1, 8):  # one block of all lanes, and eight
        chain = _gaussian(draws)
        lanes = Lanes(chain, seeds, seeds // parts, record_every=10, reduce=reducer(summary), donate=True)
        ours, program = driven(lanes, generations)
        work = f"Gaussian, {draws}, M=100, {seeds:,} seeds, {generations:,} generations, summary of every 10th"
        found = measured(setting, work, "chain-generations", ours, program, target=target)
        setting.tell(found._replace(part=f"blocks of {seeds // parts:,}"))


def _gaussian(draws: str) -> Chain:
    truth, (mean, _, log_variance) = gaussian_truth(1), gaussian_metrics()
    model, real = (gaussian_statistics(1), truth.moments_sampler(100)) if draws == "statistics" else (
        gaussian(1), truth.sampler(100))  # fmt: skip
    return build_chain(model, replace(), real, 100, (mean, log_variance))


def kernels(setting: Setting) -> None:
    """Tell of kernel density chains."""
    size, seeds, generations = (50, 8, 3) if setting.tiny else (1000, 4096, 100)
    chain = build_chain(kde(), replace(), gaussian_truth(1).sampler(size), size)
    _tell_driven(setting, f"KDE, M={size:,}, {seeds:,} seeds, {generations} generations", chain, seeds, generations)


def bigrams(setting: Setting) -> None:
    """Tell of bigram chains, drawn as independent pairs and as a path, word after word."""
    vocabulary, size, seeds, generations = (5, 20, 8, 3) if setting.tiny else (32, 1000, 4096, 20)
    table = np.random.default_rng(0).dirichlet(np.ones(vocabulary), vocabulary)
    for draws in ("pairs", "path"):
        real = known_table(table, size, draws)
        chain = build_chain(bigram(vocabulary, draws=draws), replace(), real, size)
        work = f"bigram, V={vocabulary}, M={size:,}, {draws}, {seeds:,} seeds, {generations} generations"
        _tell_driven(setting, work, chain, seeds, generations, draws)


def _tell_driven(setting: Setting, work: str, chain: Chain, seeds: int, generations: int, part: str = "") -> None:
    ours, program = driven(Lanes(chain, seeds, seeds), generations)
    setting.tell(measured(setting, work, "chain-generations", ours, program)._replace(part=part))


def swept(setting: Setting) -> None:
    """Tell of a grid in one call of `sweep`: wall time, compiling included."""
    cells, seeds, generations = (4, 4, 10) if setting.tiny else (100, 100, 100)
    axes = {"num_samples": np.unique(np.geomspace(10, 10**6, cells).astype(int)).tolist(),
            "bias": np.linspace(0.9, 1.0, cells).tolist()}  # fmt: skip
    num = len(axes["num_samples"]) * len(axes["bias"])

    def build(num_samples: int, bias: float) -> Chain:
        real = gaussian_truth(1).moments_sampler(num_samples)
        return build_chain(gaussian_statistics(1, bias=bias), replace(), real, num_samples, gaussian_metrics()[2:])

    for how, lanes in (("default blocks", None), ("one block", num * seeds)):
        begun = time.perf_counter()
        sweep(build, axes, jax.random.key(0), seeds, generations, record_every=10, lanes=lanes)
        taken = time.perf_counter() - begun
        note = f"{taken:.1f} s of wall time, compiling and the {num} calls of `build` included; one run"
        work = f"sweep, {num:,} cells of {seeds} exact Gaussian chains, {generations} generations, {how}"
        setting.tell(Found(work, "chain-generations", num * seeds * generations / taken, note=note, part=how))


ROWS: dict[str, Callable[[Setting], None]] = {
    **{f"gmm-{seeds}": partial(mixtures, seeds) for seeds in _GENERATIONS},
    "gaussian-statistics": partial(summarised, "statistics"),
    "gaussian-points": partial(summarised, "points"),
    "kde": kernels,
    "bigram": bigrams,
    "sweep": swept,
}
