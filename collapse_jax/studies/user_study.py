"""A user's study as a run sees it: what its file leaves out is filled in, and what it returns is checked."""

from collections.abc import Callable
from typing import Any

from collapse_jax.analysis.claims import Evidence
from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.lanes import DEFAULT_LANES
from collapse_jax.drivers.results import to_dataset
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.registry import Entry
from collapse_jax.studies.study import Study
from collapse_jax.studies.user_file import UserFile, blamed

_LOOKS = 20  # segments of a run whose chains are compiled
_LISTS = {"figures": Illustration, "evidence": Evidence, "remarks": str}  # what a function returns a list of


def user_study(entry: Entry, file: UserFile) -> Study:
    """Return the study of a user's file.

    Args:
        entry: of the file.
        file: with `chain(config)` or `build(config)`; it may have `figures`, `evidence`, `answer` and `remarks`.
    """
    given = vars(file.module)
    checked: dict[str, Any] = {
        name: _returns_list(kind, name, given[name]) for name, kind in _LISTS.items() if name in given
    }
    if "answer" in given:
        checked["answer"] = _returns_sentence(given["answer"])
    if "remarks" in given:  # asked for before a run, when nobody else blames the file
        checked["remarks"] = _blaming(file, checked["remarks"])
    return Study(entry, build=_build(file), **checked)


def _build(file: UserFile) -> Callable[[Any], Plan]:
    maker = "chain" if hasattr(file.module, "chain") else "build"
    function = getattr(file.module, maker)

    def build(config: Any) -> Plan:
        """Return the file's plan, or one arm of its chain.

        Raises:
            ValueError: the file's `chain` or `build` raises something, or returns something else.
        """
        with blamed(file.path, f"mend `{maker}`"):
            made = function(config)
            if maker == "build" and isinstance(made, Plan):
                return made._replace(on_host=made.on_host or any(arm.chain.on_host for arm in made.arms))
            if maker == "chain" and isinstance(made, Chain):
                return _plan_of(made, config)
            wanted = "a Chain, from build_chain(...)" if maker == "chain" else "a Plan"
            line = f", line {function.__code__.co_firstlineno}," if hasattr(function, "__code__") else ""
            raise TypeError(f"`{maker}`{line} must return {wanted}, got {type(made).__name__}.")

    return build


def _plan_of(chain: Chain, config: Any) -> Plan:
    length = max(-(-config.generations // _LOOKS), 1)
    return Plan(
        None, (Arm("chain", chain),), length, getattr(config, "lanes", DEFAULT_LANES), on_host=chain.on_host,
        gather=lambda arms: to_dataset(arms[0] or {}, chain.metrics),
    )  # fmt: skip


def _blaming(file: UserFile, function: Callable) -> Callable:
    def asked(config: Any) -> Any:
        with blamed(file.path, f"mend `{function.__name__}`"):
            return function(config)

    return asked


def _returns_list(kind: type, name: str, function: Callable) -> Callable:
    def listed(*args: Any) -> Any:
        found = function(*args)
        if isinstance(found, list | tuple) and all(isinstance(item, kind) for item in found):
            return found
        raise TypeError(f"`{name}` must return a list of {kind.__name__}, got {found!r:.60}.")

    listed.__name__ = name
    return listed


def _returns_sentence(function: Callable) -> Callable:
    def answer(*args: Any) -> str:
        told = function(*args)
        if not isinstance(told, str):
            raise TypeError(f"`answer` must return a sentence, got {told!r:.60}.")
        return told

    return answer
