"""Metrics that do not belong to one model."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
