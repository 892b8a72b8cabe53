"""Laws of linear regression: relabelled designs, mixed labels, generators, two sources, ridge and least norm."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric, Regime, Snapshot
from collapse_jax.core.regimes import Source, accumulate, replace, weight_real
from collapse_jax.core.statistics import Sums
from collapse_jax.models.regression import NormalEquations, normal_equations, regression, risk_metric
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import regression as exact
from collapse_jax.types import Array, Key

_ROWS, _DIM, _FITS = 20, 3, 5
_FEW, _WIDE, _WIDE_NOISE = 2, 6, 0.5
_PENALTY, _WEIGHT, _SHIFT, _REAL = 0.5, 0.618, 2.0, 12
_KNOWN = np.ones(_DIM) / np.sqrt(_DIM)


def chains() -> dict[str, Chain]:
    """Return three coefficients from twenty rows, and six from two; all true coefficients have length 1."""
    return _chains() | _wide_chains()


def laws(records: Records) -> list[Check]:
    """Five fits."""
    risk = {name: record["test_error"][:, -1].astype(float) for name, record in records.items()}
    shrinkage = tuple(values.mean() for values in _shrinkage(100_000, _ROWS, _DIM, _PENALTY))
    predicted = _predictions(shrinkage)
    base = exact.base_risk(_ROWS, _DIM)
    sampled = 0.002  # of what 100,000 designs leave open in ridge's shrinkage
    return [
        *[
            check("regression", f"{name}: E |w_n - w|^2", risk[name], value,
                  allowance=sampled * value if name.startswith("ridge") else 0.0)
            for name, value in predicted.items()
        ],
        check("regression", "label mix at 0.618 rests at 0.618 B", risk["label mix, same"], _WEIGHT * base,
              allowance=0.003 * base),
        check("regression", "one OLS fit to 12 real and 8 shifted rows",
              records["replace, fresh"]["two_sources"][:, -1],
              exact.two_source_risk(_REAL, _ROWS - _REAL, _DIM, _SHIFT)),
        check("regression", "ridge after two generators", records["replace, fresh"]["ridge_error"][:, 1],
              exact.generators_risk(2, base, shrinkage, 1.0), allowance=sampled),
        *_shortcut(records["replace, fresh"]["coefficients"].astype(float)),
        *_large_limit(),
    ]  # fmt: skip


def _predictions(shrinkage: tuple) -> dict[str, Any]:
    return {
        "ridge, fresh": exact.ridge_risk(_FITS, shrinkage, 1.0),
        "replace, fresh": exact.replace_risk(_FITS, _ROWS, _DIM),
        "replace, same": exact.replace_risk(_FITS, _ROWS, _DIM),
        "accumulate, fresh": exact.accumulate_fresh_risk(_FITS, _ROWS, _DIM),
        "accumulate, same": exact.accumulate_same_risk(_FITS, _ROWS, _DIM),
        "label mix, same": exact.label_mix_risk(_FITS, _ROWS, _DIM, _WEIGHT),
        "min-norm, fresh": exact.min_norm_fresh_risk(_FITS, _FEW, _WIDE, 1.0, _WIDE_NOISE),
        "min-norm, same": exact.min_norm_same_risk(_FITS, _FEW, _WIDE, 1.0, _WIDE_NOISE),
    }


def _chains() -> dict[str, Chain]:
    risk = risk_metric(_KNOWN)

    def chain(regime: Regime, design: str = "fresh", metrics: tuple[Metric, ...] = (), **options: object) -> Chain:
        model = regression(_DIM, design=design, **options)  # type: ignore[arg-type]
        return build_chain(model, regime, lambda key: _rows(key, _ROWS, _KNOWN), _ROWS, (risk, *metrics))

    coefficients = Metric("coefficients", ("axis",), "1", lambda key, snapshot: snapshot.params.coefficients)
    relabelled = weight_real(_relabelled(), weight=_WEIGHT, count=_ROWS)
    return {
        "ridge, fresh": chain(replace(), estimator="ridge", penalty=_PENALTY),
        "replace, fresh": chain(replace(), metrics=(coefficients, _ridge_error(), _two_sources())),
        "replace, same": chain(replace(), "same"),
        "accumulate, fresh": chain(accumulate(_FITS - 1)),
        "accumulate, same": chain(accumulate(_FITS - 1), "same"),
        "label mix, same": chain(relabelled, "same"),
    }


def _wide_chains() -> dict[str, Chain]:
    known = np.ones(_WIDE) / np.sqrt(_WIDE)

    def chain(design: str) -> Chain:
        model = regression(_WIDE, noise=_WIDE_NOISE, estimator="min-norm", design=design)
        real = lambda key: _rows(key, _FEW, known, _WIDE_NOISE)  # noqa: E731
        return build_chain(model, replace(), real, _FEW, (risk_metric(known),))

    return {"min-norm, fresh": chain("fresh"), "min-norm, same": chain("same")}


def _rows(key: Key, num_rows: int, coefficients: np.ndarray, noise: float = 1.0) -> Sums:
    """Return the normal equations of rows drawn one by one, not from their law."""
    key_inputs, key_noise = jax.random.split(key)
    inputs = jax.random.normal(key_inputs, (num_rows, len(coefficients)))
    labels = inputs @ jnp.asarray(coefficients, float) + noise * jax.random.normal(key_noise, (num_rows,))
    return Sums(jnp.asarray(float(num_rows)), NormalEquations(inputs.T @ inputs, inputs.T @ labels))


def _relabelled() -> Source:
    """Return the source that labels the real design anew by the truth."""
    known = jnp.asarray(_KNOWN, float)

    def draw(key: Key, real: Sums, num: int | None, like: Sums) -> Sums:
        return normal_equations(key, real.weight, known, gram=real.values.gram)

    return Source(lambda real, synthetic: real, draw)


def _ridge_error() -> Metric:
    """Return the metric "ridge_error": the risk of a ridge fit to fresh rows that this generation labels."""
    ridge, risk = regression(_DIM, estimator="ridge", penalty=_PENALTY), risk_metric(_KNOWN)

    def error(key: Key, snapshot: Snapshot) -> Array:
        rows = normal_equations(key, _ROWS, snapshot.params.coefficients)
        params, _ = ridge.fit(key, snapshot.params, rows)
        return risk.function(key, snapshot._replace(params=params))

    return Metric("ridge_error", (), "squared label units", error)


def _two_sources() -> Metric:
    """Return the metric "two_sources": the risk of one fit to rows of the truth and of shifted coefficients."""
    model, risk, shifted = regression(_DIM), risk_metric(_KNOWN), _KNOWN + np.array([_SHIFT, 0, 0])

    def error(key: Key, snapshot: Snapshot) -> Array:
        key_real, key_shifted = jax.random.split(key)
        rows = normal_equations(key_real, _REAL, jnp.asarray(_KNOWN, float))
        rows = rows.merge(normal_equations(key_shifted, _ROWS - _REAL, jnp.asarray(shifted, float)))
        params, _ = model.fit(key, snapshot.params, rows)
        return risk.function(key, snapshot._replace(params=params))

    return Metric("two_sources", (), "squared label units", error)


def _shortcut(coefficients: np.ndarray) -> list[Check]:
    """OLS on fresh rows moves a coefficient by z / sqrt(chi-square of T - d + 1): its second and fourth moments.

    The steps of a run are independent: they are averaged.
    """
    steps, freedom = np.diff(coefficients, axis=1), _ROWS - _DIM + 1
    return [
        check("regression", "one step: E (w'-w)_i^2 = 1/(T-d-1)", (steps**2).mean(axis=(1, 2)), 1 / (freedom - 2)),
        check("regression", "one step: E (w'-w)_i^4", (steps**4).mean(axis=(1, 2)),
              3 / ((freedom - 2) * (freedom - 4))),
    ]  # fmt: skip


def _shrinkage(num: int, rows: int, dim: int, penalty: float) -> tuple[np.ndarray, ...]:
    """Return a, b and v of `ridge_risk` for each of `num` designs that NumPy draws."""
    inputs = np.random.default_rng(0).standard_normal((num, rows, dim))
    spectrum = np.linalg.eigvalsh(inputs.swapaxes(1, 2) @ inputs / rows)
    kept = spectrum / (spectrum + penalty)
    noise = (spectrum / (spectrum + penalty) ** 2).sum(axis=1) / rows
    return kept.mean(axis=1), (kept**2).mean(axis=1), noise


def _large_limit() -> list[Check]:
    """Designs of 80 rows and 40 coefficients have the limit's shrinkage to 0.1/d; two sources come to theirs."""
    rows, dim = 80, 40
    section, limit = "regression, d/T = 1/2, d = 40", exact.marchenko_pastur(_PENALTY, dim / rows)
    phi, shifted, many = 0.5, 0.4, 1_000_000
    two = exact.two_source_risk((1 - shifted) * many, shifted * many, phi * many, _SHIFT)
    expected = _SHIFT**2 * (shifted**2 + shifted * (1 - shifted) * phi / (1 - phi)) + phi / (1 - phi)
    return [
        *[
            check(section, f"{name} of the Marchenko-Pastur law", values, value, allowance=0.1 / dim)
            for name, values, value in zip("abv", _shrinkage(500, rows, dim, _PENALTY), limit)
        ],
        check_exact("regression, d/T = 1/2", "two sources in the proportional limit", two, expected, allowance=1e-4),
    ]
