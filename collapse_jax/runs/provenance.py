"""Where a result comes from: versions, device, threads, commit; and what of it must not change between two halves."""

import os
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from collapse_jax.drivers.machine import num_threads
from collapse_jax.validation import shown

_RECORDED_VERSIONS = ("collapse-jax", "jax", "jaxlib", "numpy", "optax", "flax", "xarray")
# of JAX: random numbers, precision, types, and what the compiler may do
_SETTINGS = (
    "jax_enable_x64", "jax_threefry_partitionable", "jax_default_prng_impl", "jax_random_seed_offset",
    "jax_threefry_gpu_kernel_lowering", "jax_high_dynamic_range_gumbel", "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion", "jax_allow_f16_reductions", "jax_softmax_custom_jvp",
    "jax_use_direct_linearize", "jax_disable_jit", "jax_debug_nans", "jax_debug_infs",
    "jax_optimization_level", "jax_exec_time_optimization_effort", "jax_memory_fitting_level",
    "jax_memory_fitting_effort", "jax_disable_most_optimizations", "jax_use_shardy_partitioner",
    "jax_enable_pgle",
)  # fmt: skip
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_profile", "--xla_hlo_print")
_PLAIN = (bool, int, float, str, type(None))
_DECIDE_BITS = ("collapse-jax", "jax", "jaxlib", "numpy", "optax", "flax")


def provenance() -> dict[str, Any]:
    """Return versions, device, threads, precision, commit and date."""
    import jax  # here, so that the number of cores can be told without it

    return {
        "versions": {
            **{name: version(name) for name in _RECORDED_VERSIONS},
            "python": platform.python_version(),
        },
        "device": f"{jax.local_devices()[0].device_kind} x {jax.local_device_count()}",
        "device_kind": jax.local_devices()[0].device_kind,
        "threads": num_threads(),
        "x64": bool(jax.config.read("jax_enable_x64")),
        "settings": settings(),
        "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what would give other bits now than `provenance` said before, each as a phrase.

    Of a study of one's own that is also the versions of what its file imports, `file["versions"]`.

    Of JAX's settings see `other_settings`.

    >>> before = {"versions": {"jax": "0.10.2"}, "device_kind": "cpu", "threads": 2}
    >>> differences(before, {**before, "threads": 4})
    ['threads 2, now 4']
    """
    pairs = [(name, before["versions"].get(name), now["versions"].get(name)) for name in _DECIDE_BITS]
    pairs += [(name, before.get(name), now.get(name)) for name in ("device_kind", "threads")]
    imported = [of.get("file", {}).get("versions", {}) for of in (before, now)]
    pairs += [(name, imported[0][name], imported[1].get(name)) for name in imported[0] if name not in _DECIDE_BITS]
    return [f"{name} {old}, now {new}" for name, old, new in pairs if old != new]


def settings() -> dict[str, Any]:
    """Return JAX's settings that decide bits, by the names of `jax.config`, and the variables that XLA reads.

    Those whose value is no number, text or flag are told by what they say of themselves.
    """
    import jax

    known = jax.config.values
    found = {name: getattr(known[name], "value", known[name]) for name in _SETTINGS if name in known}
    plain = {name: value if isinstance(value, _PLAIN) else str(value) for name, value in found.items()}
    return {**plain, **{name: _flags(name) for name in _FLAGS}}


def _flags(name: str) -> str:
    """Return what a variable tells XLA, but for flags that change no bit; the last of each counts."""
    flags = {flag.split("=")[0]: flag for flag in os.environ.get(name, "").split()}
    return " ".join(flags[key] for key in sorted(flags) if not key.startswith(_HARMLESS))


def other_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the settings that were others, by name: the value that `provenance` said before, and that of `now`.

    Of runs that were begun before settings were written down, only double precision is known.

    >>> other_settings({"x64": True}, {"jax_enable_x64": False, "jax_threefry_partitionable": True})
    [('jax_enable_x64', True, False)]
    """
    known = {"jax_enable_x64": before["x64"]} if "x64" in before else {}
    known |= before.get("settings", {})
    return [(name, old, now[name]) for name, old in known.items() if name in now and old != now[name]]


def check_settings(path: Path, description: Mapping[str, Any], despite: bool) -> None:
    """Refuse to go on with a run under settings of JAX that would give other bits.

    Args:
        path: of the run.
        description: what it says of itself.
        despite: whether other bits are asked for.

    Raises:
        ValueError: a setting is another.
    """
    found = other_settings(description, settings())
    if found and not despite:
        changed = "; ".join(f"{name} {shown(old)}, now {shown(new)}" for name, old, new in found)
        again = " ".join(shlex.quote(set_again(setting)[:200]) for setting in found)
        raise ValueError(
            f"{path} was begun under other settings of JAX ({changed}), so its bits could not be kept; go on under "
            f"those ({again} in the environment, or as the study's file set them), or add --despite-differences to go "
            "on under these, in the same law."
        )


def set_again(changed: tuple[str, Any, Any]) -> str:
    """Return how a setting is given the value that it had.

    >>> set_again(("jax_threefry_partitionable", False, True)), set_again(("XLA_FLAGS", "", "--xla_gpu_ftz=true"))
    ('JAX_THREEFRY_PARTITIONABLE=False', 'XLA_FLAGS=')
    """
    name, old, _ = changed
    return f"{name.upper()}={'' if old is None else old}"



def commit() -> str | None:
    """Return the commit of the source tree this package runs from, or None for an installed one."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    tracked = found.returncode == 0 and not re.search(r"site-packages", str(here))
    return found.stdout.strip() if tracked else None
