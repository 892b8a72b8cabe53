"""Two chains on the same seeds, which differ in the tolerance of EM alone.

Both meet the same real data and the same k-means starts, so what their records differ by is EM's stopping error
and what has grown from it.
"""

from typing import Any

from collapse_jax.core.protocol import Chain, Composite, Record, Snapshot
from collapse_jax.types import Key

TIGHT = "tight_"
_COMPARED = ("log_l2_origin", "log_l2_truth", "em_steps", "converged", "log_likelihood")


def beside_tight(chain: Chain, tight: Chain) -> Chain:
    """Return the chain that takes a step of each of the two, with the same key.

    Its record is that of `chain` and, under names that begin with "tight_", how far the models of `tight` are
    from their generation 0 and from the truth and how their EM ended; `log_l2_between` is the distance between
    the two models of a generation, nats. At generation 0 both are fitted to the same points: that is EM's
    stopping error alone; once both have collapsed far below the data's scale, it is NaN.

    Args:
        chain: of the mixture study, with the metrics of `mixture_metrics`.
        tight: the same with a smaller tolerance.
    """
    described = {metric.name: metric for metric in chain.metrics}
    between = described["log_l2_origin"]._replace(name="log_l2_between")

    def together(key: Key, first: tuple[Any, Record], second: tuple[Any, Record]) -> tuple[Composite, Record]:
        (state, record), (tight_state, tight_record) = first, second
        joined = {**record, **{TIGHT + name: tight_record[name] for name in _COMPARED}}
        joined["is_finite"] = record["is_finite"] & tight_record["is_finite"]
        # the distance to an origin, with the other chain's model in the origin's place
        pair = Snapshot(state.generation, state.params, tight_state.params, state.synthetic, state.synthetic)
        joined[between.name] = between.function(key, pair)
        return Composite(state.generation, (state, tight_state)), joined

    def init(key: Key) -> tuple[Composite, Record]:
        return together(key, chain.init(key), tight.init(key))

    def step(key: Key, state: Composite) -> tuple[Composite, Record]:
        loose_state, tight_state = state.members
        return together(key, chain.step(key, loose_state), tight.step(key, tight_state))

    named = [described[name]._replace(name=TIGHT + name) for name in _COMPARED if name in described]
    return Chain(init, step, (*chain.metrics, *named, between), chain.max_generations)
