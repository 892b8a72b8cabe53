"""Settings of every test: four CPU devices, one hypothesis profile, and fixtures that change a global setting."""

import atexit
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import jaxtyping

# whose study files may run is not remembered beyond the tests
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="collapse-jax-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# the folder tests/datasets looks like a package of that name, which transformers then takes for Hugging Face's
if (found := importlib.util.find_spec("datasets")) is not None and found.origin is None:
    sys.modules["datasets"] = None  # type: ignore[assignment]

# most of the suite's time is compilation, of programs that run for milliseconds
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=1"
jaxtyping.install_import_hook(
    "collapse_jax", "beartype.beartype"
)  # before the package: annotations are checked

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_num_cpu_devices", 4)  # before any backend is used: lanes are spread over 1, 2 and 4
# many tests build the same chain anew: its program is compiled once for all of them, and for all workers
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

settings.register_profile("laws", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("laws")


def pytest_collection_modifyitems(items):
    """Mark what `tiers.toml` lists, function by function, and what asks for a fixture that it lists."""
    root = Path(__file__).parent
    tiers = tomllib.loads((root / "tiers.toml").read_text(encoding="utf-8"))
    for item in items:
        path = item.path.relative_to(root.parent).as_posix()
        function = item.name.partition("[")[0]
        found = {tier for tier in ("long", "heavy") if {function, "*"} & set(tiers[tier].get(path, ()))}
        found |= {tiers["fixtures"].get(f"{path}::{name}") for name in getattr(item, "fixturenames", ())} - {None}
        for tier in found:
            item.add_marker(tier)


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_file():
    """Drop a file's compiled programs after it: each holds memory maps, and a process may have only 65,530 of them."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def x64():
    """Run one test in double precision."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def unchecked():
    """Run one test as users do, without annotation checks: a wrong type then meets the package's own sentence."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
