"""Generations in files and folders: which there are, and a random part of the samples of each, in bounded memory."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
