"""Models: one file each."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
