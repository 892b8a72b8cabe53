"""Every public function of `collapse_jax.theory` against its mathematics, in the precision that users run.

The laws are found by introspection; one without declared domains or without an oracle (`oracles`, mpmath with 80
digits) fails by name. Each is called with numbers, over a grid of sizes up to 10^9 and counts up to 10^10 and on every
edge of every argument, and must be right to 1e-9 or refuse where there is no value; then in float32 under `jit` and
`vmap`, to 1e-4; and must refuse, in a sentence, what lies outside of its domains. `-s` shows the worst errors.
"""

import importlib
import inspect
import pkgutil
import re

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from oracles import ORACLES
from oracles.ancestry import both_alive_exactly
from oracles.judging import answer, called, nearest, parts
from oracles.points import edges, grid, is_static, outside
from oracles.tables import MORE

from collapse_jax import theory
from collapse_jax.theory import ancestry, curation, discrete, gaussian, matrices

pytestmark = pytest.mark.slow

HELPERS = {"law", "matrices", "stable"}  # what the laws are made of


def _public(module_name):
    module = importlib.import_module(f"{theory.__name__}.{module_name}")
    return {
        f"{module_name}.{name}": function
        for name, function in sorted(vars(module).items())
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
    }


MODULES = [info.name for info in pkgutil.iter_modules(theory.__path__)]
LAWS = {key: law for name in MODULES if name not in HELPERS for key, law in _public(name).items()}
COMPARED = {
    key: law
    for key, law in LAWS.items()
    if key in ORACLES and set(getattr(law, "domain", {})) == set(inspect.signature(law).parameters)
}
every_law = pytest.mark.parametrize("key", COMPARED)

TOLERANCE = 1e-9
LOOSER = {"gaussian.passed_probability": 1e-8}  # of 1e-100 and less: JAX's normal law, far out
TALLY = {"with numbers": [], "float32": [], "refused": []}


@pytest.fixture(scope="module", autouse=True)
def summary():
    """Say at the end how much was compared, and where the largest error lay."""
    yield
    print(f"\n{len(COMPARED)} laws of {len(LAWS)} public functions")
    for kind, errors in TALLY.items():
        worst, key, point = max(errors, key=lambda error: error[0], default=(0.0, "", {}))
        print(
            f"{kind}: {len(errors)} points, largest relative error {worst:.1e}: {key} {point if worst else ''}"
        )


def _record(kind, key, point, error):
    TALLY[kind].append((error, key, point))
    return error


def test_every_public_function_has_domains_and_an_oracle():
    assert len(LAWS) >= 99
    assert not [key for key in LAWS if key not in ORACLES], "laws without an oracle"
    assert not [key for key in ORACLES if key not in LAWS], "oracles without a law"
    bare = {
        key: [name for name in inspect.signature(law).parameters if name not in getattr(law, "domain", {})]
        for key, law in LAWS.items()
    }
    assert not {key: names for key, names in bare.items() if names or not hasattr(LAWS[key], "domain")}


def test_helpers_hold_no_law():
    assert HELPERS.issubset(MODULES)
    assert not [key for name in HELPERS for key, f in _public(name).items() if hasattr(f, "domain")]


def _possible(law, value):
    """Whether what a law's first line calls a probability lies in [0, 1]; bounds and times may lie beyond."""
    line = law.__doc__.splitlines()[0]
    if not re.search(r"^Return (the |exact |)*(probabilit|P\()", line):
        return True
    return all(((part >= 0) & (part <= 1)).all() for part in parts(value))


def _judged(key, law, point, number=lambda value: value):
    """Return the fault of a concrete call, or None."""
    allowed = answer(key, point)
    try:
        value = called(law, point, number)
    except ValueError as refusal:
        _record("refused", key, point, 0.0)
        named = any(f"`{name}`" in str(refusal) for name in [law.__name__, *point])
        sentence = named and str(refusal).endswith(".")
        return None if allowed.refusal and sentence else f"{point} refused: {refusal}"
    if not allowed.values:
        return f"{point} has no value, got {value}"
    for part in value if isinstance(value, tuple) else (value,):
        assert isinstance(part, np.float64 | np.ndarray) and part.dtype == np.float64, (
            f"{point}: {type(part)}"
        )
    error = _record("with numbers", key, point, nearest(value, allowed, np.float64))
    right = error < LOOSER.get(key, TOLERANCE) and _possible(law, value)
    return None if right else f"{point}: {error:.1e} off, {value} for {allowed.values[0]}"


@every_law
def test_right_with_numbers(key):
    """Python's numbers, NumPy's and JAX's float32, which is the number that it holds, in turn; edges are Python's."""
    law, kinds = (
        COMPARED[key],
        [lambda value: value, np.asarray, lambda value: jnp.asarray(value, np.float32)],
    )
    faults = [_judged(key, law, point, kinds[i % 3]) for i, point in enumerate(grid(key, law))]
    faults += [_judged(key, law, point) for point in edges(key, law) + MORE.get(key, [])]
    found = [fault for fault in faults if fault]
    assert not found, f"{len(found)} of {len(faults)}:\n" + "\n".join(found[:10])


def _static_part(key, point):
    return tuple((name, value) for name, value in point.items() if is_static(COMPARED[key], name))


def _programs(key):
    """Return points inside by their static arguments: for each choice (an estimator, a regime) one set of lengths."""
    groups = {}
    for point in grid(key, COMPARED[key]):
        if not answer(key, point).refusal:
            groups.setdefault(_static_part(key, point), []).append(point)
    best = {}
    for static in groups:
        lengths = [v for n, v in static if not COMPARED[key].domain[n].choices]
        choice = tuple((n, v) for n, v in static if COMPARED[key].domain[n].choices)
        if max(lengths, default=0) <= 60:
            best[choice] = max(best.get(choice, ([], ())), (lengths, static))
    return [(dict(static), groups[static]) for _, static in best.values()]


def _stacked(values):
    """Return the values of an argument at all points as arrays with a leading axis."""
    if isinstance(values[0], tuple):
        return tuple(_stacked(list(part)) for part in zip(*values))
    return jnp.asarray(np.array(values, float))


def _compiled(key, static, points):
    """Call a law with all of its other arguments traced, at all points at once."""
    law = COMPARED[key]
    names = [name for name in points[0] if name not in static]
    if not names:
        return [jax.jit(lambda: law(**static))()]
    program = jax.jit(jax.vmap(lambda traced: law(**static, **traced)))
    values = program({name: _stacked([point[name] for point in points]) for name in names})
    values = jax.tree.map(np.asarray, values)
    return [jax.tree.map(lambda part, i=i: part[i], values) for i in range(len(points))]


@every_law
def test_right_in_float32_under_jit(key):
    """In float64 the same forms are those of the calls with numbers."""
    faults, compared = [], 0
    for static, points in _programs(key):
        for point, value in zip(points, _compiled(key, static, points)):
            assert {part.dtype for part in jax.tree.leaves(value)} == {np.dtype(np.float32)}, point
            allowed = answer(key, point)
            error = _record("float32", key, point, nearest(value, allowed, np.float32))
            if not error < 1e-4 or not _possible(COMPARED[key], value):
                faults.append(f"{point}: {error:.1e} off, {value} for {allowed.values[0]}")
            compared += 1
    assert compared and not faults, f"{len(faults)} of {compared}:\n" + "\n".join(faults[:10])


@every_law
def test_any_one_argument_may_be_traced_beside_numbers(key):
    """Whole numbers beyond 2^31 among them, which JAX's own conversion refuses."""
    law = COMPARED[key]
    point = next((p for p in reversed(grid(key, law)) if not answer(key, p).refusal), None)
    assert point is not None
    for name, value in point.items():
        if not is_static(law, name):
            traced = (
                jax.tree.map(jnp.float32, value) if isinstance(value, tuple) else jnp.asarray(value, float)
            )
            shapes = jax.eval_shape(lambda x, name=name: called(law, {**point, name: x}), traced)
            assert [part.shape for part in jax.tree.leaves(shapes)] == [
                part.shape for part in answer(key, point).values[0]
            ]


@every_law
def test_refuses_what_lies_outside(key, unchecked):
    """Just below, just above, NaN, infinity, a half for a whole number: by a sentence that names the argument."""
    for name, point in outside(key, COMPARED[key]):
        with pytest.raises(ValueError, match=rf"`{name}` must .*\.$"):
            print(key, name, point, called(COMPARED[key], point))  # shown when nothing was raised
        _record("refused", key, point, 0.0)


@pytest.mark.parametrize("num_samples", [2, 10, 100])
@pytest.mark.parametrize("share", [0.5, 0.1, 1 / 3, 0.0, 1e-3])
def test_bounds_on_both_classes_hold(share, num_samples):
    """Against the exact probability, by the ancestors' law; its own rounding is 1e-15 of 1."""
    for num_fits in (1, 2, 5, 20, 100):
        exact = float(both_alive_exactly(mp.mpf(share), num_samples, num_fits))
        lower, upper = ancestry.both_alive_bounds(share, num_samples, num_fits)
        assert lower <= exact * (1 + 1e-12) and exact <= upper * (1 + 1e-12), num_fits


@pytest.mark.parametrize("num_samples", [10, 100, 1000])
@pytest.mark.parametrize("share", [1e-3, 0.02, 0.3])
def test_bounds_on_survival_hold(share, num_samples):
    for num_fits in (1, 2, 5, 20, 300):
        exact = ORACLES["discrete.survival"](share, num_fits, num_samples)
        lower, upper = discrete.survival_bounds(share, num_samples, num_fits)
        assert lower <= exact * (1 + 1e-12) and exact <= upper * (1 + 1e-12), num_fits


def test_the_bound_on_small_deviations_is_above_markovs():
    for num_samples in (2, 3, 10, 1000, 10**6):
        for num_fits in (1, num_samples, 10 * num_samples):
            markov = gaussian.std_mean(num_fits, num_samples, 1) / 0.25
            assert markov <= gaussian.small_std_bound(0.25, num_fits, num_samples) * (1 + 1e-12)


def test_the_bound_on_curation_holds_where_all_candidates_are_curated_alike():
    """The worst case is H = K at every round: r <- (1 + l K r)/(1 + l)."""
    for share, candidates in ((0.25, 2), (0.4, 3), (0.9, 2)):
        ratio, bound = 1.0, curation.kept_ratio_bound(share, candidates)
        for _ in range(2000):
            ratio = (1 + share * candidates * ratio) / (1 + share)
            assert ratio <= bound * (1 + 1e-12)
        assert ratio > 0.999 * bound  # and is met


def test_the_survival_curve_of_two_thousand_generations():
    """M = 1000: what a figure draws beside chains, each point of it by the ancestors' law."""
    curve = matrices.between(1000, 2000)
    for num_fits in (1, 2, 100, 1000, 2000):
        exact = float(both_alive_exactly(mp.mpf(0.5), 1000, num_fits))
        assert curve[num_fits - 1] == pytest.approx(exact, rel=1e-9)
    rows = matrices.resampling(1000)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-12)
    for i in (1, 499, 1000):
        expected = [float(p) for p in ORACLES["ancestry.binomial_law"](1000, i / 1000)]
        np.testing.assert_allclose(rows[i], expected, rtol=1e-9, atol=1e-300)
