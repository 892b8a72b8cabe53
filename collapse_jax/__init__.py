"""collapse_jax: a laboratory for model collapse."""

import importlib
from typing import TYPE_CHECKING

_HOMES = {
    "as_samples": "core.data",
    "Samples": "core.data",
    "Stream": "core.data",
    "Model": "core.chain",
    "Regime": "core.chain",
    "Metric": "core.chain",
    "Snapshot": "core.chain",
    "Chain": "core.chain",
    "Pieces": "core.chunks",
    "build_chain": "core.chain",
    "run_compiled": "drivers.compiled",
    "run_host": "drivers.host",
    "segment_stops": "drivers.compiled",
    "simulate": "drivers.simulate",
    "Interrupted": "drivers.simulate",
    "load": "runs.directory",
    "plot": "analysis.plots",
    "Summary": "drivers.summary",
    "sweep": "drivers.sweep",
    "read_records": "records.external",
    "report_records": "records.external",
    "Claim": "analysis.claims",
    "Evidence": "analysis.claims",
    "Arm": "studies.plan",
    "Illustration": "studies.plan",
    "Plan": "studies.plan",
    "side_by_side": "core.combine",
    "along": "core.combine",
    "replace": "core.regimes",
    "accumulate": "core.regimes",
    "window": "core.regimes",
    "subsample": "core.regimes",
    "replace_part": "core.regimes",
    "add": "core.regimes",
    "weight_real": "core.regimes",
    "compose": "core.regimes",
    "curate": "core.regimes",
    "schedule": "core.regimes",
    "original": "core.regimes",
    "fresh": "core.regimes",
    "gaussian": "models.gaussian",
    "gaussian_truth": "models.gaussian",
    "gaussian_metrics": "models.gaussian",
    "mixture": "models.mixture",
    "mixture_metrics": "models.mixture",
    "vae": "models.vae",
    "conv_vae": "models.vae",
    "vae_metrics": "models.vae",
    "language": "models.language",
    "FineTuning": "models.language",
    "by_beams": "models.language",
    "by_sampling": "models.language",
    "external": "models.external",
    "repeat_rows": "models.external",
    "two_gaussians": "datasets.synthetic",
    "single_cloud": "datasets.synthetic",
    "load_mnist": "datasets.mnist",
    "load_addresses": "datasets.text",
    "load_wikipedia": "datasets.text",
    "load_text": "datasets.text",
    "to_blocks": "datasets.text",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from collapse_jax.analysis.claims import Claim, Evidence
    from collapse_jax.analysis.plots import plot
    from collapse_jax.core.chain import Chain, Metric, Model, Regime, Snapshot, build_chain
    from collapse_jax.core.chunks import Pieces
    from collapse_jax.core.combine import along, side_by_side
    from collapse_jax.core.data import Samples, Stream, as_samples
    from collapse_jax.core.regimes import (
        accumulate,
        add,
        compose,
        curate,
        fresh,
        original,
        replace,
        replace_part,
        schedule,
        subsample,
        weight_real,
        window,
    )
    from collapse_jax.datasets.mnist import load_mnist
    from collapse_jax.datasets.synthetic import single_cloud, two_gaussians
    from collapse_jax.datasets.text import load_addresses, load_text, load_wikipedia, to_blocks
    from collapse_jax.drivers.compiled import run_compiled, segment_stops
    from collapse_jax.drivers.host import run_host
    from collapse_jax.drivers.simulate import Interrupted, simulate
    from collapse_jax.drivers.summary import Summary
    from collapse_jax.drivers.sweep import sweep
    from collapse_jax.models.external import external, repeat_rows
    from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
    from collapse_jax.models.language import FineTuning, by_beams, by_sampling, language
    from collapse_jax.models.mixture import mixture, mixture_metrics
    from collapse_jax.models.vae import conv_vae, vae, vae_metrics
    from collapse_jax.records.external import read_records, report_records
    from collapse_jax.runs.directory import load
    from collapse_jax.studies.plan import Arm, Illustration, Plan


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("collapse-jax")
    if name not in _HOMES:
        from collapse_jax.validation import nearest

        # not for what Python itself asks of a module
        remedy = "" if name.startswith("__") else f"; {nearest(name, _HOMES)}"
        raise AttributeError(f"module 'collapse_jax' has no attribute '{name}'{remedy}")
    value = getattr(importlib.import_module(f"collapse_jax.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
