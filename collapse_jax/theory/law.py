"""What every closed form shares: where it is defined, and the precision in which it is computed.

Called with numbers, a law checks them against its domain, computes in float64 whatever JAX's precision is, and returns
NumPy's float64; at an edge it gives the limit where there is one, and otherwise refuses in a sentence. Called under
`jit` or `vmap` it computes in the precision of its arguments, by forms that do not cancel.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.types import Array, ArrayLike
from collapse_jax.validation import is_concrete, shown

P = ParamSpec("P")
R = TypeVar("R")


class Domain(NamedTuple):
    """The values that an argument may have: an interval, or a few choices.

    Attributes:
        low: least value.
        high: largest value.
        low_closed: the least value belongs to it.
        high_closed: the largest value belongs to it.
        integer: whole numbers only.
        static: it fixes shapes, so it must be a number when JAX traces.
        choices: all there are, instead of an interval.
        distribution: an array that sums to 1.
    """

    low: float = -np.inf
    high: float = np.inf
    low_closed: bool = True
    high_closed: bool = False
    integer: bool = False
    static: bool = False
    choices: tuple[Any, ...] = ()
    distribution: bool = False

    def __str__(self) -> str:
        """The rule as it stands in an error's sentence."""
        if self.choices:
            return f"be one of {', '.join(repr(choice) for choice in self.choices)}"
        kind = "be a whole number" if self.integer else "be a number"
        if self.distribution:
            return "hold probabilities that sum to 1"
        if np.isinf(self.low) and np.isinf(self.high):
            return f"{kind}, and finite"
        if np.isinf(self.high):
            upper = "" if self.high_closed else ", and finite"
            return f"{kind} {'of at least' if self.low_closed else 'above'} {self.low:g}{upper}"
        if np.isinf(self.low):
            return f"{kind} {'of at most' if self.high_closed else 'below'} {self.high:g}"
        left, right = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}"

    def holds(self, value: Any) -> bool:
        """True when every element of a concrete value belongs to it; NaN never does."""
        if self.choices:
            plain = isinstance(value, str | int | float | np.generic) and not isinstance(value, bool)
            return plain and any(value == choice for choice in self.choices)
        try:
            numbers = np.asarray(value)
        except (TypeError, ValueError):  # JAX's keys; lists of unequal length
            return False
        if isinstance(value, int) and abs(value) < 1e300:  # NumPy holds large integers as objects
            numbers = numbers.astype(np.float64) if numbers.dtype.kind == "O" else numbers
        if numbers.dtype.kind not in "iuf":  # text, dates, flags, nothing
            return False
        if self.static and numbers.ndim:
            return False
        numbers = numbers.astype(np.float64)
        above = numbers >= self.low if self.low_closed else numbers > self.low
        below = numbers <= self.high if self.high_closed else numbers < self.high
        fits = (
            above & below & (np.isfinite(numbers) | self.low_closed & np.isinf(self.low) | self.high_closed)
        )
        if self.integer:
            fits &= numbers == np.floor(numbers)
        # float32 probabilities, each rounded, sum to 1 to a few units of 1e-7
        sums = not self.distribution or (numbers.ndim == 1 and abs(numbers.sum() - 1) < 1e-5)
        return bool(np.all(fits) and sums)


ANY = Domain(low_closed=False)
FITS = Domain(0.0)
"""n, fits or rounds: real, since a time may lie between two."""
LENGTH = Domain(0.0, 1e7, high_closed=True, integer=True, static=True)
"""How long an array is, or how often a loop runs."""
SIZE = Domain(1.0)
"""M: real, since an effective size may be."""
PLURAL = Domain(1.0, low_closed=False)
"""More than one point: what a variance with M - 1 below it needs."""
COUNT = Domain(0.0, integer=True)
WHOLE = Domain(1.0, integer=True)
SHARE = Domain(0.0, 1.0, high_closed=True)
DISTRIBUTION = Domain(0.0, 1.0, high_closed=True, distribution=True)
DDOF = Domain(choices=(0, 1), static=True)
NONNEGATIVE = Domain(0.0)
POSITIVE = Domain(0.0, low_closed=False)
MATRIX = Domain(1.0, 4000.0, high_closed=True, integer=True, static=True)
"""A size whose (M+1) x (M+1) matrix is built: 128 MB at 4,000."""


def law(**domain: Domain) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a closed form whose arguments lie in these domains.

    The decorated function has them as `domain`. Called with numbers it returns NumPy float64 (a scalar, an array or
    a tuple of them); called with tracers, what JAX computes.

    Raises:
        ValueError: by the decorated function, when an argument lies outside of its domain, or when the law has no
            value there.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        if set(domain) != set(signature.parameters):
            raise TypeError(
                f"{function.__name__} needs a domain for each of {', '.join(signature.parameters)}."
            )

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = _bound(function.__name__, signature, args, kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = _checked(name, domain[name], value)
            args, kwargs = bound.args, bound.kwargs  # type: ignore[assignment]
            if not all(is_concrete(leaf) for leaf in jax.tree.leaves((args, kwargs))):
                with jax.numpy_rank_promotion("allow"):  # arguments meet as NumPy's arrays do
                    return function(*args, **kwargs)
            with (
                jax.numpy_rank_promotion("allow"), jax.ensure_compile_time_eval(), jax.enable_x64(True),
                jax.default_device(_host()),
            ):  # fmt: skip
                # an argument in float32 is the number that it holds
                try:
                    found = function(*args, **kwargs)
                except Related:
                    raise
                except (TypeError, IndexError, ValueError) as error:  # each is in its domain, but not beside the others
                    raise ValueError(_misfit(function.__name__, bound.arguments)) from error
            result = jax.tree.map(lambda part: np.asarray(part, np.float64)[()], found)
            if any(np.isnan(part).any() for part in jax.tree.leaves(result)):
                given = ", ".join(f"{name} = {shown(value)}" for name, value in bound.arguments.items())
                raise ValueError(f"`{function.__name__}` has no value at {given}; see its conditions.")
            return result

        checked.domain = domain  # type: ignore[attr-defined]
        return checked

    return decorate


def _bound(law_name: str, signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]) -> inspect.BoundArguments:
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        names = ", ".join(signature.parameters)
        raise TypeError(f"{law_name}() takes ({names}): {error}; give each once.") from error


def _misfit(law_name: str, given: dict[str, Any]) -> str:
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in given.items())
    return f"{law_name}() cannot take arrays of the shapes {shapes} together; see which are numbers and which rows."


class Related(ValueError):
    """Arguments that are each in their domain, and whose relation is wrong."""


def require(condition: Any, sentence: str) -> None:
    """Refuse arguments whose relation is wrong; tracers pass unchecked.

    Raises:
        ValueError: the condition is false somewhere.
    """
    if is_concrete(condition) and not bool(np.all(condition)):
        raise Related(sentence)


def reals(*numbers: ArrayLike) -> tuple[Array, ...]:
    """Return arguments as floating arrays of the ambient precision: whole numbers beyond 2^31 included."""
    return tuple(jnp.asarray(number, float) for number in numbers)


def _checked(name: str, domain: Domain, value: Any) -> Any:
    """Return an argument that lies in its domain; what fixes a shape as an int."""
    for part in value if isinstance(value, tuple) and not domain.static else (value,):
        if is_concrete(part) and not domain.holds(part):
            raise ValueError(f"`{name}` must {domain}, got {shown(value)}.")
    return int(value) if domain.static and domain.integer and is_concrete(value) else value


def _host() -> jax.Device | None:
    """Return this process's CPU, where float64 is exact and quick; None where JAX has none."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
