"""Tests for models and regimes of one's own."""

from collapse_jax.testing import strategies as strategies
from collapse_jax.testing.cases import ModelCase as ModelCase
from collapse_jax.testing.cases import RegimeCase as RegimeCase
from collapse_jax.testing.contract import check_model as check_model
from collapse_jax.testing.contract import check_pair as check_pair
from collapse_jax.testing.contract import check_regime as check_regime
from collapse_jax.testing.contract import model_checks as model_checks
from collapse_jax.testing.contract import regime_checks as regime_checks
from collapse_jax.testing.laws import assert_law as assert_law
from collapse_jax.testing.laws import assert_mean as assert_mean
from collapse_jax.testing.laws import assert_variance_law as assert_variance_law
