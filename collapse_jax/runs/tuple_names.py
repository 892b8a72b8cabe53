"""Names of NamedTuples on disk: the project's own by a table, so that a class may move; others by where they live.

Nothing is imported because a file says so: what a file names is either in the table below, or public in optax, or in
a module that whoever reads the file has imported already.
"""

import importlib
import sys
from typing import Any

_OURS = {
    "State": "core.protocol",
    "Composite": "core.protocol",
    "Samples": "core.data",
    "Blend": "core.streams",
    "Moments": "core.statistics",
    "Sums": "core.statistics",
    "Frame": "numerics.frame",
    "Components": "numerics.em",
    "Largest": "models.one_parameter",
    "GaussianParams": "models.gaussian",
    "KDEParams": "models.kde",
    "LanguageParams": "models.language",
    "_Fit": "models.language",
    "_Writing": "models.language",
    "MixtureParams": "models.mixture",
    "NormalEquations": "models.regression",
    "RegressionParams": "models.regression",
    "Training": "models.vae",
    "Linear": "networks.vae",
    "MLP": "networks.vae",
    "ConvNet": "networks.vae",
    "Classifier": "networks.classifier",
    "Cache": "networks.opt.model",
}


def name_of(kind: type) -> str:
    """Return the name that a file gives to a NamedTuple.

    >>> from collapse_jax.core.data import Samples
    >>> name_of(Samples)
    'Samples'
    """
    home, name = kind.__module__, kind.__qualname__
    if home == f"collapse_jax.{_OURS.get(name)}":
        return name
    if home.startswith("optax.") and getattr(sys.modules["optax"], name, None) is kind:
        return f"optax.{name}"
    return f"{home}:{name}"


def kind_of(name: object) -> Any:
    """Return the NamedTuple of a name.

    Raises:
        ValueError: there is none of that name here.
    """
    found: Any = None
    if not isinstance(name, str):
        found = None
    elif name in _OURS:
        found = getattr(importlib.import_module(f"collapse_jax.{_OURS[name]}"), name)
    elif name.startswith("optax.") and name.isprintable() and name.count(".") == 1:
        found = getattr(importlib.import_module("optax"), name.removeprefix("optax."), None)
    elif ":" in name:
        home, _, path = name.partition(":")
        found = sys.modules.get(home)
        for part in path.split("."):
            found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")):
        raise ValueError(
            f"the checkpoint needs the NamedTuple {name}, which is not there; resume from the program that made it."
        )
    return found
