"""What a publication fixes of a study, and in what a run departs from it: that is what its labels are computed from.

Each field of a configuration is either fixed, and compared with the published value, or free, with the reason why
nothing published depends on it. Data are compared by check sums of what was read.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import xarray as xr

_CHECK_SUM = re.compile("[0-9a-f ]{32,}")
_MOST_SAID = 90  # characters of a value in a sentence


class KnownData(NamedTuple):
    """Data that a publication used.

    Attributes:
        what: their name.
        sums: what a run says of the data that it read, by name -> the values that say it was these.
    """

    what: str
    sums: Mapping[str, tuple[str, ...]]


class Publication(NamedTuple):
    """What was done, as far as it was published or follows from what was.

    Attributes:
        settings: a configuration with the published values.
        fixed: fields that must have them.
        free: field -> why nothing published depends on it.
        data: what was read.
    """

    settings: Any
    fixed: tuple[str, ...]
    free: Mapping[str, str]
    data: tuple[KnownData, ...] = ()


def departure(
    config: Any, publication: Publication, read: Mapping[str, Any] | None = None, others: Sequence[str] = ()
) -> str:
    """Return in what a run departs from a publication, one sentence without its stop; "" for nothing.

    Args:
        config: of the run.
        publication: what it is compared with.
        read: what the run says of the data that it read, by the names of `KnownData.sums`; None: nothing.
        others: departures that no field shows.

    >>> from collapse_jax.studies.gaussian.config import GaussianConfig
    >>> theorem = Publication(GaussianConfig(), ("estimator",), {})
    >>> departure(GaussianConfig(estimator="mle"), theorem)
    'published: estimator = unbiased, here mle'
    """
    settings = publication.settings
    pairs = [(name, getattr(settings, name), getattr(config, name)) for name in publication.fixed]
    told = [*others, *(f"{name} = {_said(old)}, here {_said(new)}" for name, old, new in pairs if old != new)]
    if publication.data and read is None:
        told.append("which data were read is not recorded")
    elif read is not None:
        told += [_other(known, read) for known in publication.data if _wrong(known, read)]
    return f"published: {'; '.join(told)}" if told else ""


def data_read(dataset: xr.Dataset) -> dict[str, Any] | None:
    """Return what a run says of the data that it read, from the attribute `data` of its records; None for nothing."""
    told = dataset.attrs.get("data")
    return None if told is None else json.loads(told)


def _wrong(known: KnownData, read: Mapping[str, Any]) -> list[str]:
    return [name for name, values in known.sums.items() if read.get(name) not in values]


def _other(known: KnownData, read: Mapping[str, Any]) -> str:
    """Return what is wrong with data that are not the known ones."""
    wrong = _wrong(known, read)
    told = [str(read[name]) for name in wrong if name in read and not _CHECK_SUM.fullmatch(str(read[name]))]
    if told:
        return f"{known.what}, here {', '.join(told)}"
    here = f"another check sum ({', '.join(wrong)})" if any(name in read for name in wrong) else "other data"
    return f"{known.what}, here {here}"


def _said(value: Any) -> str:
    """Return a value as a reader knows it from the command line."""
    if value is None:
        return "left out"
    if isinstance(value, tuple):
        value = " ".join(f"{item}" for item in value) or "none"
    return f"{value}"[:_MOST_SAID]
