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


def shown(value: object, most: int = 60) -> str:
    """Return how a value stands in a sentence: its `repr` on one line, cut where it is long.

    >>> shown([[1.0], [2.0]]), shown("x" * 99, most=10)
    ('[[1.0], [2.0]]', "'xxxxxx...")
    """
    told = " ".join(repr(value).split())
    return told if len(told) <= most else told[: most - 3] + "..."


def one_line(text: str) -> str:
    r"""Return text as one line without signs that would steer a terminal: names may come from anybody's files.

    >>> one_line("a [b] \x1b[31m\n c")
    'a [b] \\x1b[31m c'
    """
    shown = " ".join(text.split())
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in shown)


LARGEST_SIZE = 2**31 - 1  # what JAX's 32-bit indices hold: rows, lanes, generations
LARGEST_COUNT = 2**63 - 1  # of points that nobody holds one by one: an exact statistic stands for them


def check_count(name: str, value: Any, minimum: int = 1, maximum: int = LARGEST_SIZE) -> Any:
    """Return `value`, an integer from `minimum` to `maximum`; tracers pass unchecked.

    Raises:
        ValueError: the value is out of range.
        TypeError: the value is not an integer.

    >>> check_count("num_samples", 100)
    100
    >>> check_count("num_samples", 2**64)
    Traceback (most recent call last):
    ...
    ValueError: `num_samples` must be at most 2,147,483,647, got 18446744073709551616; choose a smaller one.
    """
    if not is_concrete(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer, got {shown(value)}; write it without a decimal point.")
    value = int(value)
    if value < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {shown(value)}; choose a larger one.")
    if value > maximum:
        raise ValueError(f"`{name}` must be at most {maximum:,}, got {shown(value)}; choose a smaller one.")
    return value


def check_seed(name: str, value: Any) -> int:
    """Return `value`, an integer that names all randomness.

    Raises:
        ValueError: it has more than the 32 bits that JAX reads of it: other seeds would then draw the same.
        TypeError: it is not an integer.
    """
    return check_count(name, value, minimum=0, maximum=2**32 - 1)


def check_key(key: Any) -> Any:
    """Return `key`, one typed key; it may be traced.

    Raises:
        TypeError: it is an old-style key, a seed, or several keys.
    """
    import jax

    if not (
        isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    ):
        raise TypeError(f"`key` must be one typed key, got {shown(key)}; make it with jax.random.key(seed).")
    return key


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], remedy: str) -> Any:
    """Return `value`, which is of `kind`; the sentence ends with the remedy.

    Raises:
        TypeError: it is something else.

    >>> check_kind("dim", 3, str, "name the new axis, for example 'regime'")
    Traceback (most recent call last):
    ...
    TypeError: `dim` must be a str, got 3; name the new axis, for example 'regime'.
    """
    if not isinstance(value, kind):
        kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"`{name}` must be a {kinds}, got {shown(value)}; {remedy}.")
    return value


def check_function(name: str, value: Any, example: str) -> Any:
    """Return `value`, which can be called; `example` says with what.

    Raises:
        TypeError: it cannot.
    """
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"`{name}` must be a function {example}, got {shown(value)}.")
    return value


def check_list(name: str, value: Any, example: str) -> list:
    """Return the members of `value`, a list, a tuple or a row of an array.

    Raises:
        TypeError: it is none of these.
    """
    no_list = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    if no_list or getattr(value, "ndim", 1) == 0:
        raise TypeError(f"`{name}` must be a list, got {shown(value)}; for example {example}.")
    return list(value)


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
            f"`num_samples` must be at most {FLOAT32_COUNT_LIMIT:,} for counts in float32, got {num_samples}; "
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
            "a model that draws points needs a fixed `num_samples`; use one that draws statistics, such as "
            "gaussian_statistics, or draw the largest size and add the regime schedule(sizes)."
        )
    return check_count("num_samples", num_samples)


def check_numbers(name: str, value: Any) -> Any:
    """Return a number, or an array of them, as NumPy's; tracers pass unchecked.

    Raises:
        TypeError: it is text, a flag, a function, nothing at all.
        ValueError: a whole number that JAX's integers do not hold: it has to be written as a float.
    """
    if _holds_tracer(value):
        return value
    try:
        known = np.asarray(value)
    except (TypeError, ValueError):  # JAX's keys; lists of unequal length
        known = np.asarray(None)
    too_large = isinstance(value, int) and abs(value) > LARGEST_SIZE
    if too_large or (known.dtype.kind in "iu" and np.any(known > LARGEST_SIZE)):
        raise ValueError(f"`{name}` is a whole number too large for JAX, {shown(value)}; write it as 1e30, say.")
    if known.dtype.kind not in "iuf" or known.size == 0:
        raise TypeError(f"`{name}` must be a number, got {shown(value)}; for example 0.1.")
    return known


def _holds_tracer(value: Any) -> bool:
    return any(map(_holds_tracer, value)) if isinstance(value, list | tuple) else not is_concrete(value)


def check_fraction(name: str, value: Any) -> Any:
    """Return `value`, a fraction in [0, 1]; tracers pass unchecked.

    Raises:
        ValueError: the value lies outside [0, 1] or is NaN.
        TypeError: it is not a number.

    >>> check_fraction("fraction", 0.1)
    0.1
    """
    if is_concrete(value):
        known = check_numbers(name, value)
        if not np.all((known >= 0) & (known <= 1)):
            raise ValueError(f"`{name}` must lie in [0, 1], got {shown(value)}; 0.1 means ten per cent.")
    return value


def check_positive(name: str, value: Any, *, or_zero: bool = False) -> Any:
    """Return `value`, a positive finite number; tracers pass unchecked.

    Raises:
        ValueError: the value is negative, infinite or NaN in JAX's precision, or zero unless `or_zero`.
        TypeError: it is not a number.
    """
    if is_concrete(value):
        known = check_numbers(name, value)
        least = np.all(known >= 0 if or_zero else known > 0)
        if not least or not np.all(np.abs(known) <= _largest_float()):
            kind = "not be negative, and be finite" if or_zero else "be positive and finite"
            raise ValueError(f"`{name}` must {kind}, got {shown(value)}; choose another number.")
    return value


def _largest_float() -> float:
    """Return the largest number of JAX's default precision."""
    jax = sys.modules.get("jax")
    return float(np.finfo(np.float64 if jax is not None and jax.config.jax_enable_x64 else np.float32).max)


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
    if isinstance(value, str) and value in options:
        return value
    told = " ".join(value.split()) if isinstance(value, str) else shown(value)
    raise ValueError(f"`{name}` has no choice '{told[:60]}'; {nearest(told, options)}")


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


def out_of_memory(error: Exception) -> str:
    """Return a sentence for an error of memory, NumPy's or JAX's, which has no class of its own; "" for others."""
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
        return ""
    told = str(error).strip().rstrip(".").splitlines() or ["no more could be had"]
    return (
        f"there is too little memory ({told[0].removeprefix('RESOURCE_EXHAUSTED: ')}); choose smaller sizes (samples, "
        "lanes, batches), or a machine with more; what was finished before is on disk."
    )
