"""A study of one's own: a Python file is read, checked, and whatever it raises becomes a sentence with its line.

The file has `Config`, a dataclass, and `chain(config) -> Chain` or `build(config) -> Plan`; it may have `PRESETS`,
`figures(config, dataset)`, `evidence(config, dataset)`, `answer(config, dataset)` and `remarks(config)`. The first line
of its docstring is the title. JAX is imported only if the file does.
"""

import ast
import dataclasses
import sys
import traceback
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from collapse_jax.drivers.machine import not_started
from collapse_jax.files.reading import TOLD, absolute, digest_of, is_there, read_bytes
from collapse_jax.validation import nearest

_EXAMPLES = {"generations": 20, "seeds": 8, "seed": 0}
_OPTIONS = (  # of the command line
    "axis", "claims", "coordinator", "distributed", "help", "json", "keep_states", "num_processes", "out", "overwrite",
    "preset", "process_id", "quiet", "record_every",
)  # fmt: skip


class UserFile(NamedTuple):
    """A study's file as it was when it was read.

    Attributes:
        path: where it is, absolute.
        source: its bytes.
        module: what they made.
    """

    path: Path
    source: bytes
    module: ModuleType

    @property
    def digest(self) -> str:
        """Check sum of the bytes."""
        return short_digest(self.source)

    @property
    def title(self) -> str:
        """The first line of the docstring, or the file's name."""
        lines = (self.module.__doc__ or "").strip().splitlines()
        return lines[0].strip().rstrip(".") if lines else self.path.stem

    def versions(self) -> dict[str, str]:
        """Return the versions of the distributions that the file itself imports: they decide its bits, too."""
        imports = [node for node in ast.walk(ast.parse(self.source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
        homes = packages_distributions()
        found = {home for name in names for home in homes.get(name.split(".")[0], ())}
        return {home: version(home) for home in sorted(found)}


def short_digest(source: bytes) -> str:
    """Return the check sum by which a changed file is told."""
    return digest_of(source)[:16]


def load_file(name: str, digest: str = "") -> UserFile:
    """Return a study's file, run as a module of one name wherever it lies, so that checkpoints find its classes.

    Args:
        name: its path, from here or absolute.
        digest: what the file was when a run began; if this process has read it so, that is kept: a change to the file
            while a run is under way changes nothing of it.

    Raises:
        ValueError: it is not there, cannot be run, or lacks what a study needs.
    """
    path = absolute(name)
    module_name = f"study_{path.stem}"
    known: UserFile | None = getattr(sys.modules.get(module_name), "__own__", None)
    if known is not None and (known.path, known.digest) == (path, digest):
        return known
    if not is_there(path):
        others = sorted(file.name for file in path.parent.glob("*.py")) if path.parent.is_dir() else []
        remedy = nearest(path.name, others) if others else "name a Python file, or a study of `collapse-jax list`."
        raise ValueError(f"there is no file {path}; {remedy}")
    source = read_bytes(path, TOLD, "name a Python file")
    if known is not None and (known.path, known.source) == (path, source):
        return known
    own = UserFile(path, source, ModuleType(module_name))
    _run(own)
    _check(own)
    own.module.__own__ = own  # type: ignore[attr-defined]
    return own


def presets_of(own: UserFile) -> dict[str, Any]:
    """Return the file's presets; without any, the defaults of `Config` are the preset "default".

    Raises:
        ValueError: `PRESETS` is no such dict, or a field of `Config` has no default.
    """
    config = own.module.Config
    presets = getattr(own.module, "PRESETS", None)
    if presets is None:
        missing = [field.name for field in dataclasses.fields(config) if _has_no_default(field)]
        if missing:
            raise ValueError(
                f"`{missing[0]}` of `Config` in {own.path} has no default; give it one, or add "
                "PRESETS = {'default': Config(...)}."
            )
        with blamed(own.path, "mend it"):
            return {"default": config()}
    good = isinstance(presets, dict) and presets and all(isinstance(preset, config) for preset in presets.values())
    if not good:
        raise ValueError(f"`PRESETS` in {own.path} must be a dict of name to Config(...); write it so, or drop it.")
    return presets


@contextmanager
def blamed(path: Path | None, remedy: str) -> Iterator[None]:
    """Turn what a file raises into one sentence with its line; without a file let it pass.

    Args:
        path: the file.
        remedy: ends the sentence, unless that has one.

    Raises:
        ValueError: something was raised within.
    """
    try:
        yield
    except BaseException as error:  # a file may raise anything
        if path is None or isinstance(error, KeyboardInterrupt):
            raise
        if told := not_started(error):
            raise ValueError(told) from error
        told = said(error)
        if isinstance(error, ModuleNotFoundError):
            remedy = "install it where collapse-jax is installed, or put its file beside the study's"
        ending = "" if told.endswith(".") else f"; {remedy}."
        raise ValueError(f"{place_in(error, path) or path}: {told}{ending}") from error


def place_in(error: BaseException, path: Path) -> str:
    """Return the last line of a file that an error passed, "" where it passed none."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {lines[-1]} of {path}" if lines else ""


def said(error: BaseException) -> str:
    """Return the first line of what an error says, with its name where that tells more."""
    lines = error.msg.splitlines() if isinstance(error, SyntaxError) else str(error).splitlines()
    if lines and isinstance(error, ValueError | TypeError | SyntaxError | ImportError):
        return lines[0]
    return ": ".join([type(error).__name__, *lines[:1]])


def _run(own: UserFile) -> None:
    module, path = own.module, own.path
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # what lies beside it can be imported, as by `python FILE`
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses look there for their module
    try:
        with blamed(path, "mend it; COLLAPSE_JAX_TRACEBACK=1 shows more"):
            exec(compile(own.source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        raise


def _check(own: UserFile) -> None:
    """Refuse a file that lacks what a study needs."""
    module, path = own.module, own.path
    config = getattr(module, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise ValueError(
            f"{path} has no dataclass `Config`; add @dataclass(frozen=True) class Config with {', '.join(_EXAMPLES)} "
            "and whatever else can be chosen."
        )
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"`Config` in {path} may be changed while it runs; write @dataclass(frozen=True) above it.")
    fields = [field.name for field in dataclasses.fields(config)]
    for name, example in _EXAMPLES.items():
        if name not in fields:
            raise ValueError(f"`Config` in {path} has no field `{name}`; add {name}: int = {example}.")
    for name in fields:
        if name in _OPTIONS:
            raise ValueError(f"`Config` in {path} has a field `{name}`, which is an option of the command; rename it.")
    with blamed(path, "mend the annotations of `Config`"):
        typing.get_type_hints(config)
    makers = [name for name in ("chain", "build") if callable(getattr(module, name, None))]
    if len(makers) != 1:
        found = "has both `chain` and `build`; keep one" if makers else "has no function `chain`"
        raise ValueError(f"{path} {found}; `chain(config)` returns what build_chain(...) does.")


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
