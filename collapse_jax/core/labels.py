"""Names, dims, units and types of what is recorded: refused before generation 0, not by the file at the end.

What is checked is what an xarray Dataset and a netCDF file refuse, or lose on the way.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from collapse_jax.validation import check_kind, check_list, shown

_RESERVED = ("seed", "generation", "kept_generation", "is_finite")  # the results' own
_KINDS = "biuf"  # NumPy's kinds of numbers and flags


def check_labels(metrics: Iterable[Any]) -> None:
    """Refuse metrics (`chain.Metric`) whose names, dims or units no result can have.

    Raises:
        ValueError: a name or a dim is empty, has a sign that a file cannot have, or is the results' own; dims are named
            twice; names are; a metric has the name of an axis, by which a result would lose it.
        TypeError: a name, a dim or a unit is no string, dims are no list.
    """
    names: list[str] = []
    axes: set[str] = set()
    for metric in metrics:
        check_name("name", metric.name)
        where = f" of metric '{metric.name}'"
        dims = check_list(f"dims{where}", metric.dims, "(), or ('axis',)")
        for dim in dims:
            check_name("dims", dim, where)
        if len(set(dims)) < len(dims):
            raise ValueError(f"`dims`{where} name an axis twice, {shown(tuple(dims))}; give each its own name.")
        check_kind(f"unit{where}", metric.unit, str, "for example 'nats', or '1' for what has none")
        _check_signs("unit", metric.unit, where)
        names.append(metric.name)
        axes |= set(dims)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"metric names must be unique, got {repeated} again; rename one.")
    if both := sorted(axes & set(names)):
        raise ValueError(f"'{both[0]}' is the name of a metric and of an axis; rename one.")


def check_record(record: Mapping[str, Any], metrics: Iterable[Any]) -> None:
    """Refuse a generation's record that no result can hold.

    Args:
        record: arrays by name, or their shapes and types; those of no metric are the fit's info.
        metrics: what `check_labels` has passed.

    Raises:
        ValueError: the fit's info has a name that no result can have, or two arrays have axes of one name and other
            lengths.
        TypeError: an array holds something else than real numbers and flags.
    """
    described = {metric.name: metric for metric in metrics}
    lengths: dict[str, tuple[int, str]] = {}
    for name, array in record.items():
        if name not in described and name != "is_finite":
            check_name("info", name, " of the fit")
        kind = getattr(array, "dtype", None) or np.asarray(array).dtype
        # NumPy's own alone: neither keys nor the short floats of machine learning can be stored
        if not (isinstance(kind, np.dtype) and kind.isbuiltin == 1 and kind.kind in _KINDS):
            raise TypeError(
                f"'{name}' is of {kind}, which no result can hold; record real numbers or flags, for example "
                "jnp.abs(value), or value.astype(float)."
            )
        shape = np.shape(array)
        dims = described[name].dims if name in described else [f"{name}_{axis}" for axis in range(len(shape))]
        for dim, length in zip(dims, shape):
            known, first = lengths.setdefault(dim, (length, name))
            if known != length:
                raise ValueError(
                    f"the axis '{dim}' has length {known} in '{first}' and {length} in '{name}'; give one of them "
                    "another name."
                )


def check_name(what: str, name: Any, where: str = "") -> None:
    """Refuse a name that no variable or dimension of a result can have.

    Args:
        what: it names, as it stands in the sentence.
        name: as it was given.
        where: ends what the sentence calls it.

    Raises:
        ValueError: it is empty, has a sign that a file cannot have, or is the results' own.
        TypeError: it is no string.
    """
    check_kind(f"{what}{where}" if where else what, name, str, "write it as text")
    if not name or name in (".", "..") or "/" in name:
        raise ValueError(
            f"`{what}`{where} must not be empty, '.' or '..', nor hold '/', which netCDF files keep for groups, got "
            f"{shown(name)}; write {shown(name.replace('/', '_').strip('.') or 'value')}, say."
        )
    if name in _RESERVED:
        raise ValueError(f"`{what}`{where} must be its own, not {name!r}, which results have anyway; rename it.")
    _check_signs(what, name, where)


def _check_signs(what: str, text: str, where: str) -> None:
    """Refuse text that UTF-8 or HDF5 does not hold: half of a pair, a zero."""
    if "\0" in text or any(0xD800 <= ord(sign) < 0xE000 for sign in text):
        raise ValueError(f"`{what}`{where} has a sign that no file can hold, {shown(text)}; leave it out.")
