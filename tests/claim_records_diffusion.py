"""Records of diffusion chains, in NumPy: what each claim of their study is examined with."""

import json

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.studies.diffusion import claims
from collapse_jax.studies.diffusion.arms import parse_arm
from collapse_jax.studies.diffusion.config import DiffusionConfig

# 4 seeds, 8 generations
CONFIG = DiffusionConfig(arms=("ddim:25", "ddim:50", "edm:9", "edm:18", "ddim:50:accumulate"))
_G = CONFIG.generations + 1
_VARIANCES = 12.0 * 0.85 ** np.arange(30)
_NOISE = 0.005  # of a mean over ten components of 4,000 points, which is what sampling gives


def _records(rng, config, kept, null, frechet=None, recall=None):
    """Return records whose log variances are `kept[arm][generation, component]`, of the nulls `null`, and noise."""
    shape = (len(config.arms), config.seeds, _G)
    told = {"data": json.dumps({f"variance_{i + 1}": float(value) for i, value in enumerate(_VARIANCES)})}

    def with_noise(values):
        stacked = np.stack([np.broadcast_to(values[name], (_G, 30)) for name in config.arms])[:, None]
        return stacked + _NOISE * 10**0.5 * rng.normal(size=(*shape, 30))

    dims = ("arm", "seed", "generation")
    plain = {"frechet": 1.0 if frechet is None else frechet, "recall": 0.8 if recall is None else recall}
    variables = {name: (dims, mean * (1 + 0.01 * rng.normal(size=shape))) for name, mean in plain.items()}
    variables["log_kept"] = ((*dims, "component"), with_noise(kept))
    variables["null_log_kept"] = ((*dims, "component"), with_noise(null))
    return xr.Dataset(variables, {"arm": list(config.arms), "generation": np.arange(_G)}, told)


def _laws(config):
    """Return the law of each arm's null; under accumulate a third of it, as if it were a mean of generations."""
    found = {}
    for name in config.arms:
        arm = parse_arm(name)
        by_generation = np.stack([claims.law_of(_VARIANCES, arm, g + 1) for g in range(_G)])
        found[name] = by_generation if arm.is_plain else by_generation / 3
    return found


_LAWS = _laws(CONFIG)
_NOTHING = dict.fromkeys(CONFIG.arms, np.zeros((_G, 30)))
_AWAY = np.linspace(0, 1, _G)


def stays(rng, config):
    """All draws have the real variances, nets' and nulls', and stay as like as they were."""
    return _records(rng, config, _NOTHING, _NOTHING)


def still(rng, config):
    """Nets that keep everything beside solvers that do not."""
    return _records(rng, config, _NOTHING, _LAWS)


def equal(rng, config):
    """Each net as its null."""
    return _records(rng, config, _LAWS, _LAWS)


def half_as_fast(rng, config):
    """Nets that go half as fast as their nulls."""
    return _records(rng, config, {name: law / 2 for name, law in _LAWS.items()}, _LAWS)


def alike(rng, config):
    """Half as large steps lose as much."""
    kept = _LAWS | {"ddim:50": _LAWS["ddim:25"], "edm:18": _LAWS["edm:9"]}
    return _records(rng, config, kept, _LAWS)


def quarter_off(rng, config):
    """Large steps lose a quarter less than they should."""
    kept = _LAWS | {name: 0.75 * _LAWS[name] for name in ("ddim:25", "edm:9")}
    return _records(rng, config, kept, _LAWS)


def stated(rng, config):
    """Nets lose a tenth more than their nulls at once, fine features faster, and draws grow unlike and alike."""
    fine = np.where(np.arange(30) >= 20, -0.3, 0.0)[None] * _AWAY[:, None]
    kept = {name: law - 0.1 + fine for name, law in _LAWS.items()}
    return _records(rng, config, kept, _LAWS, frechet=1 + _AWAY, recall=0.8 - 0.2 * _AWAY)


_STAYS, _EQUAL = "draws have the real variances", "each net as its null, +-0.005"
CASES = {
    "solver-alone": Case("nets keep everything, solvers do not", _EQUAL, 0.9, still, equal, half_as_fast, True),
    "first-order": Case("half as large steps lose as much", _EQUAL, 0.8, alike, equal, quarter_off),
    "second-order": Case("half as large steps lose as much", _EQUAL, 0.8, alike, equal, quarter_off),
    "ddim-shrinks": Case(_STAYS, _EQUAL, 0.9, stays, equal),
    "edm-inflates": Case(_STAYS, _EQUAL, 0.9, stays, equal),
    "over-concentrates": Case("each net as its null", "a tenth of the variance more is lost", 0.9, equal, stated),
    "fine-first": Case("each net as its null", "components 21 to 30 lose 0.3 in 8 generations", 0.9, equal, stated),
    "accumulation-keeps": Case(_STAYS, "a third of the loss under replace", 0.9, stays, equal),
    "frechet-grows": Case(_STAYS, "the distance doubles, +-1 %", 0.9, stays, stated),
    "recall-falls": Case(_STAYS, "recall falls by 0.2, +-1 %", 0.9, stays, stated),
}
BENCHES = [Bench("diffusion", CONFIG, claims.evidence, CASES)]
