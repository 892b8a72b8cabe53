"""One law checked: a simulated mean with its standard error beside its prediction."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.chain import Chain, Record
from collapse_jax.types import Array, Key

MAX_Z = 5.0


class Check(NamedTuple):
    """What a simulation says about a law.

    Attributes:
        section: where the law stands in the theory, for example "gaussian, replace".
        law: the statement, in a few words.
        simulated: mean over runs.
        error: its standard error.
        predicted: by `theory`.
    """

    section: str
    law: str
    simulated: float
    error: float
    predicted: float

    @property
    def z(self) -> float:
        """(simulated - predicted) / error; infinite when both agree on nothing and the error is 0."""
        gap = self.simulated - self.predicted
        if self.error > 0:
            return gap / self.error
        return 0.0 if abs(gap) <= 1e-6 * max(1.0, abs(self.predicted)) else float("inf")

    @property
    def detects(self) -> float:
        """The smallest deviation that would have failed, as a share of the prediction, or of 1 where it is 0."""
        return MAX_Z * self.error / (abs(self.predicted) or 1.0)

    @property
    def holds(self) -> bool:
        """True when |z| < 5; a number that is not finite never holds."""
        return bool(abs(self.z) < MAX_Z)


def check(section: str, law: str, values: Any, predicted: Any) -> Check:
    """Return the check of a mean over runs; `values` has one number per run."""
    values = np.asarray(values, np.float64).reshape(-1)
    error = float(values.std(ddof=1) / np.sqrt(values.size))
    return Check(section, law, float(values.mean()), error, float(predicted))


def check_variance(section: str, law: str, values: Any, predicted: Any) -> Check:
    """Return the check of a variance over runs, with the standard error that its fourth moment gives."""
    values = np.asarray(values, np.float64).reshape(-1)
    squares = (values - values.mean()) ** 2 * values.size / (values.size - 1)
    return check(section, law, squares, predicted)


def check_exact(section: str, law: str, value: Any, predicted: Any) -> Check:
    """Return the check of an identity: no sampling error."""
    return Check(section, law, float(value), 0.0, float(predicted))


def run_all(chains: dict[str, Chain], key: Key, num_runs: int, num_generations: int) -> dict[str, Any]:
    """Return the records of several chains, NumPy [num_runs, num_generations + 1, ...], by one compiled program.

    Runs are independent; chains share seeds, not randomness.
    """
    keys = jax.random.split(key, num_runs)
    return jax.tree.map(np.asarray, _simulate(tuple(chains.items()), keys, num_generations))


@partial(jax.jit, static_argnums=(0, 2))
def _simulate(chains: tuple[tuple[str, Chain], ...], keys: Array, num_generations: int) -> dict[str, Record]:
    def lane(key: Key) -> dict[str, Record]:
        records = {}
        for index, (name, chain) in enumerate(chains):
            key_init, key_steps = jax.random.split(jax.random.fold_in(key, index))
            state, first = chain.init(key_init)

            def step(
                state: Any, generation: jax.Array, chain: Chain = chain, key: Key = key_steps
            ) -> tuple[Any, Record]:
                return chain.step(jax.random.fold_in(key, generation), state)

            _, later = jax.lax.scan(step, state, jnp.arange(num_generations))
            records[name] = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)
        return records

    return jax.vmap(lane)(keys)
