"""The studies by name, without importing JAX: configurations, presets, and where the work is done.

An entry is what is known of a study before JAX is loaded; `load` returns the study itself, see `study`. A name that
ends in ".py" is a user's file; see `user_file`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from collapse_jax.studies.diffusion.config import PRESETS as DIFFUSION_PRESETS
from collapse_jax.studies.diffusion.config import DiffusionCell
from collapse_jax.studies.gaussian.config import PRESETS as GAUSSIAN_PRESETS
from collapse_jax.studies.gaussian.config import GaussianCell
from collapse_jax.studies.gmm.config import PRESETS as GMM_PRESETS
from collapse_jax.studies.numbers.config import PRESETS as NUMBERS_PRESETS
from collapse_jax.studies.opt.config import PRESETS as OPT_PRESETS
from collapse_jax.studies.user_file import UserFile, blamed, load_file, presets_of
from collapse_jax.studies.vae.config import PRESETS as VAE_PRESETS
from collapse_jax.studies.web.config import PRESETS as WEB_PRESETS
from collapse_jax.studies.web.config import WebCell
from collapse_jax.validation import check_count, check_seed, nearest, shown


class Entry(NamedTuple):
    """What is known of a study without JAX.

    Attributes:
        name: by which the command knows it.
        title: of its report.
        presets: name -> configuration, an instance of a dataclass.
        home: the module with the study's functions.
        cell: configuration of one chain, where a sweep is around that and not around a preset.
        file: the user's; None for a study of the package.
        weight: about its share of the time of `reproduce`, for the time left of studies that have not begun.
    """

    name: str
    title: str
    presets: dict[str, Any]
    home: str
    cell: Any = None
    file: UserFile | None = None
    weight: float = 1.0

    @property
    def default(self) -> str:
        """The preset that is meant where none is named: of a file its first."""
        return "laptop" if self.file is None else next(iter(self.presets))

    def preset(self, name: str) -> Any:
        """Return the configuration of a preset.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self.presets:
            raise ValueError(f"study '{self.name}' has no preset '{name}'; {nearest(name, self.presets)}")
        return self.presets[name]

    @property
    def path(self) -> Path | None:
        """Where the user's file is; None for a study of the package."""
        return None if self.file is None else self.file.path

    def config_from(self, fields: dict[str, Any]) -> Any:
        """Return a configuration from the fields that a run stored as JSON.

        Raises:
            ValueError: a value is not of its field's type.
        """
        with blamed(self.path, "mend `Config`"):
            return _filled(tuple(self.presets.values()), fields)

    def cell_from(self, fields: dict[str, Any]) -> Any:
        """Return the configuration that a sweep is around, from the fields that it stored as JSON."""
        return self.config_from(fields) if self.cell is None else _filled((self.cell,), fields)


def check_counts(config: Any) -> None:
    """Refuse what no run can be planned with, whether it was typed or lies in a directory."""
    for name in ("generations", "seeds", "lanes"):
        check_count(name, getattr(config, name, 1))
    check_seed("seed", config.seed)


def _filled(examples: tuple, fields: dict[str, Any]) -> Any:
    """Return a configuration as the examples are, of these fields."""
    kind = type(examples[0])
    hints = get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)} & set(fields)
    lists = {
        name: tuple(fields[name]) if isinstance(fields[name], list) else fields[name]
        for name in sorted(known)
    }
    for name, value in lists.items():
        if not is_of(value, hints[name]) and value not in [getattr(example, name) for example in examples]:
            raise ValueError(
                f"`{name}` must be {_told(hints[name])}, got {shown(value)}; mend it, or begin a new run."
            )
    return kind(**lists)


def _told(hint: Any) -> str:
    return (
        hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    )


def is_of(value: Any, hint: Any) -> bool:
    """True where a value is of the type that a field was given; of a type that JSON has not, always.

    >>> is_of((1, 2), tuple[int, ...]), is_of(1, float), is_of(True, int), is_of(None, int | None)
    (True, True, False, True)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value is part or (type(value) is type(part) and value == part) for part in parts)
    if origin in (Union, UnionType):
        return any(is_of(value, part) for part in parts)
    if origin is tuple and len(parts) == 2 and parts[1] is ...:
        return isinstance(value, tuple) and all(is_of(member, parts[0]) for member in value)
    if hint is float:
        return isinstance(value, float) or type(value) is int
    return type(value) is hint if hint in (int, str, bool, type(None)) else True


STUDIES = {
    study.name: study
    for study in (
        Entry(
            "gaussian",
            "A Gaussian refitted to its own samples",
            GAUSSIAN_PRESETS,
            "collapse_jax.studies.gaussian.study",
            GaussianCell(),
        ),
        Entry(
            "gmm",
            "Gaussian mixtures refitted to their own samples",
            GMM_PRESETS,
            "collapse_jax.studies.gmm.study",
        ),
        Entry(
            "vae", "Autoencoders retrained on their own digits", VAE_PRESETS, "collapse_jax.studies.vae.study"
        ),
        Entry(
            "diffusion",
            "Diffusion and flow models on their own samples",
            DIFFUSION_PRESETS,
            "collapse_jax.studies.diffusion.study",
            DiffusionCell(),
        ),
        Entry(
            "web", "Labs on a web that they fill", WEB_PRESETS, "collapse_jax.studies.web.study", WebCell()
        ),
        Entry(
            "opt", "OPT fine-tuned on what OPT wrote", OPT_PRESETS, "collapse_jax.studies.opt.study", weight=3.0
        ),
    )
}


# of numbers of one's own: not among those that `reproduce` runs
NUMBERS = Entry(
    "numbers", "Numbers of one's own, refitted to what the fit draws", NUMBERS_PRESETS,
    "collapse_jax.studies.numbers.study",
)  # fmt: skip
MODELS_OF_NUMBERS = ("gaussian", "gmm", "kde")


def find_study(name: str, digest: str = "") -> Entry:
    """Return the study of that name, or that of a Python file.

    Args:
        name: of a study, or the path of a file, which ends in ".py".
        digest: of that file when a run began; see `load_file`.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    >>> find_study("gmn")
    Traceback (most recent call last):
    ...
    ValueError: there is no study 'gmn'; did you mean 'gmm'? There are: gaussian, gmm, vae, diffusion, web, opt.
    """
    if name in STUDIES:
        return STUDIES[name]
    if name == NUMBERS.name:
        return NUMBERS
    if name in MODELS_OF_NUMBERS:
        raise ValueError(f"'{name}' is a model of numbers of your own; name their table: --data FILE.csv.")
    if name.endswith(".py") or len(Path(name).parts) > 1:
        file = load_file(name, digest)
        return Entry(file.path.stem, file.title, presets_of(file), file.module.__name__, file=file)
    beside = Path(f"{name}.py")
    raise ValueError(
        f"there is no study '{name}'; "
        + (f"for the file of that name write {beside}." if beside.is_file() else nearest(name, STUDIES))
    )


def study_of(description: Mapping[str, Any]) -> Entry:
    """Return the study that a run is of, from what its `config.json` says.

    Raises:
        ValueError: it is no longer there.
    """
    told = description.get("file")
    return find_study(description["study"]) if told is None else find_study(told["path"], told["digest"])
