"""Values of the laws' arguments, by the argument's name: a grid, values taken in turn, edges.

All but edges are exact in float32, so that no precision is blamed for its inputs. A value may be a function of the
point so far: counts go up to ten times the sample size, `kept` up to all of it.
"""

from collections.abc import Sequence
from typing import Any

SIZES = [2, 10, 1000, 10**6, 10**9]
LENGTHS = [0, 1, 2, 50]  # of what is unrolled or kept, where a length is static
MATRIX_SIZES = [2, 10, 100]  # where the whole binomial matrix is meant: `num_samples` static
TINY = 2.0**-30  # 1e-9, and 1 - TINY is a float64
UNIT = [0.0, 1.0, TINY, 1 - TINY]


def _times(factor: float) -> Any:
    return lambda point: int(factor * point["num_samples"])


def _as_many(*values: float) -> Any:
    return lambda point: list(values[: len(point["probabilities"])])


FITS = [0, 1, _times(1), _times(10)]
SCHEDULES = [[10.0, 20.0, 1000.0, 5.0], [2.0] * 4, [1e6, 1e9, 10.0, 1e3]]

# every combination of these is drawn
GRID: dict[str, Sequence] = {
    **dict.fromkeys(
        ["num_samples", "num_real", "synthetic", "fresh", "real", "num_rows", "num_shifted", "num_drawn"],
        SIZES,
    ),
    **dict.fromkeys(["num_fits", "num_steps"], FITS),
    "num_generations": LENGTHS,
    "ddof": [0, 1],
    "regime": ["replace", "accumulate"],
    "dim": [1, 5],
}

# one of these at each point of the grid, in turn
TURNS: dict[str, Sequence] = {
    **dict.fromkeys(["share", "probability", "fraction", "weight", "rate"], (0.25, 0.5, 0.8125, 0.03125)),
    "probabilities": [[0.5, 0.25, 0.125, 0.125], [0.25] * 4, [0.9375, 0.03125, 0.015625, 0.015625]],
    "rewards": [_as_many(1.0, 0.0, -1.0, 0.5), _as_many(0.0, 0.0, 0.0, 0.0), _as_many(3.0, -2.0, 0.25, 1.0)],
    "log_reward": [0.5, -1.0, 3.0],
    "others": [[0.0, 1.0, -1.0], [2.0, 2.0, 2.0]],
    "sizes": SCHEDULES,
    "num_seeds": [64, 10],
    "num_batches": [1, 3, 8],
    "num_classes": [2, 10, 50],
    "num_rounds": [1, 3, 10],
    "num_candidates": [2, 3],
    "num_generators": [1, 10],
    "num_kept": [1, 2, 3],
    "kept": [_times(0.5), 1, _times(1)],
    "copies": [1, _times(0.5)],
    "num": [1, 10, 60],
    "solver": ["ddim"], "schedule": ["linear"], "stop": [0.0],
    "order": [1, 2, 4],
    "real_share": [0.25, 0.03125, 1.0],
    "signal": [0.5, 0.9375, 1.0],
    "real_variance": [0.5, 1.0],
    "own_variance": [0.46875, 2.0],
    "ratio": [0.5, 1.0, 4.0],
    "penalty": [0.5, 0.0625, 4.0],
    "row": [1],
    "log_share": [-0.5, -2.0, -0.03125],
    "count": [1, 3, 20],
    "exponent": [1.5, 2.0, 1.125],
    "inverse_sum": [0.25, 0.03125, 1.0],
    "inverse_squares": [0.0009765625, 0.0],
    "bias": [0.5, 1.0, 0.96875],
    "cut": [1.0, 0.25, 0.001953125, 3.0],
    "width": [0.25, 0.03125, 1.0],
    "factor": [0.03125, 0.25],
    "mean": [0.5, -3.0],
    "variance": [0.5, 2.0],
    "target": [-0.25, 1.0],
    "tolerance": [0.5, 2.0],
    "advantage": [0.25, -0.03125, 0.0009765625],
    "odds": [0.5, 3.0],
    "kept_correct": [0.75, 0.5],
    "kept_wrong": [0.5, 0.25],
    "noise": [1.0, 0.5],
    "norm": [1.0, 2.0],
    "shift": [1.0, 0.25],
    "generator_risk": [0.5, 0.125],
    "shrinkage": [(0.75, 0.625, 0.5), (0.5, 0.375, 1.0), (0.9375, 0.890625, 0.25)],
    # webs: a number, or one for each lab
    "num_released": [[60.0, 40.0, 0.0], [1.0, 1.0, 1.0], [1000.0, 0.0, 3.0]],
    "entry": [[0.0, 0.0, 0.0], [0.0, 5.0, 30.0]],
    "inflow": [40, 1, 700],
    "released": [120, 1, 10**6],
    "deletion": [0.125, 0.5, 0.03125, 1.0],
    "cap": [float("inf"), 2000, 10**9],
    "num_labs": [2, 1, 10],
    "num_archive": [100, 1, 10**6],
    "identity": [0.25, 0.0009765625, 0.5],
    "migration": [0.25, 1.0, 0.03125],
    # detectors and watermarks
    "true_positive_rate": [0.75, 0.5, 0.9375],
    "false_positive_rate": [0.0625, 0.5, 0.25, 0.0],
    "contamination": [0.75, 0.5, 0.25],
    "least_variance": [0.9375, 0.5, 0.984375],
    "green_share": [0.25, 0.5, 0.0625],
    "mass": [0.75, 0.5, 0.9375],
    "boost": [2.0, 0.5, 4.0],
    "excess": [0.25, -0.125, 0.0009765625],
    "num_tokens": [200, 10, 10**6],
    "num_contexts": [1, 2, 3, 100, 127, 128, 129, 200, 1000, 10**6, 10**9],
    # poison
    "dose": [0.25, 0.5, 0.8125, 0.03125],
    "clean_share": [0.25, 0.0, 0.03125],
    "age": [0, lambda point: point["num_batches"] - 1, lambda point: point["num_batches"] // 2],
    "num_replayed": SIZES,
    "num_new": SIZES,
}

# each of these at two points of the grid, beside the finite or closed ends of the argument's declared domain
EDGES: dict[str, Sequence] = {
    **dict.fromkeys(
        ["share", "probability", "fraction", "weight", "rate", "kept_correct", "kept_wrong"], UNIT
    ),
    **dict.fromkeys(["identity", "migration", "deletion", "true_positive_rate", "false_positive_rate"], UNIT),
    **dict.fromkeys(["contamination", "least_variance", "green_share", "mass", "dose", "clean_share"], UNIT),
    **dict.fromkeys(["synthetic", "fresh", "num_drawn", "num_shifted", "copies"], (0, 1)),
    **dict.fromkeys(["inverse_squares", "width"], (0.0, TINY)),
    **dict.fromkeys(["mean", "target", "noise", "norm", "shift", "generator_risk"], (0.0,)),
    **dict.fromkeys(["variance", "tolerance"], (TINY, 1e9)),
    "probabilities": [[1.0], [1.0, 0.0, 0.0], [TINY, 1 - TINY], [0.5, 0.5, 0.0], [TINY, 0.5, 0.5 - TINY]],
    "rewards": [_as_many(1e3, 0.0, -1e3, 0.0)],
    "log_reward": [0.0, 1e3, -1e3],
    "others": [[], [1e3, 0.0], [-1e3, -1e3], [1e3, 1e3, 1e3]],
    "sizes": [[1.0], [5.0], [1.0, 2.0], [1e9, 1.0]],
    "num_generations": [1000],
    "num_fits": [1000],
    "num_seeds": [1, 10**6],
    "num_batches": [60],
    "num_classes": [1, 10**9],
    "num_rounds": [0, 100],
    "num_candidates": [1, 10],
    "num_generators": [0, 10**6],
    "num_kept": [0, 4],
    "kept": [0, 1],
    "num": [0, 200],
    "ratio": [0.0, TINY, 1e6, 1e9],
    "penalty": [TINY, 1e6, 1e9],
    "log_share": [0.0, -TINY, -1e3],
    "count": [0, 10**6],
    "exponent": [1 + TINY, 50.0],
    "inverse_sum": [0.0, TINY, 10.0],
    "bias": [0.0, 1.0, TINY, 1 - TINY, 1.25],
    "cut": [0.0, TINY, 1e-4, 9.0, 40.0, float("inf")],
    "factor": [0.0, TINY, 1.0],
    "advantage": [0.0, TINY, -TINY, 1.0, -1.0],
    "odds": [0.0, 1e9],
    "shrinkage": [(1.0, 1.0, 0.5), (0.0, 0.0, 0.0), (1 - TINY, 1 - 2 * TINY, 1.0)],
    "num_released": [0, 7, [0.0, 0.0, 0.0], [5.0]],
    "entry": [0, 1000],
    "inflow": [0, 1, 10**9],
    "cap": [1, 10**6],
    "num_labs": [1, 10**6],
    "num_archive": [0, 10**9],
    "boost": [0.0, TINY, 1e3],
    "excess": [0.0, TINY, 1.0, -1.0],
    "num_contexts": [4, 126],
    "age": [0, 2],
    "num_replayed": [1],
    "num_new": [1],
}

# where a law's meaning asks for other values than the argument's name does
_THIN = {"num_fits": [0, 1, 10, 1000], "num_rows": [1, 5, 9, 98], "dim": [5, 10, 100]}
# every solver with a schedule that it takes comes up as both are turned; what does not fit is refused
_SAMPLER = {
    "variance": [0.25, 2.0, 0.0078125, 1.5], "num_steps": [2, 10, 50], "stop": [0.0, 0.0625, 0.5],
    "solver": ["ddim", "ddpm", "ddpm-noisy", "ddpm-tilde", "euler", "heun", "exact"],
    "schedule": ["linear", "cosine", "flow", "edm"],
}  # fmt: skip
_PATHS = {"variance": _SAMPLER["variance"], "stop": _SAMPLER["stop"]}
GRID_OF: dict[str, dict[str, Sequence]] = {
    **{
        f"samplers.{law}": {name: _SAMPLER[name] for name in ("num_steps", "solver", "schedule")}
        for law in ("variance_drawn", "variance_kept", "mean_kept")
    },
    "samplers.sampler_half_life": {"num_steps": [2, 10], "solver": ["ddim", "euler"], "schedule": ["linear", "flow"]},
    "samplers.variance_after": {"num_steps": [2, 10], "num_generations": [0, 1, 5], "solver": ["ddim", "heun"],
                                "schedule": ["cosine", "edm"]},
    "discrete.branching_survival": {"num_generations": [0, 1, 2, 50, 1000]},
    "gaussian.log_variance_drift": {"row": [1, 2, 4]},
    "gaussian.log_variance_variance": {"row": [1, 2, 4]},
    "regression.min_norm_fresh_risk": _THIN,
    "regression.min_norm_same_risk": _THIN,
    "regression.label_mix_risk": {"num_fits": [0, 1, 10, 10**6]},
    "regression.replace_risk": {"num_fits": [0, 1, 10, 10**6]},
    "regression.ridge_risk": {"num_fits": [0, 1, 10, 1000, 10**6]},
    "gaussian.truncated_variance": {"cut": [1.0, 0.25, 0.03125, 0.001953125, 3.0, 6.0]},
    "pool.pool_moments": {"num_samples": [[100.0, 30.0, 50.0], [1.0, 2.0, 1e6]]},
    "pool.pool_limit": {"num_samples": [[100.0, 30.0, 50.0], [1.0, 2.0, 1e6]]},
    "pool.isolated_labs_diversity": {"num_fits": [0, 1, 10, 10**6]},
    "poison.dose_replace": {"num_fits": [0, 1, 10, 10**6]},
    "poison.dose_advantaged": {"num_fits": [0, 1, 10, 1000]},
}
TURNS_OF: dict[str, dict[str, Sequence]] = {
    **{f"samplers.{law}": _PATHS for law in ("variance_drawn", "variance_kept", "mean_kept", "variance_after")},
    "samplers.sampler_half_life": {"variance": [0.25, 0.0078125], "stop": [0.0]},
    "samplers.hermite_fixed_point": {"stop": [0.0625, 0.5, 2.0]},
    "samplers.kernel_score_variance": {"noise": [0.5, 0.0625]},
    "samplers.negative_guidance_variance": {"weight": [0.5, 1.0, 0.25]},
    "samplers.neon_weight": {"bias": [0.5, 1.0, 0.96875]},
    "curation.kept_ratio_bound": {"ratio": [0.25, 0.375, 0.0625]},
    "discrete.poisson_survival": {"rate": [0.5, 3.0]},
    "discrete.zipf": {"exponent": [1.5, 0.5]},
    **{f"pool.{law}": {"bias": [[1.0, 1.0, 1.0], [1.0, 0.5, 0.9375], [0.75, 0.75, 0.75]]}
       for law in ("pool_moments", "pool_limit")},
    "filtering.calibrated_effective_share": {"variance": [0.25, 2.0, 0.0078125, 16.0]},
    "filtering.threshold_rates": {"variance": [0.5, 2.0, 0.0625]},
    "filtering.likelihood_ratio_auc": {"variance": [0.5, 2.0, 0.0078125, 1.0]},
    **{f"poison.{law}": {"advantage": [2.0, 0.5, 1.25, 1.0]}
       for law in ("dose_advantaged", "poison_reproduction", "endemic_dose")},
}
EDGES_OF: dict[str, dict[str, Sequence]] = {
    "samplers.variance_after": {"num_generations": [12], "variance": [TINY, 0.5]},
    "identity_by_descent.ibd_window": {"num_generations": [100]},
    "curation.kept_ratio_bound": {"ratio": [0.0, TINY, 1 - TINY, 1.0]},
    "discrete.poisson_survival": {"rate": [0.0, TINY, 1e3]},
    "discrete.zipf": {"exponent": [0.0, 1.0, 100.0], "num_classes": [1, 1000]},
    "pool.pool_moments": {"num_generations": [300]},
    "filtering.calibrated_effective_share": {"real_share": [TINY, 1 - TINY]},
    "poison.dose_advantaged": {"num_fits": [10**6], "advantage": [TINY, 1 + TINY, 1e6]},
    **{f"poison.{law}": {"advantage": [TINY, 1 + TINY, 1e6]} for law in ("poison_reproduction", "endemic_dose")},
}
# points that no grid meets: schedules, windows longer than the run, long static chains
MORE: dict[str, list[dict]] = {
    "identity_by_descent.ibd_replace": [{"num_generations": 4, "num_real": 7, "num_samples": m} for m in SCHEDULES],
    "identity_by_descent.ibd_accumulate": [{"num_generations": 4, "num_real": 7, "num_samples": m} for m in SCHEDULES],
    "pool.pool_moments": [
        {"num_generations": 4, "num_real": 50, "num_samples": 20, "num_released": 10, "inflow": [0, 3, 100, 5],
         "deletion": 0.5},
        {"num_generations": 4, "num_real": 50, "num_samples": [20.0, 5.0], "num_released": 10, "inflow": 7,
         "deletion": [0.0, 1.0, 0.25, 0.5], "cap": 60},
    ],
    "ancestry.absorption_times": [{"num_samples": 300}],
    "ancestry.ancestors": [
        {"num_samples": m, "num_fits": n} for m, n in ((100, 1000), (300, 3000), (1000, 2000))
    ],
    "discrete.survival": [
        {"probability": p, "num_fits": n, "num_samples": m}
        for p, m, n in ((0.5, 100, 1000), (2.0**-7, 1000, 50), (0.5, 1000, 2000))
    ],
}
