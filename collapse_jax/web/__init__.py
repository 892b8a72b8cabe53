"""A polluted web: many labs that train on one pool and release into it, detectors, and what they leave."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
