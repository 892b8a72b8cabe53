"""What a publication fixes of a study, and in what a run departs from it: that is what its labels are computed from.

Each field of a configuration is either fixed, and compared with the published value, or free, with the reason why
nothing published depends on it. Data are compared by check sums of what was read. Called by the studies' protocols.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

_MOST_SAID = 90  # characters of a value in a sentence


class KnownData(NamedTuple):
    """Data that a publication used.

    Attributes:
        what: their name, with the article.
        by: what tells them: "check sum", "shape".
        sums: record's name -> the value that it has if they were read.
    """

    what: str
    by: str
    sums: Mapping[str, str]


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


def departure(config: Any, publication: Publication, read: Mapping[str, Any] | None = None) -> str:
    """Return in what a run departs from a publication, one sentence without its stop; "" for nothing.

    Args:
        config: of the run.
        publication: what it is compared with.
        read: what the run says of the data that it read, by the names of `KnownData.sums`.

    >>> from collapse_jax.studies.gaussian.config import GaussianConfig
    >>> theorem = Publication(GaussianConfig(), ("estimator",), {})
    >>> departure(GaussianConfig(estimator="mle"), theorem)
    'published: estimator = unbiased, here mle'
    """
    settings = publication.settings
    pairs = [(name, getattr(settings, name), getattr(config, name)) for name in publication.fixed]
    told = [f"{name} = {_said(old)}, here {_said(new)}" for name, old, new in pairs if old != new]
    told += [_other(known, read or {}) for known in publication.data if not _is(known, read or {})]
    return f"published: {'; '.join(told)}" if told else ""


def _is(known: KnownData, read: Mapping[str, Any]) -> bool:
    return all(read.get(name) == value for name, value in known.sums.items())


def _other(known: KnownData, read: Mapping[str, Any]) -> str:
    """Return what is wrong with data that are not the known ones."""
    if not any(name in read for name in known.sums):
        return f"{known.what}, which the run does not say that it read"
    wrong = [name for name, value in known.sums.items() if read.get(name) != value]
    return f"{known.what}, whose {known.by} the data read do not have ({', '.join(wrong)})"


def _said(value: Any) -> str:
    """Return a value as a reader knows it from the command line."""
    if isinstance(value, tuple):
        value = " ".join(f"{item}" for item in value) or "none"
    return f"{value}"[:_MOST_SAID]
