"""One contract, that of `collapse_jax.testing`, over every model and every regime of `registry`."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
import registry
from registry import COMPILED, LARGE, MODELS, REGIMES

from collapse_jax import Model, models
from collapse_jax.testing import check_pair, model_checks, regime_checks
from collapse_jax.testing.cases import NUM_ROWS
from collapse_jax.testing.contract import refusal
from collapse_jax.testing.promises import check_batch


def _ids(cases):
    return [case.name for case in cases]


def _each(checks, cases):
    """One test for each promise of each case."""
    found = [(case.name, promise, check) for case in cases for promise, check in checks(case).items()]
    return pytest.mark.parametrize("check", [pytest.param(c, id=f"{name}: {p}") for name, p, c in found])


@_each(model_checks, MODELS)
def test_models(check):
    check()


@pytest.mark.heavy
@_each(model_checks, LARGE)
def test_large_models(check):
    check()


@_each(regime_checks, REGIMES)
def test_regimes(check):
    check()


def _sensible(model):
    return [regime for regime in REGIMES if refusal(model, regime) is None]


ROWS = [model for model in COMPILED if model.num_samples == NUM_ROWS]  # what the regimes are built for
# every model with one regime of its own; the smallest model is with all of them above
PAIRS = [(model, _sensible(model)[(1 + 4 * shift) % len(_sensible(model))]) for shift, model in enumerate(ROWS[1:])]


@pytest.mark.parametrize(("model", "regime"), PAIRS, ids=[f"{model.name}-{regime.name}" for model, regime in PAIRS])
def test_a_model_under_a_regime_of_its_own(model, regime):
    check_batch(model, regime)


@pytest.mark.parametrize("model", ROWS, ids=_ids(ROWS))
def test_every_pair_is_carried_or_refused(model):
    for regime in REGIMES:
        check_pair(model, regime)


@pytest.mark.parametrize("model", ROWS, ids=_ids(ROWS))
def test_every_pair_in_double_precision(x64, model):
    for regime in REGIMES:
        check_pair(model, regime)


def test_all_models_of_the_package_are_under_contract():
    tree = ast.parse(Path(registry.__file__).read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {"language"}  # by `small_language`
    names = [info.name for info in pkgutil.iter_modules(models.__path__)]
    homes = [importlib.import_module(f"collapse_jax.models.{name}") for name in names]
    made = {
        name for home in homes for name, found in vars(home).items()
        if not name.startswith("_") and getattr(found, "__annotations__", {}).get("return") is Model
    }  # fmt: skip
    assert len(made) >= 16 and made <= used, made - used
