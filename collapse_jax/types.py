"""The few aliases that every signature uses."""

from typing import Any, TypeAlias

import jax
from jaxtyping import Key as _Key

Array: TypeAlias = jax.Array
ArrayLike: TypeAlias = jax.typing.ArrayLike
Key: TypeAlias = _Key[jax.Array, ""]
Params: TypeAlias = Any  # any pytree of arrays
PyTree: TypeAlias = Any
