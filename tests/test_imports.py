"""Who imports whom, read from the source: arrows point one way, and the front door stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "collapse_jax"

# A file may import its own folder, without a circle, and whatever lies in lower layers.
LAYERS = [
    {"types", "validation", "namespaces", "files"},
    {"numerics", "theory", "networks", "monitor", "sources"},
    {"core"},
    {"drivers", "datasets", "web", "advice", "callbacks"},
    {"analysis", "metrics"},
    {"models", "records"},
    {"studies", "selfcheck", "testing"},
    {"runs", "watching"},
    {"cli", "__main__"},
]
# Within the lowest layer and the highest one imports the other.
BESIDE = {
    ("validation", "types"), ("namespaces", "validation"), ("files", "validation"), ("files", "types"),
    ("__main__", "cli"),
}  # fmt: skip

# Where a distribution is at home, and where it is not to be met.
ONLY_IN = {
    "flax": "networks/opt/", "matplotlib": "analysis/", "tyro": "cli/", "jinja2": "analysis/page/",
    "orbax": "runs/orbax_checkpoints.py", "transformers": "callbacks/transformers.py",
    "lightning": "callbacks/lightning.py", "torch": ("callbacks/", "networks/opt/tensor_files.py"),
}  # fmt: skip
NOT_IN = {
    "xarray": (
        "types", "validation", "numerics", "theory", "networks", "monitor", "sources", "core", "datasets", "metrics",
        "models",
    ),
    "jax": (
        "cli", "monitor", "sources", "watching", "callbacks", "advice/measure", "advice/names", "advice/answer",
        "runs/job", "studies/axes", "studies/registry", "studies/regime_names", "studies/user_file",
        "studies/*/config",
    ),
}  # fmt: skip


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_module(name: str) -> bool:
    path = PACKAGE.parent / Path(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _imports(path: Path, *, at_top: bool = False) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside functions, TYPE_CHECKING included."""
    found, tree = set(), ast.parse(path.read_text())
    for node in tree.body if at_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno}: imports are absolute"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {
                name for name in submodules if name.startswith("collapse_jax.") and _is_module(name)
            }
            found |= submodules or {node.module}
    return found


def _arrows():
    """(importing module, imported module) within the package; the package's front door is not part of the house."""
    for path in _files():
        importer = _module(path)
        if importer == "collapse_jax":
            continue
        for imported in sorted(_imports(path)):
            if imported.split(".")[0] == "collapse_jax":
                yield importer, imported


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def _floor(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """What is left when everything that imports nothing of what is left has been taken away."""
    left = dict(graph)
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_arrows_point_down():
    wrong = []
    for importer, imported in _arrows():
        source, target = _part(importer), _part(imported)
        if imported == "collapse_jax":
            wrong.append(f"{importer} imports the front door; name the module")
        elif source != target and (source, target) not in BESIDE and _floor(target) >= _floor(source):
            wrong.append(f"{importer} -> {imported}")
    assert not wrong, "\n".join(wrong)


def test_no_folder_has_a_circle():
    graph = {_module(path): set() for path in _files()}
    for importer, imported in _arrows():
        graph[importer].add(imported)
    assert _circle(graph) == []


def test_models_know_nothing_of_each_other():
    """But for metrics beside their model, the fit that nets share, and the Gaussian that a solver draws from."""
    between = [arrow for arrow in _arrows() if all(name.startswith("collapse_jax.models.") for name in arrow)]
    known = {"collapse_jax.models.score": "collapse_jax.models.gaussian"}
    between = [arrow for arrow in between if arrow[1] not in ("collapse_jax.models.trained", known.get(arrow[0]))]
    assert all(importer == f"{imported}_metrics" for importer, imported in between), between


def test_studies_know_nothing_of_each_other():
    """A study is a package; what all share, and the registry that lists them, are files beside them."""
    packages = {path.name for path in (PACKAGE / "studies").iterdir() if (path / "__init__.py").exists()}

    def study(module):
        parts = module.split(".")
        return parts[2] if parts[1] == "studies" and len(parts) > 2 and parts[2] in packages else None

    between = [arrow for arrow in _arrows() if all(map(study, arrow)) and study(arrow[0]) != study(arrow[1])]
    assert not between
    # who lists the studies knows their configurations alone, so that listing them needs no JAX
    listing = [
        (a, b) for a, b in _arrows() if a.startswith("collapse_jax.studies.") and not study(a) and study(b)
    ]
    assert all(imported.endswith(".config") for _, imported in listing), listing


@pytest.mark.parametrize(("distribution", "home"), ONLY_IN.items())
def test_a_distribution_has_one_home(distribution, home):
    users = [
        str(path.relative_to(PACKAGE))
        for path in _files()
        if any(name.split(".")[0] == distribution for name in _imports(path))
    ]
    assert all(user.startswith(home) for user in users), users


@pytest.mark.parametrize(("distribution", "places"), NOT_IN.items())
def test_a_distribution_is_not_met_elsewhere(distribution, places):
    """At the top of a file; what runs studies may load it where it computes or draws."""
    for place in places:
        found = [*PACKAGE.glob(f"{place}.py"), *PACKAGE.glob(f"{place}/**/*.py")]
        assert found, place
        for path in found:
            roots = {name.split(".")[0] for name in _imports(path, at_top=True)}
            assert distribution not in roots, path


@pytest.mark.parametrize("module", ["collapse_jax", "collapse_jax.cli.main"])
def test_the_front_door_imports_no_jax(module):
    """--help answers at once: JAX and Matplotlib are loaded by the commands that compute and draw."""
    code = (
        f"import sys, {module}; print(*sorted({{'jax', 'optax', 'matplotlib', 'xarray'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("namespace", ["", ".datasets", ".metrics", ".models", ".networks.opt", ".theory"])
def test_every_public_name_exists(namespace):
    """In a process of its own, where nothing else has loaded the module that holds it."""
    code = (
        "import collapse_jax, sys; place = collapse_jax; "
        "[place := getattr(place, part) for part in sys.argv[1].split('.')[1:] if part != 'networks']; "
        "print([name for name in place.__all__ if getattr(place, name) is None])"
    )
    done = subprocess.run([sys.executable, "-c", code, namespace], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stderr


def test_no_batch_of_matrices_is_handed_to_lapack():
    """Two batches at once wait for each other for ever on JAX 0.10: what calls it takes one matrix at a time."""
    names = "svd|eig|eigh|eigvals|eigvalsh|qr|cholesky|inv|pinv|solve|lstsq|det|slogdet|solve_triangular"
    calls = re.compile(rf"\b(jnp|jax\.numpy|lax|jax\.scipy)\.linalg\.({names})\(")
    texts = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert {name for name, text in texts.items() if calls.search(text)} == {"models/score.py"}
    assert "sequential_vmap\ndef _svd" in texts["models/score.py"]
