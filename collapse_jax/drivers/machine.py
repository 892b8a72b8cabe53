"""JAX on this machine: started once and early, and in one sentence where it cannot be.

    settings (JAX_*, XLA_FLAGS) -> imported -> devices -> a folder for compiled programs, where one can be written

What JAX says of a card that is not there, of a flag that nobody knows, or of a setting that it cannot read is an
assertion, a dead process or a traceback, and would otherwise come out of whatever happens to touch JAX first. JAX is
imported by the functions, not by this file.
"""

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_MOST_DEVICES = 8
_DEVICES = "JAX_NUM_CPU_DEVICES"
_COUNT = re.compile(r"--xla_force_host_platform_device_count=(\S+)")
# flags that are as old as JAX, with values that it reads; others are tried
_KNOWN = re.compile(
    r"--xla_force_host_platform_device_count=[1-9]\d{0,2}|--xla_backend_optimization_level=[0-3]|--xla_dump_to=\S+"
    r"|--xla_cpu_multi_thread_eigen=(true|false)|--xla_gpu_deterministic_ops=(true|false)"
)
_TRY_FLAGS = "from jaxlib import xla_client; xla_client.make_cpu_client()"
_CANNOT = ("no_tracing", "no_execution")  # of JAX's settings, those under which nothing runs
_ours: set[str] = set()  # variables that are set here, not by the user
_tried: set[str] = set()  # flags that XLA has taken


def use_every_core() -> None:
    """Let JAX, wherever it is first used, see every core as a device: a study's file may use it when it is read.

    A number that the user gives, by JAX_NUM_CPU_DEVICES or by XLA_FLAGS, is left as it is.
    """
    if _DEVICES not in os.environ and _flag_count() is None:
        os.environ[_DEVICES] = str(min(num_threads(), _MOST_DEVICES))
        _ours.add(_DEVICES)


def num_threads() -> int:
    """Return on how many cores this process may run: XLA's threads, which decide how sums are split."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_flags() -> None:
    """Refuse XLA_FLAGS that XLA would end the process for, or that contradict JAX_NUM_CPU_DEVICES.

    Raises:
        ValueError: a flag is unknown or has a value that cannot be read, or there are two numbers of devices.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    asked, count = os.environ.get(_DEVICES), _flag_count()
    if count is not None and asked is not None and _DEVICES not in _ours and asked.strip() != count:
        raise ValueError(
            f"XLA_FLAGS asks for {count} CPU devices, and {_DEVICES} for {asked}, which JAX would obey; leave one out."
        )
    if not flags or flags in _tried or all(_KNOWN.fullmatch(flag) for flag in flags.split()):
        return
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "0"}
    tried = subprocess.run(
        [sys.executable, "-c", _TRY_FLAGS], env=environment, capture_output=True, text=True, errors="replace"
    )
    if tried.returncode and (said := _of_flags(tried.stderr)):
        raise ValueError(f"XLA cannot read XLA_FLAGS={flags} ({said}); mend it, or leave it out.")
    _tried.add(flags)


def _of_flags(told: str) -> str:
    """Return what XLA says of its flags, without the list of all that there are; "" where it says nothing of them."""
    lines = [re.sub(r"^[A-Z]\d{4} \S+ +\d+ \S+\] ", "", line) for line in told.splitlines()]
    found = [line for line in lines if "XLA_FLAGS" in line or "for flag" in line]
    return " ".join(found[0].split()).rstrip(".") if found else ""


def _flag_count() -> str | None:
    """Return the number of CPU devices that XLA_FLAGS asks for: the last counts."""
    found = _COUNT.findall(os.environ.get("XLA_FLAGS", ""))
    return found[-1] if found else None


def import_jax() -> Any:
    """Return JAX, imported.

    Raises:
        ValueError: one of its environment variables has a value that it cannot read, or XLA one of its flags.
    """
    check_flags()
    try:
        return importlib.import_module("jax")
    except ValueError as error:
        raise ValueError(_of_settings(str(error))) from error


def _of_settings(told: str) -> str:
    """Return a sentence for what JAX says of a setting as it is imported."""
    found = re.search(r"(?:environment '|flag |jax\.(?=default_device))(\w+)", told)
    name = f"JAX_{found[1].upper().removeprefix('JAX_')}" if found else "the JAX_* variables"
    return f"JAX cannot start ({_first_line(told)}); mend {name} in the environment, or leave it out."


def start_jax() -> None:
    """Start JAX's devices, by making one small array.

    Raises:
        ValueError: they do not start: a platform without a card, a setting of a value that nothing works with.
    """
    jax = import_jax()
    _heed_later_flags(jax)
    for name in _CANNOT:
        if getattr(jax.config, f"jax_{name}", False):
            raise ValueError(f"nothing can be computed under JAX_{name.upper()}; leave it out of the environment.")
    try:
        jax.block_until_ready(jax.random.key(0))
    except Exception as error:
        raise ValueError(_of_start(error)) from error


def _heed_later_flags(jax: Any) -> None:
    """Obey a number of devices in XLA_FLAGS that a study's file has set since."""
    count = _flag_count()
    if count is None or _DEVICES not in _ours:
        return
    with contextlib.suppress(RuntimeError):  # the file has also started JAX: it has what it wanted, or sees its devices
        jax.config.update("jax_num_cpu_devices", -1)


def not_started(error: BaseException) -> str:
    """Return a sentence for an error that is JAX's own start going wrong, "" for every other.

    Who reads a study's file, or builds its chain, may be the first to touch JAX.
    """
    of_settings = r"invalid truth value .* for environment 'JAX|Invalid value .* for JAX flag"
    if isinstance(error, ValueError) and re.match(of_settings, str(error)):
        return _of_settings(str(error))
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(error, RuntimeError | AssertionError):
        return ""
    is_named = re.match(r"Unable to initialize backend|Backend '\w+' failed to initialize|Unknown backend", str(error))
    if is_named or (isinstance(error, AssertionError) and not str(error) and not _has_started()):
        return _of_start(error)
    return ""


def _has_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", True))


def _of_start(error: BaseException) -> str:
    """Return a sentence for what JAX says as it starts its devices."""
    told = _first_line(re.sub(r"\s*\((set JAX_PLATFORMS|you may need to).*", "", str(error), flags=re.DOTALL))
    platforms = sys.modules["jax"].config.jax_platforms
    if platforms not in (None, "", "cpu") and not told.startswith("Unknown backend"):
        nothing = f"no device of '{platforms}' was found"
        return (
            f"JAX cannot start on JAX_PLATFORMS={platforms} ({told or nothing}); set JAX_PLATFORMS=cpu, leave it out "
            "to take what there is, or install what drives that device, for example jax[cuda13]."
        )
    mine = sorted(name for name in os.environ if re.match(r"(JAX|XLA|LIBTPU|CUDA)_", name) and name not in _ours)
    remedy = f"see {', '.join(mine)} in the environment" if mine else "set JAX_PLATFORMS=cpu to do without its drivers"
    return f"JAX cannot start ({told or type(error).__name__}); {remedy}."


def keep_programs() -> str:
    """Let JAX keep compiled programs on disk for the next process; return what a user must know of that, or "".

    Where no folder is named they lie in the user's cache folder; where that cannot be written they are not kept.

    Raises:
        ValueError: the folder that JAX_COMPILATION_CACHE_DIR names is no folder and cannot be made.
    """
    jax = import_jax()
    named = jax.config.jax_compilation_cache_dir
    if named and "://" in named:
        return ""
    folder = Path(named) if named else _default_folder()
    trouble = "there is no home" if folder is None else _trouble(folder)
    if not trouble or not named:
        jax.config.update("jax_compilation_cache_dir", None if trouble else str(folder))
        return ""
    if not os.path.isdir(named):
        raise ValueError(
            f"JAX_COMPILATION_CACHE_DIR={named} is no folder for compiled programs ({trouble}); name another, or leave "
            "it out."
        )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)  # what is there is read
    return f"compiled programs are read from {named} and not kept there ({trouble})."


def _default_folder() -> Path | None:
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(chosen) if chosen else Path.home() / ".cache") / "collapse_jax"
    except RuntimeError:  # neither HOME nor a line in /etc/passwd
        return None


def _trouble(folder: Path) -> str:
    """Return why a folder cannot be written, "" where it can; one that is not there is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"


def _first_line(told: str) -> str:
    lines = told.strip().splitlines()
    return lines[0].strip().rstrip(".;") if lines else ""
