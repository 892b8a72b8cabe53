"""The shared checks: what passes unchanged, what is refused, and that tracers pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.validation import (
    check_choice,
    check_count,
    check_fraction,
    check_positive,
    check_seed,
    is_concrete,
)


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(1)])
def test_counts_come_back_as_int(value):
    assert check_count("num", value) == value and type(check_count("num", value)) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.float32(2)])
def test_a_count_is_an_integer(value):
    with pytest.raises(TypeError, match="`num` must be an integer, got"):
        check_count("num", value)


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-3, 1), (1, 2), (-1, 0)])
def test_a_count_has_a_least_value(value, minimum):
    with pytest.raises(ValueError, match=f"`num` must be at least {minimum}, got {value}"):
        check_count("num", value, minimum)
    assert check_count("num", minimum, minimum) == minimum


def test_a_seed_has_the_32_bits_that_are_read_of_it():
    assert check_seed("seed", 2**32 - 1) == 2**32 - 1
    with pytest.raises(ValueError, match="`seed` must be at most 4,294,967,295, got 4294967296; "):
        check_seed("seed", 2**32)


@pytest.mark.parametrize("value", [0, 1, 0.1, np.float32(0.5), np.array([0.0, 1.0])])
def test_fractions_pass_unchanged(value):
    assert check_fraction("share", value) is value


@pytest.mark.parametrize("value", [-1e-9, 1.0001, np.nan, np.inf, np.array([0.5, 2.0])])
def test_a_fraction_lies_between_0_and_1(value):
    with pytest.raises(ValueError, match=r"`share` must lie in \[0, 1\], got .*; 0.1 means ten per cent"):
        check_fraction("share", value)


@pytest.mark.parametrize("value", [1e-30, 2, np.array([1.0, 3.0])])
def test_positive_values_pass_unchanged(value):
    assert check_positive("tol", value) is value


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, np.array([1.0, 0.0])])
def test_a_positive_value_is_finite_and_above_0(value):
    with pytest.raises(ValueError, match="`tol` must be positive and finite, got"):
        check_positive("tol", value)


def test_tracers_pass_every_check():
    assert is_concrete(1.0) and is_concrete(jnp.ones(()))

    @jax.jit
    def swept(value):
        assert not is_concrete(value)
        return check_fraction("share", value) + check_positive("tol", value)

    assert float(swept(-3.0)) == -6.0


def test_a_choice_suggests_the_nearest():
    assert check_choice("start", "warm", ("warm", "kmeans")) == "warm"
    with pytest.raises(ValueError, match=r"`start`.*'kmean'.*did you mean 'kmeans'"):
        check_choice("start", "kmean", ("warm", "kmeans"))
    with pytest.raises(ValueError, match=r"`start`.*'x'.*warm.*kmeans") as caught:
        check_choice("start", "x", ("warm", "kmeans"))
    assert "did you mean" not in str(caught.value)
