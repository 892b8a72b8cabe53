"""OPT (Zhang et al. 2022): its shape, weights, files, tokens, decoding, watermarks and scores."""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
