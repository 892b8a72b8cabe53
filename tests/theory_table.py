"""Writes docs/theory.md: every closed form, with what it returns and where it is from, as its docstring says.

    .venv/bin/python tests/theory_table.py
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from collapse_jax import theory

PAGE = Path(__file__).parent.parent / "docs" / "theory.md"
_INTRODUCTION = """# Every closed form

`from collapse_jax import theory`, then for example `theory.gaussian.variance_mean(num_fits=50, num_samples=100,
ddof=0)`. n counts fits, so that model g of a chain has n = g + 1. Called with numbers, a law checks that they lie
in its domain, computes in float64, and gives the limit at an edge where there is one; under `jit` and `vmap` it
computes in JAX's precision, by forms that do not cancel. `collapse-jax verify` compares them with simulations; the
tests compare them with their mathematics in 80 digits.

Made by `.venv/bin/python tests/theory_table.py` from the docstrings, which say more: conditions, units, what was
printed wrongly elsewhere. Where no source is named, a law is elementary, or follows from those beside it.
"""


def laws() -> Iterator[tuple[str, Callable]]:
    """Yield every closed form with the module it is in, in the order of the source."""
    for found in pkgutil.iter_modules(theory.__path__):
        module = importlib.import_module(f"{theory.__name__}.{found.name}")
        own = [f for f in vars(module).values() if hasattr(f, "domain") and f.__module__ == module.__name__]
        for function in sorted(own, key=lambda f: inspect.unwrap(f).__code__.co_firstlineno):
            yield found.name, function


def page() -> str:
    """Return the page."""
    parts, last = [_INTRODUCTION], ""
    for module, function in laws():
        if module != last:
            about = inspect.getdoc(inspect.getmodule(function)).split("\n\n")[0].replace("\n", " ")
            parts.append(f"## {module}\n\n{about}\n\n| law | returns | source |\n|---|---|---|")
            last = module
        parts[-1] += f"\n{_row(function)}"
    return "\n\n".join(part.rstrip() for part in parts).replace("\n\n\n", "\n\n") + "\n"


def _row(function: Callable) -> str:
    text = re.sub(r"\s+", " ", inspect.getdoc(function) or "")
    told = re.sub(r"\s+", " ", (inspect.getdoc(function) or "").split("\n\n")[0]).removeprefix("Return ")
    sources = re.findall(r"Reference: (.*?\(\d{4}[^)]*\)[^.;]*)", text)
    told = re.sub(r"\s*Reference: .*", "", told)
    told = re.sub(r"(?<!\.)\.$", "", told)
    cells = (f"`{function.__name__}({', '.join(inspect.signature(function).parameters)})`", told, "; ".join(sources))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
