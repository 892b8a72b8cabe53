"""A study of one's own as a run sees it: what its file leaves out is filled in."""

from typing import Any

import xarray as xr

from collapse_jax.analysis.answers import general_answer
from collapse_jax.analysis.claims import Evidence
from collapse_jax.analysis.plots import plot
from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.compiled import DEFAULT_LANES
from collapse_jax.drivers.results import to_dataset
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.user_file import OwnFile, blamed

_LOOKS = 20  # segments of a run whose chains are compiled


class Own:
    """What a study's module is to a run: it builds, draws and judges."""

    def __init__(self, own: OwnFile) -> None:
        self.path, self.module = own.path, own.module

    def build(self, config: Any) -> Plan:
        """Return the file's plan, or one arm of its chain.

        Raises:
            ValueError: the file's `chain` or `build` raises something, or returns something else.
        """
        maker = "chain" if hasattr(self.module, "chain") else "build"
        function = getattr(self.module, maker)
        with blamed(self.path, f"mend `{maker}`"):
            made = function(config)
            if maker == "build" and isinstance(made, Plan):
                return made._replace(on_host=made.on_host or any(arm.chain.on_host for arm in made.arms))
            if maker == "chain" and isinstance(made, Chain):
                return _plan_of(made, config)
            wanted = "a Chain, from build_chain(...)" if maker == "chain" else "a Plan"
            line = f", line {function.__code__.co_firstlineno}," if hasattr(function, "__code__") else ""
            raise TypeError(f"`{maker}`{line} must return {wanted}, got {type(made).__name__}.")

    def figures(self, config: Any, dataset: xr.Dataset) -> list[Illustration]:
        """Return the file's figures, or one of all metrics that are a number."""
        if hasattr(self.module, "figures"):
            return _all_of(Illustration, "figures", self.module.figures(config, dataset))
        plain = [str(name) for name, array in dataset.data_vars.items() if set(array.dims) == {"seed", "generation"}]
        shown = [name for name in plain if dataset[name].dtype.kind in "iuf" and name != "is_finite"]
        if not shown:
            return []
        caption = f"Median over {dataset.sizes['seed']} seeds, and the central 90 % of them."
        return [Illustration("metrics", caption, plot(dataset, *shown))]

    def evidence(self, config: Any, dataset: xr.Dataset) -> list[Evidence]:
        """Return what the file says of its claims; without `evidence` it has none."""
        if not hasattr(self.module, "evidence"):
            return []
        return _all_of(Evidence, "evidence", self.module.evidence(config, dataset))

    def answer(self, config: Any, dataset: xr.Dataset) -> str:
        """Return the file's sentence on what the run found, or how its first metrics have changed."""
        if not hasattr(self.module, "answer"):
            return general_answer(dataset)
        told = self.module.answer(config, dataset)
        if not isinstance(told, str):
            raise TypeError(f"`answer` must return a sentence, got {told!r:.60}.")
        return told

    def remarks(self, config: Any) -> tuple[str, ...]:
        """Return what a reader of the report must know."""
        if not hasattr(self.module, "remarks"):
            return ()
        with blamed(self.path, "mend `remarks`"):
            return tuple(_all_of(str, "remarks", self.module.remarks(config)))


def _plan_of(chain: Chain, config: Any) -> Plan:
    length = max(-(-config.generations // _LOOKS), 1)
    return Plan(
        None, (Arm("chain", chain),), length, getattr(config, "lanes", DEFAULT_LANES), on_host=chain.on_host,
        gather=lambda arms: to_dataset(arms[0] or {}, chain.metrics),
    )  # fmt: skip


def _all_of(kind: type, name: str, found: Any) -> Any:
    if isinstance(found, list | tuple) and all(isinstance(item, kind) for item in found):
        return found
    raise TypeError(f"`{name}` must return a list of {kind.__name__}, got {found!r:.60}.")
