"""Records of the study of one's own that stands in experiments, in NumPy: what its claim is examined with."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

_PATH = Path(__file__).parent.parent / "experiments" / "my_study.py"


def _loaded():
    spec = importlib.util.spec_from_file_location("my_study", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its annotations
    spec.loader.exec_module(module)
    return module


study = _loaded()


def _records(rng, config, means):
    """Return variances with these means by generation, each seed's around them by a factor of its own."""
    own = rng.gamma(2.0, 0.5, (config.seeds, 1)) * rng.gamma(9.0, 1 / 9, (config.seeds, config.generations + 1))
    axes = {"generation": np.arange(config.generations + 1)}
    return xr.Dataset({"variance": (("seed", "generation"), means * own)}, axes)


def stays(rng, config):
    """The variance of the real data in every generation."""
    return _records(rng, config, np.ones(config.generations + 1))


def lawful(rng, config):
    """Variances whose mean is the law's."""
    return _records(rng, config, study.law(config.prior, config.num_samples, config.generations))


def edges(rng, config):
    """Mean variances as far above the law as is allowed."""
    law = study.law(config.prior, config.num_samples, config.generations)
    return _records(rng, config, law + 0.2)


BENCHES = [
    Bench(
        "my_study", study.Config(prior=prior), study.evidence,
        {"law": Case("the variance stays", f"the law, prior {prior}", 0.9, stays, lawful, edges)},
    )
    for prior in ("kept", "renewed")
]  # fmt: skip
