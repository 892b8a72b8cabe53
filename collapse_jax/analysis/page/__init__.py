"""Pages of one file: templates that inline their style and script, and escape whatever they show."""

from collections.abc import Callable
from pathlib import Path

import jinja2

from collapse_jax.files.writing import write_atomically

Undefined = jinja2.UndefinedError
"""A template names what it was not given."""


def template(name: str, *, number: Callable[[float], str]) -> jinja2.Template:
    """Return a template of this folder; what it names and is not given is an error.

    Args:
        name: of its file.
        number: how its filter of that name shows a number.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    return environment.get_template(name)


def write_page(path: Path, page: str) -> None:
    """Write a page as UTF-8, durably; of a path with bytes that are no UTF-8 these are shown as escapes."""
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8", errors="backslashreplace"))
