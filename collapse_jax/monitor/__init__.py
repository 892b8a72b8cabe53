"""For people with a run of their own: is it collapsing? Statistics with their sampling null, and an alarm to trust."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
