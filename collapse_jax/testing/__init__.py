"""Tests for models and regimes of one's own: one contract, strategies, and laws with stated power.

Needs hypothesis and pytest only where a strategy is drawn from: `pip install 'collapse-jax[testing]'`.
"""

from collapse_jax.namespaces import offered

__all__, __getattr__, __dir__ = offered(__name__, __file__)
