"""Choices that a device may make worth while, its own random bits and unrolled loops: compared, and nothing changed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from sides import Side

from collapse_jax import build_chain, gaussian_metrics, gaussian_statistics, gaussian_truth, replace
from collapse_jax.types import Array, Key, PyTree
from device_rows.ceilings import CALLS, at_ceiling, copy_ceiling
from device_rows.found import Found, Setting, compiled, measured
from device_rows.language import decoded, sampler, work_of

GENERATORS = ("threefry2x32", "rbg", "unsafe_rbg")


def random_bits(setting: Setting) -> None:
    """Tell of normal draws by each generator: one key, and a key for each of many lanes, as chains have them."""
    num, lanes = (2**16, 2**6) if setting.tiny else (2**28, 2**18)
    for name in GENERATORS:
        key = jax.random.key(0, impl=name)
        keys = jax.random.split(key, lanes)
        one = lambda key: jax.random.normal(key, (num,))  # noqa: E731
        many = jax.vmap(lambda key: jax.random.normal(key, (num // lanes,)))
        setting.tell(_draws(setting, f"{num:,} normal draws of one key, {name}", one, key, num, f"{name}, one key"))
        work = f"{num // lanes:,} normal draws of each of {lanes:,} keys, {name}"
        found = _draws(setting, work, many, keys, num, f"{name}, many keys")
        setting.tell(found._replace(note="; ".join(filter(None, (_alone(name), found.note)))))


def _alone(name: str) -> str:
    """Return whether a lane draws under vmap what it draws alone, as chains promise."""
    keys = jax.random.split(jax.random.key(0, impl=name), 4)
    together = jax.vmap(lambda key: jax.random.bits(key, (8,)))(keys)
    same = all(bool(jnp.array_equal(row, jax.random.bits(key, (8,)))) for row, key in zip(together, keys))
    return "a lane draws what it draws alone" if same else "what a lane draws depends on the lanes beside it"


def _draws(setting: Setting, work: str, draw: Callable, key: Key, num: int, part: str) -> Found:
    program = compiled(draw, key)

    def run() -> object:
        for _ in range(CALLS):
            last = program.run(key)
        return last

    cost = at_ceiling(copy_ceiling(setting), 4)  # each is written once
    return measured(setting, work, "draws", Side("ours", run, num * CALLS), program, cost=cost)._replace(part=part)


def sampling_rbg(setting: Setting) -> None:
    """Tell of sampling by each generator."""
    work = work_of(setting, "tf32", 128)
    for name in GENERATORS[:2]:
        found = decoded(setting, work, f"sampling by {name}", sampler(work), jax.random.key(1, impl=name), None)
        setting.tell(found._replace(part=name))


def unrolled(setting: Setting) -> None:
    """Tell of a chain whose generations are short, its loop unrolled by several numbers."""
    lanes, length = (8, 16) if setting.tiny else (4096, 1024)
    real = gaussian_truth(1).moments_sampler(100)
    chain = build_chain(gaussian_statistics(1), replace(), real, 100, gaussian_metrics()[2:])
    keys = jax.random.split(jax.random.key(0), lanes)
    states = jax.jit(jax.vmap(lambda key: chain.init(key)[0]))(keys)
    for times in (1, 4, 8):
        program = compiled(_loop(chain.step, length, times), keys, states)
        ours = Side("ours", lambda program=program: program.run(keys, states), lanes * length)
        work = f"Gaussian, statistics, {lanes:,} lanes, scan of {length:,} generations, {times} at a time"
        setting.tell(measured(setting, work, "chain-generations", ours, program)._replace(part=f"{times} at a time"))


def _loop(step: Callable, length: int, times: int) -> Callable:
    """Return (keys, states) -> the states after `length` generations of every lane."""

    def run(keys: Key, states: PyTree) -> PyTree:
        def body(states: PyTree, index: Array) -> tuple[PyTree, None]:
            now = jax.vmap(lambda key: jax.random.fold_in(key, index))(keys)
            return jax.vmap(lambda key, state: step(key, state)[0])(now, states), None

        return jax.lax.scan(body, states, jnp.arange(length), unroll=times)[0]

    return run


ROWS = {"random-bits": random_bits, "opt-sample-rbg": sampling_rbg, "unrolled": unrolled}
