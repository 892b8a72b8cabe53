"""collapse_jax: a laboratory for model collapse."""

from collapse_jax.namespaces import offered

__all__, _load, _names = offered(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("collapse-jax")
    return _load(name)


def __dir__() -> list[str]:
    return [*_names(), "__version__"]
