"""The protocol: what a model, a regime and a metric are, and the chain they make.

One generation is

    training = regime.update(synthetic);  params = model.fit(training);  synthetic = model.sample(params)

and generation 0 is model 0 fitted to the real data.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from jaxtyping import Int

from collapse_jax.numerics.frame import Frame
from collapse_jax.types import Array, Key, Params, PyTree


class Model(NamedTuple):
    """How parameters are fitted to data, and how data are drawn from parameters.

    Attributes:
        init: (key, real) -> params, a starting point: k-means++, random weights, a checkpoint.
        fit: (key, params, data) -> (params, info); `params` are the previous generation's, which a
            cold start ignores. `info` is a dict of arrays that the record reports.
        sample: (key, params, num_samples) -> data.
        frame: params -> Frame, for models that draw and fit in moving coordinates; None means data units.
        on_host: fit and sample are Python that JAX cannot trace, params NumPy arrays; for the host driver.
    """

    init: Callable[[Key, Any], Params]
    fit: Callable[[Key, Params, Any], tuple[Params, dict[str, Array]]]
    sample: Callable[[Key, Params, int], Any]
    frame: Callable[[Params], Frame] | None = None
    on_host: bool = False

    def __repr__(self) -> str:
        """Return what the model is, by the function that made it."""
        return f"<model {_maker(self.sample)}{' in Python' if self.on_host else ''}>"


class Regime(NamedTuple):
    """What the next generation trains on.

    Attributes:
        init: (real, synthetic) -> state; `synthetic` has the shape of a generation's draw, its values
            are not to be read.
        update: (key, synthetic, state) -> (training, state). Data kept in `state` are always in the
            coordinates of `synthetic`: the chain moves them when the frame changes.
        max_generations: how many generations the state has room for; None means any number.
    """

    init: Callable[[Any, Any], PyTree]
    update: Callable[[Key, Any, PyTree], tuple[Any, PyTree]]
    max_generations: int | None = None

    def __repr__(self) -> str:
        """Return what the regime is, by the function that made it."""
        room = "" if self.max_generations is None else f", room for {self.max_generations} generations"
        return f"<regime {_maker(self.update)}{room}>"


class Snapshot(NamedTuple):
    """What a metric sees of a generation.

    Attributes:
        generation: its number.
        params: model g.
        origin: model 0.
        synthetic: what model g drew.
        training: what model g was fitted to.
    """

    generation: Int[Array, ""]
    params: Params
    origin: Params
    synthetic: Any
    training: Any


class Metric(NamedTuple):
    """A number, or an array of them, recorded of every generation.

    Attributes:
        name: the variable's name in the results.
        dims: names of the axes of one value; () for a scalar.
        unit: for example "nats", "data units", "1".
        function: (key, snapshot) -> array.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    function: Callable[[Key, Snapshot], Array]


Record = dict[str, Array]


class State(NamedTuple):
    """What a chain carries from one generation to the next."""

    generation: Int[Array, ""]
    params: Params
    origin: Params
    synthetic: Any
    regime: PyTree


class Composite(NamedTuple):
    """What a chain of several chains carries: their states, and the generation that all are in."""

    generation: Int[Array, ""]
    members: Any


Carried = State | Composite


class Call(NamedTuple):
    """What a generation asks of whoever runs it: the value of `function(*args)`.

    Attributes:
        phase: "fit", "sample" or "measure".
        function: `fit`, `sample`, or what records the metrics.
        args: what it is called with.
    """

    phase: str
    function: Callable[..., Any]
    args: tuple[Any, ...]


class Chain(NamedTuple):
    """Model, regime and metrics over real data, ready to run.

    Attributes:
        init: key -> (state, record): model 0, fitted to the real data, and what it draws.
        step: (key, state) -> (state, record): one generation. Use each key once.
        metrics: what the record holds beside the fit's info and `is_finite`.
        max_generations: how many generations the regime has room for; None means any number.
        calls: (key, state) -> generator of `Call`, which is sent the answers and returns what `step` returns, or
            what `init` returns where state is None. For the host driver; None means that a step is one piece.
        on_host: only the host driver can run it; see `Model`.
        told: what it is, in words.
    """

    init: Callable[[Key], tuple[Carried, Record]]
    step: Callable[[Key, Any], tuple[Carried, Record]]
    metrics: tuple[Metric, ...]
    max_generations: int | None = None
    calls: Callable[[Key, Any], Generator[Call, Any, tuple[State, Record]]] | None = None
    on_host: bool = False
    told: str = ""

    def __repr__(self) -> str:
        """Return what the chain is."""
        names = ", ".join(metric.name for metric in self.metrics) or "nothing"
        room = "" if self.max_generations is None else f"; at most {self.max_generations} generations"
        return f"<chain {self.told or 'of its own making'}; records {names}{room}>"


def run_whole(calls: Generator[Call, Any, Any]) -> Any:
    """Return what a generation returns, each of its calls answered at once."""
    answer = None
    try:
        while True:
            call = calls.send(answer)
            answer = call.function(*call.args)
    except StopIteration as stop:
        return stop.value


def _maker(function: Any) -> str:
    """Return the name of the factory that a function was defined in, or its own."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name.split(".<locals>")[0].lstrip("_") or "unnamed"
