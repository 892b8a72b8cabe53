"""The contract of the protocol: what every model and every regime must keep, whatever it computes.

A check is a function without arguments that raises AssertionError, its sentence first. `check_model(case)` does all
of a case; `model_checks(case)` returns them by name, for one test each.
"""

import re
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from collapse_jax.core.data import Samples
from collapse_jax.testing import promises
from collapse_jax.testing.cases import LINE, ModelCase, RegimeCase


def check_model(case: ModelCase) -> None:
    """Check all that a model must keep.

    Raises:
        AssertionError: it does not; the message begins with the model's name and what was promised.
    """
    for check in model_checks(case).values():
        check()


def check_regime(case: RegimeCase, model: ModelCase = LINE) -> None:
    """Check all that a regime must keep, with a model that is cheap to fit.

    Raises:
        AssertionError: it does not; the message begins with its name and what was promised.
    """
    for check in regime_checks(case, model).values():
        check()


def model_checks(case: ModelCase) -> dict[str, Callable[[], None]]:
    """Return the checks that apply to a model, by what they promise."""
    model = case.build()
    if model.on_host:
        return _named(case.name, {
            "the same key gives the same generations, all finite": partial(promises.repeats, case),
            "a run goes on from any generation to the same bits": partial(promises.goes_on, case),
            "what an empty slot holds is never read": partial(promises.empty_slots, case),
        })  # fmt: skip
    data = jax.eval_shape(lambda key: case.real(key, case.num_samples), jax.random.key(0))
    rows = isinstance(data, Samples)
    checks: dict[str, Callable[[], None]] = {
        "generations keep the shapes and types of what they carry": partial(promises.carries, case, promises.ALONE),
        "jit gives what eager gives, vmap what a loop gives, all finite": partial(
            promises.check_batch, case, promises.ALONE
        ),
    }
    if rows and jnp.issubdtype(data.x.dtype, jnp.floating):
        checks["what an empty slot holds is never read"] = partial(promises.empty_slots, case)
    if rows and case.exact_weights:
        checks["weight 0 is absence"] = partial(promises.zero_is_absence, case)
        checks["weight 2 is the row twice"] = partial(promises.two_is_twice, case)
    if not rows:
        checks["twice the weight is the data pooled with themselves"] = partial(promises.scaled_is_pooled, case)
    if rows and case.exact_weights and case.deterministic_fit:
        checks["the order of rows is irrelevant"] = partial(promises.any_order, case)
    if case.restart is not None:
        checks["a fit moves with its data"] = partial(promises.moves, case)
    if case.restart is not None and case.deterministic_fit and len(case.start[0]) > 1:  # type: ignore[index]
        checks["labels of components carry no meaning"] = partial(promises.any_labels, case)
    if rows and case.deterministic_fit and model.frame is not None:
        checks["units of the data leave the run alone, in its own coordinates"] = partial(promises.any_units, case)
    return _named(case.name, checks)


def regime_checks(case: RegimeCase, model: ModelCase = LINE) -> dict[str, Callable[[], None]]:
    """Return the checks that apply to a regime, by what they promise."""
    return _named(case.name, {
        "generations keep the shapes and types of what they carry": partial(promises.carries, model, case),
        "jit gives what eager gives, vmap what a loop gives, all finite": partial(promises.check_batch, model, case),
        "training data weigh something, and nothing negative": partial(promises.weighs, model, case),
    })  # fmt: skip


def _named(name: str, checks: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    def told(promise: str, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{name}: {promise}\n{error}") from error

    return {promise: partial(told, promise, check) for promise, check in checks.items()}


def refusal(model_case: ModelCase, regime_case: RegimeCase) -> tuple[type[Exception], str] | None:
    """Return the error, fault and remedy that a pair without sense must meet, or None."""
    if model_case.draws == "stream" and regime_case.needs_points:
        return TypeError, r"must .*, got Stream.*; \w+ "
    if model_case.draws == "statistics" and not regime_case.takes_statistics:
        return TypeError, r"(must|cannot|needs) .*; \w+ "
    if model_case.stores_training and promises.training_size(model_case, regime_case) != model_case.num_samples:
        return ValueError, r"state.* changes from .* between generations; keep its shape"
    return None


def check_pair(model_case: ModelCase, regime_case: RegimeCase) -> None:
    """Check that a model and a regime carry the same arrays through generations, or are refused in a sentence."""
    refused = refusal(model_case, regime_case)
    if refused is None:
        promises.carries(model_case, regime_case)
        return
    error, sentence = refused
    try:
        promises.chain_of(model_case, regime_case)
    except error as met:
        assert re.search(sentence, str(met)), f"the sentence lacks fault or remedy: {met}"
    else:
        raise AssertionError(f"{model_case.name} under {regime_case.name} must be refused by a {error.__name__}")
