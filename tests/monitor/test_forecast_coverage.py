"""Coverage of forecasts, as experiments/forecast_coverage.py counts it, at a small size.

90 % intervals of 120 chains: 0.9 +- 5 standard errors is 0.76 to 1; with half of N hardly any holds.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import forecast_coverage


@pytest.mark.parametrize("wrong", [False, True])
def test_nine_forecasts_in_ten_hold(wrong, unchecked):
    (found,) = islice(forecast_coverage.gaussian(seeds=120, dims=(4,)), 1)
    if wrong:
        found = found._replace(half_life=found.half_life / 2)
    places, holds, by_slope = forecast_coverage.judge(found)
    assert (holds > 0.76) != wrong
    assert np.mean(places == 0) < 0.2 or wrong
    assert by_slope < 0.1


def test_a_crossing_lies_between_generations():
    assert forecast_coverage.crossing(np.array([1.0, 0.8, 0.2]), 0.4) == pytest.approx(1.5)
    assert forecast_coverage.crossing(np.array([1.0, 0.9]), 0.5) == float("inf")
