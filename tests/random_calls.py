"""Random calls of whatever is public: functions found by introspection, arguments good and bad by their names.

To put a new function under test nothing is needed but a line in `GOOD` for each parameter that has a new name.
"""

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import collapse_jax
from collapse_jax import (
    Metric,
    Samples,
    Summary,
    accumulate,
    add_real,
    as_samples,
    build_chain,
    compose,
    curate,
    external,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    mixture,
    mixture_metrics,
    original,
    replace,
    replace_with_real,
    schedule,
    subsample,
    two_gaussians,
    vae,
    vae_metrics,
    web,
    weight_real,
    window,
)
from collapse_jax.core.statistics import Sums
from collapse_jax.metrics import model_free as plain_metrics
from collapse_jax.models import bigram, categorical, kde, regression
from collapse_jax.models import one_parameter as families
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.networks.denoisers import mlp_denoiser
from collapse_jax.networks.opt.decoding import Rules

PACKAGE = str(Path(collapse_jax.__file__).parent)
KEY = jax.random.key(0)
MODULES = (
    "advice.measure",
    "metrics.model_free", "datasets.synthetic", "models.bigram", "models.categorical", "models.one_parameter",
    "models.gaussian", "models.kde", "models.regression", "models.score", "theory.ancestry", "theory.curation",
    "theory.identity_by_descent", "theory.discrete", "theory.gaussian", "theory.limits", "theory.regression",
    "theory.samplers", "theory.pool", "theory.filtering", "theory.watermarks", "theory.poison",
)  # fmt: skip
# readers of files, what draws, records that check nothing, and inner functions that take arrays already checked
LEFT_OUT = {
    "load_mnist", "load_text", "load_addresses", "load_wikipedia", "read_records", "report_records", "language",
    "load", "plot", "load_table", "read_netcdf",
    "count_labels", "count_sums", "draw_counts", "draw_transitions", "normal_moments", "normal_equations",
}  # fmt: skip


def public() -> dict[str, Callable]:
    """Return every public function of the front door, and of the modules above, by its full name."""
    found = {name: getattr(collapse_jax, name) for name in collapse_jax.__all__}
    for module in MODULES:
        home = importlib.import_module(f"collapse_jax.{module}")
        found |= {f"{module}.{name}": f for name, f in vars(home).items() if f.__class__.__name__ == "function"
                  and f.__module__ == home.__name__ and f not in found.values()}  # fmt: skip
    truths = {"GaussianTruth": _CLOUD, "GaussianMixture": _PAIR, "CategoricalTruth": _CLASSES}
    for name, truth in truths.items():
        found |= {f"{name}.{m}": getattr(truth, m) for m in ("sample", "sampler", "moments_sampler", "counts_sampler")
                  if hasattr(truth, m)}  # fmt: skip
    found["CategoricalTruth"] = categorical.CategoricalTruth
    found["Chunked"] = collapse_jax.Chunked
    return {
        name: function
        for name, function in found.items()
        if (inspect.isroutine(function) or name in ("CategoricalTruth", "Chunked"))
        and not {part for part in name.split(".") if part.startswith("_") or part in LEFT_OUT}
    }


_CLOUD, _PAIR = gaussian_truth(1), two_gaussians()
_CLASSES = categorical.CategoricalTruth(np.array([0.2, 0.3, 0.5]))
_TABLE = np.full((3, 3), 1 / 3)


def _fit(seed, params, rows, weight):
    return {"mean": np.average(rows, axis=0, weights=weight)}


def _sample(seed, params, num):
    return params["mean"] + np.random.default_rng(seed).normal(size=(num, len(params["mean"])))


def _statistics_chain(bias=1.0):
    model, real = gaussian_statistics(1, bias=bias), _CLOUD.moments_sampler(10)
    return build_chain(model, replace(), real, 10, gaussian_metrics())


_HOST = build_chain(
    external(_fit, _sample), replace(), _CLOUD.sampler(10), 10, [plain_metrics.log_total_variance(10)]
)
_VAE = {"num_pixels": 4, "num_hidden": 3, "num_latents": 2, "num_steps": 2, "batch_size": 4}

MODELS = (
    gaussian(1), gaussian_statistics(1), gaussian(2), mixture(2), categorical.categorical(3),
    categorical.categorical_points(3), kde.kde(), kde.bootstrap(), bigram.bigram(3), families.exponential(),
    families.uniform(), families.poisson(), regression.regression(2), external(_fit, _sample), vae(**_VAE),
)  # fmt: skip
REALS = (
    _CLOUD.sampler(10), _CLOUD.moments_sampler(10), _PAIR.sampler(10), _CLASSES.counts_sampler(10),
    _CLASSES.sampler(10), bigram.known_table(_TABLE, 10),
    lambda key: Sums(jnp.asarray(10.0), jnp.asarray(10.0)),
    lambda key: families.Largest(jnp.asarray(10.0), jnp.asarray(1.0)),
    lambda key: regression.regression_truth(np.array([1.0, 2.0]))(key, 10),
    as_samples(np.linspace(0, 1, 10)[:, None]), as_samples(np.linspace(0, 1, 40).reshape(10, 4)),
    as_samples(np.arange(10) % 3), as_samples({"a": np.ones((10, 1))}), _CLOUD.moments(KEY, 10),
)  # fmt: skip
REGIMES = (
    replace(), accumulate(2), window(2), subsample(5), replace_with_real(original(), fraction=0.1),
    add_real(original()), add_real(fresh(_CLOUD.sample), count=3), weight_real(original(), weight=0.5),
    schedule([5, 10]), compose(accumulate(2), subsample(5)), curate(lambda rows: rows[:, 0], 2),
)  # fmt: skip
METRICS = (
    (), gaussian_metrics(), mixture_metrics(_PAIR), categorical.categorical_metrics(), kde.kde_metrics(),
    vae_metrics(5, 2, side=2), [bigram.row_heterozygosity()], [families.log_scale_metric()],
    [regression.risk_metric(np.array([1.0, 2.0]))], [plain_metrics.log_total_variance(10)], [plain_metrics.images(3)],
)  # fmt: skip

# parameter -> values of which each is right somewhere; laws of theory bring domains of their own
GOOD: dict[str, tuple] = {
    "model": MODELS, "regime": REGIMES, "regimes": REGIMES, "real": REALS, "metrics": METRICS,
    "num_samples": (5, 10, 10**9), "key": (KEY,), "seed": (0, 3), "num": (1, 5), "num_rows": (2, 10), "dim": (1, 2, 3),
    "num_components": (1, 2), "num_classes": (3,), "vocabulary": (3,), "num_kept": (2,), "num_batches": (1, 3),
    "max_generations": (1, 5), "num_candidates": (1, 2), "num_images": (5,), "num_shown": (2,), "side": (2,),
    "num_pixels": (4,), "num_hidden": (3,), "num_latents": (2,), "num_steps": (2,), "batch_size": (4,),
    "num_seeds": (1, 2), "num_generations": (1, 2), "lanes": (2,), "segment_length": (1, 2), "record_every": (1, 2),
    "first_seed": (0, 2), "stops": ((1, 2), (2,)), "keep": ((), (1,)), "memory": (2**30,), "length": (2, 3),
    "num_chunks": (1, 2), "max_steps": (3,), "num_beams": (2,), "top_k": (0,), "capacity": (None, 20),
    "count": (3,), "fraction": (0.1, None), "weight": (0.5, None), "sizes": ([5, 10], (3,)), "sharpness": (1.0,),
    "bias": (1.0, 0.9), "cut": (None, 2.0), "tol": (1e-3,), "ridge_size": (1e-6,), "min_count": (None, 2),
    "learning_rate": (1e-3,), "weight_decay": (0.0,), "separation": (4.0,), "width": (0.1,), "noise": (1.0, 0),
    "penalty": (0.0, 1.0), "tau": (1.0,), "mass": (0.5,), "share": (0.5,), "temperature": (1.0,), "top_p": (1.0,),
    "choice": ("best", "luce"), "estimator": ("unbiased", "mle", "ols", "ridge"), "draws": ("points", "statistics"),
    "start": ("warm", "kmeans", "fresh"), "ridge": ("relative", "absolute"), "synthetic": ("fixed", "fresh"),
    "solver": ("ddim", "exact"), "schedule": ("linear", "cosine"), "stop": (0.0, 0.1),
    "bandwidth": ("scott", "fixed"), "design": ("fresh", "same"), "source": (original(), fresh(_CLOUD.sample)),
    "net": (mlp_denoiser(2, width=4, depth=1),), "average": (0.0, 0.9), "predicts": ("noise", "velocity"), "size": (2,),
    "depth": (1, 2), "channels": ((4, 4, 4),), "num_fit_steps": (2,),
    "sampler": (_CLOUD.sample,), "score": (lambda rows: rows[:, 0],), "fit": (_fit,), "sample": (_sample,),
    "init": (None,), "transform": (None, categorical.top_k(2)), "build": (_statistics_chain,),
    "make": (_statistics_chain,), "axes": ({"bias": [0.9, 1.0]},), "values": ([0.9, 1.0],),
    "chains": ({"one": _statistics_chain(), "two": _statistics_chain()},), "chain": (_statistics_chain(), _HOST),
    "truth": (_PAIR,), "held_out": (None, np.ones((3, 2))), "scale_tril": (None, [[1.0]]),
    "x": (np.ones((3, 2)), [[0.0], [1.0]], {"a": np.ones(3)}), "rows": (np.ones((3, 1)),),
    "images": (np.ones((2, 3, 3)),),
    "coefficients": ([1.0, 2.0],), "probabilities": ([0.2, 0.3, 0.5],), "table": (_TABLE,),
    "lines_of_tokens": ([[1, 2], [3, 4]],), "advance": (lambda index, carry: carry,), "finish": (lambda carry: carry,),
    "rules": (Rules(max_new_tokens=4),), "summary": (None, Summary()), "devices": (None,), "on_segment": (None,),
    "on_chunk": (None,), "resume": (None,), "piece": (None,), "chain_of": (None,), "reduce": (None,),
    "donate": (False,), "in_place": (False,), "num_labs": (2,), "releases": (None, 5, [5, 0]), "entry": (0, [0, 1]),
    "until": (None, 2), "archive": (0, 3, [0, 3]), "human": (None, _CLOUD.sample, fresh(_CLOUD.sample)),
    "crawl": (False, True), "watermark": (None,), "inflow": (5, [5, 0]), "deletion": (0.5, 1.0),
    "order": ("uniform", "oldest"), "effective_share": (1.0, 0.5), "target": (0.9, 1.0),
    "model_samples": (np.linspace(0, 1, 40).reshape(20, 2), np.ones((20, 2))),
    "reference": (np.linspace(0, 1, 40).reshape(20, 2) ** 2,),
    "filter": (None, web.blind(0.9, 0.1), web.trained(lambda x: x)),
    "poison": (None, web.Inflow(fresh(_CLOUD.sample), [2, 0])),
}  # fmt: skip
BY_FUNCTION = {
    ("vmap_chain", "dim"): ("bias",), ("stack_chains", "dim"): ("regime",), ("Chunked", "start"): (lambda key: key,),
    ("repeat_rows", "weight"): ([1, 0, 2], [0.5, 1.0, 1.5]), ("repeat_rows", "seed"): (None, 3),
    ("as_samples", "weight"): (None, [1.0, 2.0]), ("bigram", "draws"): ("path", "pairs", "visits"),
    ("known_table", "draws"): ("path", "pairs", "visits"), ("labs", "draws"): (5, [5, 10]),
    ("advise", "regime"): ("keep", "fresh", "accumulate", "replace", "deduplicate"), ("advise", "real"): (2, 50, 10**9),
    ("advise", "synthetic"): (0, 1, 50, 10**9), ("advise", "generations"): (0, 3, 10**9),
    ("labs", "values"): (None, [0.9, 1.0]), ("labs", "model"): (gaussian(1), lambda bias: gaussian(1, bias=bias)),
}  # fmt: skip


class Odd:
    """What no function expects."""


BAD = (
    2**63, 2**64, -(2**63) - 1, 10**30, 10**400, float("1e400"), float("nan"), -np.inf, True, "3", "", "wram", b"x",
    3.0, 2.5, 1j, -1, 0, 7, None, np.int64(3), np.int8(3), np.uint64(2**63), np.float64(3.0),
    np.datetime64("2020-01-01"), np.array([]),
    np.array([1.0, 2.0]), np.array([[1.0, np.nan]]), np.array(["x"]), jnp.ones((2, 2)), jnp.int32(3),
    KEY, jax.random.split(KEY), jax.random.key_data(KEY), [], (), {}, [1, 2], [10**30], ["x"], [None], [[1], [2, 3]],
    (2**64, 3), {"a": [1]}, object(), Odd(), Odd, as_samples([[1.0], [2.0]]), replace(), gaussian(1), original(),
    Metric("m", (), "1", lambda key, snapshot: jnp.zeros(())), [Metric("m", (), "1", 3)], Summary(edges={"m": 3}),
)  # fmt: skip


class Call(NamedTuple):
    """A call, and whether one of its arguments was taken from `BAD`."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    has_bad: bool


def _of_domain(domain: Any) -> st.SearchStrategy:
    """Return values of a law's domain."""
    if domain.choices:
        return st.sampled_from(domain.choices)
    if domain.distribution:
        return st.just(np.array([0.2, 0.3, 0.5]))
    low, high = max(domain.low, -3.0), min(domain.high, 12.0)
    if domain.integer:
        return st.integers(int(low), int(high))
    return st.floats(low, high, exclude_min=not domain.low_closed, exclude_max=high == domain.high)


# rows, where a law wants them
_ROWS = {"rewards": [0.0, 0.5, 1.0], "others": [0.1, 0.2], "sizes": [3.0, 4.0], "shrinkage": (0.5, 0.4, 0.3)}


@st.composite
def calls(draw, functions: dict[str, Callable], weights: dict[str, int]) -> Call:
    """Draw a call: arguments good for their names, with a bad one here and there, or one left out."""
    name = draw(st.sampled_from([name for name in functions for _ in range(weights.get(name, 1))]))
    parameters = list(inspect.signature(functions[name]).parameters.values())
    domains = getattr(functions[name], "domain", {})
    bad = {p.name for p in parameters if draw(st.integers(0, 5)) == 0}
    args, kwargs = (), {}
    for p in parameters:
        if p.name in bad:
            value = draw(st.sampled_from(BAD))
        elif p.name in domains:
            value = _ROWS.get(p.name) if p.name in _ROWS else draw(_of_domain(domains[p.name]))
        else:
            value = draw(st.sampled_from(BY_FUNCTION.get((name, p.name)) or GOOD[p.name]))
        if p.kind == p.VAR_POSITIONAL:
            args = (value,)
        elif p.name in bad or p.default is p.empty or draw(st.booleans()):
            kwargs[p.name] = value
    if domains and draw(st.integers(0, 9)) == 0:  # Python itself says it of other functions
        kwargs.pop(draw(st.sampled_from(sorted(kwargs))) if kwargs else None, None)
    return Call(name, args, kwargs, bool(bad))


def outcome(call: Call, functions: dict[str, Callable]) -> str:
    """Return "valid", or how a call was refused; what is neither a result nor a sentence fails."""
    try:
        result = functions[call.name](*call.args, **call.kwargs)
        if call.name in ("run_compiled", "run_host"):
            result = list(result)
    except (ValueError, TypeError) as error:
        told, place = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
        assert place.startswith(PACKAGE), f"{call} is refused by {place}: {error!r}"
        assert "\n" not in told and told.endswith(".") and len(told) < 700, f"{call} meets no sentence: {error!r}"
        return "ValueError" if isinstance(error, ValueError) else "TypeError"
    if not call.has_bad:
        if call.name == "build_chain" and not result.on_host and call.kwargs["num_samples"] < 100:
            state, first = result.init(KEY)
            result = (first, result.step(KEY, state)[1])
        assert not holds_nan(result), f"{call} gives NaN: {result}"
    return "valid"


def holds_nan(result: Any) -> bool:
    """True where a result has numbers, of which one is NaN."""
    if hasattr(result, "data_vars"):
        result = {name: array.values for name, array in result.data_vars.items()}
    if isinstance(result, Samples | np.ndarray | jax.Array | np.generic | dict | tuple | list):
        leaves = [leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, np.ndarray | np.generic | jax.Array)]
        return any(np.isnan(leaf).any() for leaf in map(np.asarray, leaves) if leaf.dtype.kind == "f")
    return False
