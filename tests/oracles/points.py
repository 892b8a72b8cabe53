"""Builds, from a law's signature and its declared domains, where it is examined: `tables` has the values."""

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from oracles.tables import EDGES, EDGES_OF, GRID, GRID_OF, LENGTHS, MATRIX_SIZES, SIZES, TURNS, TURNS_OF

Point = dict[str, Any]


def is_static(law: Callable, name: str) -> bool:
    """Whether an argument sets a shape or a branch, and so cannot be traced."""
    return law.domain[name].static


def _axis(key: str, law: Callable, name: str) -> Sequence | None:
    if name in GRID_OF.get(key, {}):
        return GRID_OF[key][name]
    if name == "num_samples" and is_static(law, name):
        return MATRIX_SIZES
    if name == "num_fits" and is_static(law, name):
        return LENGTHS
    sizes = [other for other in inspect.signature(law).parameters if GRID.get(other) is SIZES]
    return GRID.get(name) if name not in sizes[2:] else None


def _turns(key: str, name: str) -> Sequence:
    return TURNS_OF.get(key, {}).get(name) or TURNS.get(name) or GRID[name]


def resolve(point: Point) -> Point:
    """Return the point with the values that depend on others worked out."""
    plain = {name: value for name, value in point.items() if not callable(value)}
    return {name: value(plain) if callable(value) else value for name, value in point.items()}


def _unresolved_grid(key: str, law: Callable) -> list[Point]:
    """Return every combination of sizes and counts, other arguments in turn, each at another pace."""
    names = list(inspect.signature(law).parameters)
    unknown = [name for name in names if name not in {*GRID, *TURNS}]
    assert not unknown, f"{key}: tests/oracles/tables.py has no values for {', '.join(unknown)}."
    axes = {name: axis for name in names if (axis := _axis(key, law, name)) is not None}
    turns = {name: _turns(key, name) for name in names if name not in axes}
    combinations = list(product(*axes.values()))
    fewest = max((len(values) for values in turns.values()), default=1)
    points = []
    for index, combination in enumerate(combinations * -(-fewest // len(combinations))):
        point = dict(zip(axes, combination))
        for place, (name, values) in enumerate(turns.items()):
            point[name] = values[(index + index // 4 * (place + 1) + place) % len(values)]
        points.append({name: point[name] for name in names})
    return points


def grid(key: str, law: Callable) -> list[Point]:
    """Return the points inside."""
    return [resolve(point) for point in _unresolved_grid(key, law)]


def ends(domain: Any) -> list:
    """Return a domain's ends that belong to it, and what lies a billionth from those that do not.

    Not the largest matrices and tables, which are a matter of memory.
    """
    if domain.choices:
        return list(domain.choices)
    found = []
    for end, closed, inward in ((domain.low, domain.low_closed, 1), (domain.high, domain.high_closed, -1)):
        if closed or math.isinf(end):
            found += [end] if closed and not (domain.static and end > 1000) else []
        else:
            found.append(end + inward * (1 if domain.integer else 2.0**-30 * max(1.0, abs(end))))
    return [int(end) if domain.integer and math.isfinite(end) else end for end in found]


def beyond(domain: Any) -> list:
    """Return what lies just outside of a domain, and what is no number or not whole."""
    if domain.choices:
        first = domain.choices[0]
        return ["nothing"] if isinstance(first, str) else [max(domain.choices) + 1, -1]
    found: list = [math.nan]
    for end, closed, outward in ((domain.low, domain.low_closed, -1), (domain.high, domain.high_closed, 1)):
        if math.isinf(end):
            found += [] if closed else [end]
        elif closed:
            found.append(end + outward * (1 if domain.integer else 2.0**-20 * max(1.0, abs(end))))
        else:
            found.append(end)
    if domain.integer:
        found.append(max(domain.low, 0 if math.isinf(domain.low) else domain.low) + 0.5)
    return found


def _inside(like: Any, value: Any) -> list:
    """Return values of an argument's kind with `value` in each place in turn: itself, or the vector's entries."""
    if not isinstance(like, list | tuple):
        return [value]
    kind, ends_ = type(like), (0, len(like) - 1)
    return [kind(value if i == place else x for i, x in enumerate(like)) for place in ends_]


def _backgrounds(key: str, law: Callable) -> list[Point]:
    points = _unresolved_grid(key, law)
    return [points[len(points) // 3], points[-1 - len(points) // 4]]


def _scalar(key: str, law: Callable, name: str) -> bool:
    value = resolve(_backgrounds(key, law)[0])[name]
    return _axis(key, law, name) is not None or not isinstance(value, list | tuple)


def edges(key: str, law: Callable) -> list[Point]:
    """Return points with one argument on an edge: the listed ones, the ends of its declared domain, its default."""
    found = []
    for name, domain in law.domain.items():
        values = list(EDGES_OF.get(key, {}).get(name, EDGES.get(name, [])))
        if _scalar(key, law, name):
            values += [end for end in ends(domain) if end not in values]
        found += [resolve({**point, name: value}) for point in _backgrounds(key, law) for value in values]
        if inspect.signature(law).parameters[name].default is not inspect.Parameter.empty:
            point = resolve(_backgrounds(key, law)[0])
            found.append({other: value for other, value in point.items() if other != name})
    return found


def outside(key: str, law: Callable) -> list[tuple[str, Point]]:
    """Return names of arguments and points at which those lie outside of their domains."""
    point = resolve(_backgrounds(key, law)[0])
    return [
        (name, {**point, name: value})
        for name, domain in law.domain.items()
        for bad in beyond(domain)
        for value in _inside(point[name], bad)
    ]
