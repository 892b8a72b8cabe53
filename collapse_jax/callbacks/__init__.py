"""Watch a training run of other libraries by a monitor: transformers, Lightning, and synthesizers of tables."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
