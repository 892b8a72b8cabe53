"""What the device can do at most: matrix products of each precision, and a copy; on random numbers, not on zeros."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sides import Side

from device_rows.found import Found, Program, Setting, compiled, measured

CALLS = 10  # of one timing: they are under way together, so that the host's part is hidden
COPY = "copy"


def ceilings(setting: Setting) -> None:
    """Tell of each product that the device has, and of the copy."""
    products = {"float32": (jnp.float32, "highest"), "bfloat16": (jnp.bfloat16, "default")}
    if on_accelerator():
        products["tf32"] = (jnp.float32, "default")  # what nets use
    for name, (dtype, precision) in products.items():
        setting.tell(_product(setting, name, dtype, precision))
    setting.tell(_copy(setting))


def on_accelerator() -> bool:
    """Return whether JAX's first device is another than the CPU."""
    return jax.devices()[0].platform != "cpu"


def product_ceiling(setting: Setting, precision: str) -> tuple[str, float] | None:
    """Return the name and the operations a second of a matrix product, if they were measured.

    A CPU has no TF32: there it is float32.
    """
    name = precision if on_accelerator() or precision != "tf32" else "float32"
    return _ceiling(setting, name, f"{name} product")


def copy_ceiling(setting: Setting) -> tuple[str, float] | None:
    """Return the name and the bytes a second of a copy, read and written, if they were measured."""
    return _ceiling(setting, COPY, "copy")


def at_ceiling(ceiling: tuple[str, float] | None, amount: float) -> tuple[str, float] | None:
    """Return the ceiling's name and the seconds of so many operations, or bytes, there."""
    return None if ceiling is None else (ceiling[0], amount / ceiling[1])


def binding(*floors: tuple[str, float] | None) -> tuple[str, float] | None:
    """Return the floor that takes longest."""
    known = [floor for floor in floors if floor is not None]
    return max(known, key=lambda floor: floor[1]) if known else None


def _ceiling(setting: Setting, part: str, name: str) -> tuple[str, float] | None:
    rate = setting.before.get(f"ceilings: {part}", {}).get("rate")
    return (name, rate) if rate else None


def _product(setting: Setting, name: str, dtype: Any, precision: str) -> Found:
    size = 512 if setting.tiny else 8192
    a, b = (_normal(seed, (size, size), dtype) for seed in (0, 1))
    program = compiled(lambda a, b: jnp.matmul(a, b, precision=precision), a, b)
    ours = Side("ours", _repeated(program, a, b), 2 * size**3 * CALLS)
    error = _relative_error(program.run(a, b)[:8], a[:8], b)
    note = f"relative error {error:.1e} beside float64"
    found = measured(setting, f"matrix product, {name}, {size:,} x {size:,}", "operations", ours, program, note=note)
    return found._replace(part=name, numbers=found.numbers | {"relative_error": error})


def _copy(setting: Setting) -> Found:
    num = 2**24 if setting.tiny else 2**29
    a = _normal(0, (num,), jnp.float32)
    program = compiled(jnp.negative, a)  # a copy alone would give the same array back
    ours = Side("ours", _repeated(program, a), 2 * a.nbytes * CALLS)
    found = measured(setting, f"copy of {a.nbytes / 2**30:.2g} GiB, negated", "bytes read and written", ours, program)
    return found._replace(part=COPY)


def _normal(seed: int, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def _repeated(program: Program, *arguments: jax.Array) -> Callable[[], object]:
    def run() -> object:
        for _ in range(CALLS):
            last = program.run(*arguments)
        return last

    return run


def _relative_error(rows: jax.Array, a: jax.Array, b: jax.Array) -> float:
    rows, a, b = (np.asarray(part, np.float64) for part in (rows, a, b))
    exact = a @ b
    return float(np.linalg.norm(rows - exact) / np.linalg.norm(exact))


ROWS = {"ceilings": ceilings}
