"""Random calls: each gives numbers, or is refused by the package in one sentence; nothing comes up from below."""

import inspect
from collections import Counter

import jaxtyping
import pytest
from hypothesis import HealthCheck, given, settings

# these take most kinds, and are where a wrong kind comes up from deep inside
_OFTEN = {"build_chain": 40, "run_host": 3}
_COMPILING = {"simulate", "sweep", "run_compiled"}  # seconds for each valid call


@pytest.fixture(autouse=True, scope="module")
def unchecked():
    """Annotations are not checked: the package's own sentence is what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def api():
    """What may be called, and with what; it takes seconds to make."""
    import random_calls

    return random_calls


def _tally(api, num_calls, left_out=()):
    functions = {name: function for name, function in api.public().items() if name not in left_out}
    found = Counter()

    @settings(max_examples=num_calls, suppress_health_check=list(HealthCheck))
    @given(api.calls(functions, _OFTEN))
    def run(call):
        found[api.outcome(call, functions)] += 1

    run()
    return found


def test_every_parameter_has_a_good_value(api):
    functions = api.public()
    unknown = {
        (name, parameter)
        for name, function in functions.items()
        for parameter in inspect.signature(function).parameters
        if parameter not in {**api.GOOD, **getattr(function, "domain", {})} and (name, parameter) not in api.BY_FUNCTION
    }
    assert not unknown, "say in GOOD what these may be"
    assert len(functions) > 150


def test_a_call_gives_numbers_or_a_sentence(api):
    found = _tally(api, 150, left_out=_COMPILING)
    assert found["valid"] > 15 and found["ValueError"] > 15 and found["TypeError"] > 15


@pytest.mark.heavy
def test_many_calls_give_numbers_or_a_sentence(api):
    found = _tally(api, 2000)
    print(dict(found))
    assert found["valid"] > 300 and found["ValueError"] > 200 and found["TypeError"] > 200
