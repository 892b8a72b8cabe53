"""Names that a package offers: read from its stub `__init__.pyi`, loaded when they are asked for."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path


def offered(package: str, file: str) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package, which imports nothing by itself.

    Args:
        package: its `__name__`.
        file: its `__file__`; beside it lies `__init__.pyi`, which type checkers read, too. Each of its lines
            `from module import name as name` offers a name, or the module of that name.
    """
    homes = {
        alias.name: node.module or package
        for node in ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def load(name: str) -> object:
        if name not in homes:
            # not for what Python itself asks of a module
            remedy = "" if name.startswith("__") else f"; {_nearest(name, homes)}"
            raise AttributeError(f"module '{package}' has no attribute '{name}'{remedy}")
        home = homes[name]
        module = sys.modules[package] if home == package else importlib.import_module(home)
        value = module.__dict__[name] if name in module.__dict__ else importlib.import_module(f"{home}.{name}")
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return sorted(homes), load, names


def _nearest(name: str, homes: dict[str, str]) -> str:
    from collapse_jax.validation import nearest  # which loads JAX

    return nearest(name, homes)
