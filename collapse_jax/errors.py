"""Checks that every factory shares: name, rule, value, remedy, in one sentence.

They run on concrete values; tracers pass through, so that a swept parameter can be traced.
"""

import difflib
import errno
import numbers
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


class RunFailed(RuntimeError):
    """What a run calls on (a fit, a service) raised something; what was finished before is on disk."""


def is_plain_name(name: str) -> bool:
    """True for the name of a file or folder that lies where it is looked for, not elsewhere.

    >>> is_plain_name("gmm"), is_plain_name("../gmm"), is_plain_name("/etc"), is_plain_name("..")
    (True, False, False, False)
    """
    return name not in ("", ".", "..") and not any(sign in name for sign in ("/", "\\", "\0"))


def is_concrete(value: object) -> bool:
    """True when `value` can be looked at now, false under `jit`, `vmap` or `eval_shape`."""
    jax = sys.modules.get(
        "jax"
    )  # before JAX is imported there are no tracers, and the CLI needs no JAX for its help
    return jax is None or not isinstance(value, jax.core.Tracer)


def check_count(name: str, value: Any, minimum: int = 1) -> Any:
    """Return `value`, an integer of at least `minimum`; tracers pass unchecked.

    Raises:
        ValueError: the value is below `minimum`.
        TypeError: the value is not an integer.

    >>> check_count("num_samples", 100)
    100
    """
    if not is_concrete(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer, got {value!r}; write it without a decimal point.")
    if value < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {value}; choose a larger one.")
    return int(value)


FLOAT32_COUNT_LIMIT = 1_000_000  # above it float32 binomials have the wrong variance: x1.38 measured at 1e9


def check_float32_count(num_samples: Any) -> Any:
    """Return a number of draws whose statistic float32 can hold; tracers pass unchecked.

    Raises:
        ValueError: more than a million, unless x64 is on.
    """
    jax = sys.modules.get("jax")
    wide = jax is not None and jax.config.jax_enable_x64
    if is_concrete(num_samples) and not wide and np.max(num_samples) > FLOAT32_COUNT_LIMIT:
        raise ValueError(
            f"`num_samples` must be at most {FLOAT32_COUNT_LIMIT:,} for counts in float32, got {num_samples:,}; "
            "turn on jax_enable_x64."
        )
    return num_samples


def static_size(num_samples: Any) -> int:
    """Return the number of points to draw, which must be known before compiling.

    Raises:
        TypeError: it is traced: a swept size or a schedule.
    """
    if not is_concrete(num_samples):
        raise TypeError(
            "a model that draws points needs a fixed `num_samples`; use draws='statistics', or draw the largest "
            "size and add the regime schedule(sizes)."
        )
    return int(num_samples)


def check_fraction(name: str, value: Any) -> Any:
    """Return `value`, a fraction in [0, 1]; tracers pass unchecked.

    Raises:
        ValueError: the value lies outside [0, 1] or is NaN.

    >>> check_fraction("fraction", 0.1)
    0.1
    """
    if is_concrete(value) and not bool(np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1))):
        raise ValueError(f"`{name}` must lie in [0, 1], got {value}; 0.1 means ten per cent.")
    return value


def check_positive(name: str, value: Any) -> Any:
    """Return `value`, a positive finite number; tracers pass unchecked.

    Raises:
        ValueError: the value is zero, negative, infinite or NaN.
    """
    if is_concrete(value) and not bool(np.all((np.asarray(value) > 0) & np.isfinite(value))):
        raise ValueError(f"`{name}` must be positive and finite, got {value}.")
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value`, one of `choices`.

    Raises:
        ValueError: it is none of them; the sentence names the nearest.

    >>> check_choice("start", "wram", ["warm", "kmeans"])
    Traceback (most recent call last):
    ...
    ValueError: `start` has no choice 'wram'; did you mean 'warm'? There are: warm, kmeans.
    """
    options = list(choices)
    if value in options:
        return value
    raise ValueError(f"`{name}` has no choice '{value}'; {nearest(str(value), options)}")


def check_alike(first: Mapping[str, Any], other: Mapping[str, Any], here: str, there: str, remedy: str) -> None:
    """Refuse arrays that have other names or shapes than the first ones.

    Args:
        first: arrays by name.
        other: arrays by name.
        here: what the first are of.
        there: what the others are of.
        remedy: ends the sentence.

    Raises:
        ValueError: they differ.

    >>> check_alike({"loss": 1.0}, {"loss": 2.0, "steps": 3}, "seed 0", "seed 1", "report the same names.")
    Traceback (most recent call last):
    ...
    ValueError: seed 0 lacks 'steps', which is in seed 1; report the same names.
    """
    for name in [name for name in (*first, *other) if name not in first or name not in other]:
        lacking, having = (there, here) if name in first else (here, there)
        raise ValueError(f"{lacking} lacks '{name}', which is in {having}; {remedy}")
    for name, array in first.items():
        if np.shape(array) != np.shape(other[name]):
            raise ValueError(
                f"'{name}' has the shape {np.shape(array)} in {here}, and {np.shape(other[name])} in {there}; {remedy}"
            )


_GO_ON = "then go on with collapse-jax resume"
_REMEDIES = {
    errno.ENOSPC: f"free some space, {_GO_ON}",
    errno.EDQUOT: f"free some space, {_GO_ON}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_GO_ON}",
    errno.EMFILE: f"raise the limit on open files (ulimit -n), {_GO_ON}",
    errno.ENFILE: f"raise the limit on open files (ulimit -n), {_GO_ON}",
}


def remedy_of(error: OSError, otherwise: str) -> str:
    """Return what helps against an error of the file system, where that is known."""
    return _REMEDIES.get(error.errno or 0, otherwise)


def nearest(name: str, options: Iterable[str]) -> str:
    """Return a remedy for a name that does not exist: the nearest that does, and all there are.

    >>> nearest("laptob", ["smoke", "laptop"])
    "did you mean 'laptop'? There are: smoke, laptop."
    """
    options = list(options)
    listed = f"There are: {', '.join(options)}."
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.4)
    return f"did you mean '{near[0]}'? {listed}" if near else listed[0].lower() + listed[1:]
