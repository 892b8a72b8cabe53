"""A study for `test_spanning`: x W = x is learnt in pieces, W in parts on the devices of all processes."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from collapse_jax import Metric, Model, Samples, build_chain, replace
from collapse_jax.core.chunks import Chunked
from collapse_jax.drivers.sharding import Layout, fully_sharded, model_mesh
from collapse_jax.studies.plan import Arm, Plan

SIZE, DIM = 8, 4


@dataclass(frozen=True)
class Config:
    generations: int = 2
    seeds: int = 1
    seed: int = 0


def _linear(layout):
    def start(key, matrix, data):
        return matrix, data.x

    def advance(index, carry):
        matrix, x = carry
        slope = jax.grad(lambda m: jnp.mean(jnp.square(layout.rows(x) @ m - layout.rows(x))))(matrix)
        return layout.state(matrix - 0.3 * slope), x

    def finish(carry):
        return carry[0], {}

    def drawn(key, matrix):
        return layout.everywhere(jax.random.normal(key, (SIZE, DIM)) @ matrix)

    fit = Chunked(layout.compiled(start), layout.compiled(advance), finish, 3)
    draw = layout.compiled(drawn)
    return Model(
        lambda key, real: jnp.eye(DIM) / 2, fit, lambda key, matrix, num: Samples(draw(key, matrix), jnp.ones(num))
    )


def build(config):
    mesh = model_mesh()
    real = lambda key: Samples(jax.random.normal(key, (SIZE, DIM)), jnp.ones(SIZE))  # noqa: E731
    metrics = [Metric("rows", ("row", "column"), "1", lambda key, s: s.synthetic.x)]
    chain = build_chain(_linear(Layout(mesh, fully_sharded)), replace(), real, SIZE, metrics)
    return Plan(None, (Arm("linear", chain),), 1, 1, on_host=True, mesh=mesh)
