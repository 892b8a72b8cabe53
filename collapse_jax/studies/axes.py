"""The grid of a sweep, and its axes as they are typed; no JAX here."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args, get_type_hints

from collapse_jax.validation import check_choice, nearest

_COMMON = ("generations", "seeds", "lanes", "seed")  # one value for a whole sweep
_FLAGS = ("false", "true")
_MOST_VALUES = 10_000  # each is checked by building its chain


class Grid(NamedTuple):
    """What is swept.

    Attributes:
        axes: field of the configuration -> values.
        record_every: generations 0, k, 2k, ... are recorded.
    """

    axes: Mapping[str, tuple]
    record_every: int = 1


def sweepable(config: Any) -> list[str]:
    """Return the fields of a configuration that can be an axis."""
    return [field.name for field in dataclasses.fields(config) if field.name not in _COMMON]


def parse_axis(text: str, config: Any) -> tuple[str, tuple]:
    """Return an axis's name and values.

    Raises:
        ValueError: it cannot be read; the sentence shows how it is written.

    >>> from collapse_jax.studies.gaussian.config import GaussianCell
    >>> parse_axis("real_fraction=0:1:3", GaussianCell())
    ('real_fraction', (0.0, 0.5, 1.0))
    >>> parse_axis("num_samples=10,100", GaussianCell())
    ('num_samples', (10, 100))
    """
    name, _, told = text.partition("=")
    name = name.strip().replace("-", "_")
    fields = sweepable(config)
    if name not in fields:
        raise ValueError(f"--axis: there is no field '{name}' to sweep; {nearest(name, fields)}")
    now = getattr(config, name)
    kind = type(now[0] if isinstance(now, tuple) else now)
    try:
        values = _values(told, kind)
    except ValueError as error:
        spaced = "" if kind not in (int, float) else f"--axis {name}=LOW:HIGH:COUNT with two values or more, or "
        told_kind = "true or false" if kind is bool else f"type {kind.__name__}"
        raise ValueError(
            f"--axis {text} cannot be read; write {spaced}--axis {name}=VALUE,VALUE,... of {told_kind}."
        ) from error
    choices = [choice for choice in get_args(get_type_hints(type(config))[name]) if isinstance(choice, str)]
    return name, tuple(check_choice(f"--axis {name}", value, choices) for value in values) if choices else values


def _values(told: str, kind: type) -> tuple:
    """Return the values LOW:HIGH:COUNT or VALUE,VALUE,... of a number or a word; a ValueError where they are none."""
    found: tuple[Any, ...]
    if told.count(":") == 2:
        low, high, count = told.split(":")
        steps = int(count)
        if not 2 <= steps <= _MOST_VALUES or kind not in (int, float):
            raise ValueError
        found = tuple(float(low) + (float(high) - float(low)) * index / (steps - 1) for index in range(steps))
    else:
        parts = [part.strip() for part in told.split(",") if part.strip()]
        if not parts or kind not in (int, float, str, bool):
            raise ValueError
        found = tuple(_FLAGS.index(part.lower()) == 1 if kind is bool else kind(part) for part in parts)
    if kind in (str, bool):
        return found
    if not all(-math.inf < value < math.inf for value in found):
        raise ValueError
    return tuple(dict.fromkeys(map(round, found))) if ":" in told and kind is int else found
