"""Where a result comes from: versions, device, threads, commit; and what of it must not change between two halves.

Called by `runs` and `sweep`'s command.
"""

import os
import platform
import re
import subprocess
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_RECORDED_VERSIONS = ("collapse-jax", "jax", "jaxlib", "numpy", "optax", "flax", "xarray")
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
        "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what would give other bits now than `provenance` said before, each as a phrase.

    Of a study of one's own that is also the versions of what its file imports, `file["versions"]`.

    >>> before = {"versions": {"jax": "0.10.2"}, "device_kind": "cpu", "threads": 2, "x64": False}
    >>> differences(before, {**before, "threads": 4})
    ['threads 2, now 4']
    """
    pairs = [(name, before["versions"].get(name), now["versions"].get(name)) for name in _DECIDE_BITS]
    pairs += [(name, before.get(name), now.get(name)) for name in ("device_kind", "threads", "x64")]
    imported = [of.get("file", {}).get("versions", {}) for of in (before, now)]
    pairs += [(name, imported[0][name], imported[1].get(name)) for name in imported[0] if name not in _DECIDE_BITS]
    return [f"{name} {old}, now {new}" for name, old, new in pairs if old != new]


def digest(content: str) -> str:
    """Return a short check sum of a text.

    >>> digest("seeds = 64") == digest("seeds = 65")
    False
    """
    return f"{zlib.crc32(content.encode()):08x}"


def num_threads() -> int:
    """Return on how many cores this process may run: XLA's threads, which decide how sums are split."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
