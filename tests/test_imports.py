"""Who imports whom, read from the source: arrows point one way, and the front door stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "collapse_jax"

# A module may import those of its own line and of the lines above that it names. A folder's name stands for all
# that is in it; "inside" lists what files of one folder may import from each other.
ALLOWED = {
    "types": [],
    "errors": ["types"],
    "triangular": ["types"],
    "frame": ["triangular", "types"],
    "draws": ["types"],
    "intake": ["frame", "errors", "types"],
    "data": ["intake", "draws", "frame", "errors", "types"],
    "sufficient": ["data", "frame", "triangular", "errors", "types"],
    "pieces": ["errors", "types"],
    "labels": ["errors"],
    "chain": ["labels", "pieces", "data", "frame", "errors", "types"],
    "abreast": ["chain", "pieces", "errors", "types"],
    "sharding": ["errors", "types"],
    "drivers": ["chain", "sharding", "errors", "types"],
    "host": ["chain", "pieces", "drivers", "sharding", "errors", "types"],
    "gate": [],
    "signs": ["gate"],
    "durable": ["errors", "gate"],
    "arrays": ["gate", "durable"],
    "tuple_names": ["chain", "data", "sufficient", "frame", "em", "models", "nn"],
    "checkpoints": ["tuple_names", "arrays", "types"],
    "results": ["gate", "chain", "errors", "types"],
    "simulation": ["chain", "drivers", "host", "results", "errors", "types"],
    "regimes": ["chain", "draws", "data", "sufficient", "frame", "errors", "types"],
    "metrics": ["chain", "data", "sufficient", "frame", "errors", "types"],
    "theory": ["errors", "types"],
    "summaries": ["chain", "drivers", "errors", "types"],
    "sweeps": ["summaries", "labels", "chain", "drivers", "results", "errors", "types"],
    "training": ["sharding", "errors", "types"],
    "em": ["triangular", "data", "errors", "types"],
    "kmeans": ["triangular", "draws", "data", "errors", "types"],
    "distances": ["em", "frame", "triangular", "errors", "types"],
    "nn": ["gate", "errors", "types"],
    "datasets": ["gate", "signs", "intake", "draws", "data", "sufficient", "frame", "triangular", "errors", "types"],
    "models": [
        "chain", "pieces", "draws", "data", "sufficient", "metrics", "em", "kmeans", "distances", "nn", "training",
        "frame", "sharding", "triangular", "errors", "types",
    ],
    "judges": ["gate", "arrays", "nn", "training", "datasets", "chain", "data", "triangular", "errors", "types"],
    "intervals": [],
    "provenance": ["errors"],
    "machine": ["provenance"],
    "claims": ["intervals", "errors", "types"],
    "estimands": ["errors", "types"],
    "laws": [
        "abreast", "pieces", "models", "regimes", "metrics", "theory", "datasets", "chain", "data", "sufficient",
        "drivers", "simulation", "distances", "frame", "errors", "types",
    ],
    "speed": [
        "models", "regimes", "datasets", "nn", "training", "drivers", "chain", "data", "errors", "types",
    ],
    "verify": ["laws", "claims", "chain", "drivers", "simulation", "results", "errors", "types"],
    "plots": ["results", "durable", "frame", "errors", "types"],
    "drawn": ["plots", "results", "durable", "frame", "errors", "types"],
    "records": ["gate", "signs", "durable", "intervals", "results", "plots", "errors", "types"],
    "foreign": ["records", "errors", "types"],
    "answers": ["claims"],
    "studies": [
        "gate", "machine", "answers", "abreast", "pieces", "judges", "models", "regimes", "metrics", "theory",
        "datasets", "claims", "estimands", "plots", "drawn", "durable", "chain", "data", "sufficient", "sharding",
        "simulation", "sweeps", "summaries", "results", "drivers", "nn", "training", "axes", "errors", "types",
    ],
    "processes": [],
    "company": ["processes", "durable"],
    "orbax_checkpoints": ["gate", "checkpoints", "arrays", "durable", "processes", "sharding", "types"],
    "manifest": ["gate", "errors"],
    "rundir": ["manifest", "studies", "checkpoints", "arrays", "durable", "provenance", "results", "errors", "types"],
    "advance": [
        "company", "rundir", "studies", "processes", "checkpoints", "drivers", "host", "pieces", "results", "types",
    ],
    "trust": ["gate"],
    "study_file": ["gate", "trust", "rundir", "studies", "durable"],
    "course": ["rundir", "studies"],
    "runs": [
        "manifest", "answers", "course", "company", "advance", "orbax_checkpoints", "checkpoints", "study_file",
        "rundir", "studies", "claims", "results", "durable", "processes", "provenance", "errors", "types",
    ],
    "pictures": ["gate"],
    "report": [
        "gate", "manifest", "rundir", "studies", "claims", "results", "plots", "pictures", "answers", "durable",
        "errors", "types",
    ],
    "screen": [],
    "progress": ["screen"],
    "endings": ["answers", "rundir", "screen"],
    "axes": ["errors"],
    "arguments": ["studies"],
    "stopping": [],
    "jobs": [
        "stopping", "machine", "gate", "manifest", "runs", "rundir", "report", "screen", "progress", "endings",
        "durable", "processes", "provenance", "studies", "errors", "types",
    ],
    "completion": ["jobs", "screen", "studies", "errors"],
    "cli": [
        "stopping", "machine", "gate", "manifest", "jobs", "axes", "arguments", "completion", "endings", "runs",
        "rundir", "verify", "speed", "provenance", "report", "screen", "studies", "foreign", "errors", "types",
    ],
    "__main__": ["stopping", "cli"],
}  # fmt: skip

# Only these files may import these distributions.
ONLY_IN = {"flax": "nn/", "matplotlib": "plots.py", "tyro": "cli.py"}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_module(name: str) -> bool:
    path = PACKAGE.parent / Path(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside functions, TYPE_CHECKING included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
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


def _first_party_cycle(graph: dict[str, list[str]]) -> list[str]:
    """Parts left when every part that imports nothing of what is left has been taken away."""
    left = {name: set(targets) for name, targets in graph.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_the_table_itself_has_no_circle():
    assert _first_party_cycle(ALLOWED) == []
    assert {target for targets in ALLOWED.values() for target in targets} <= set(ALLOWED)


def test_every_part_of_the_house_has_its_place():
    parts = {_part(_module(path)) for path in _files()} - {"collapse_jax"}
    assert parts <= set(ALLOWED), "say in ALLOWED who these may import"


def test_arrows_point_one_way():
    wrong = []
    for importer, imported in _arrows():
        source, target = _part(importer), _part(imported)
        if imported == "collapse_jax":
            wrong.append(f"{importer} imports the front door; name the module")
        elif source != target and target not in ALLOWED.get(source, []):
            wrong.append(f"{importer} -> {imported}")
    assert not wrong, "\n".join(wrong)


def test_models_know_nothing_of_each_other():
    assert not [
        arrow for arrow in _arrows() if all(name.startswith("collapse_jax.models.") for name in arrow)
    ]


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


def test_configurations_import_no_jax():
    for path in sorted(PACKAGE.glob("studies/*/config.py")):
        roots = {name.split(".")[0] for name in _imports(path)}
        assert not roots & {"jax", "jaxlib", "jaxtyping", "optax", "flax"}, path


@pytest.mark.parametrize("module", ["collapse_jax", "collapse_jax.cli.main"])
def test_the_front_door_imports_no_jax(module):
    """--help answers at once: JAX and Matplotlib are loaded by the commands that compute and draw."""
    code = (
        f"import sys, {module}; print(*sorted({{'jax', 'optax', 'matplotlib', 'xarray'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_every_public_name_exists():
    code = "import collapse_jax as c; print([n for n in c.__all__ if getattr(c, n) is None])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stderr
