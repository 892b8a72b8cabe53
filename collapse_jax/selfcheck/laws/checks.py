"""One law checked: a simulated mean with its standard error beside what `theory` says.

Laws are of four kinds. An exact law must be met to within the sampling error; an approximate one may also be off by
its `allowance`, the error of its formula; a bound must not be passed, on one side; an identity has no sampling error
and joins two computations that share no step.
"""

from typing import Any, NamedTuple

import numpy as np

MAX_Z = 5.0


class Check(NamedTuple):
    """What a simulation says about a law.

    Attributes:
        section: where the law stands in the theory, for example "gaussian, replace".
        law: the statement, in a few words.
        simulated: mean over runs.
        error: its standard error.
        predicted: by `theory`.
        allowance: how far the formula of an approximate law may be from the truth, in the unit of the prediction.
        relation: "=" to the prediction, or, of a bound, "<=" or ">=".
    """

    section: str
    law: str
    simulated: float
    error: float
    predicted: float
    allowance: float = 0.0
    relation: str = "="

    @property
    def excess(self) -> float:
        """How far the simulation is beyond what the law allows, with its sign; 0 where it is not."""
        gap = self.simulated - self.predicted
        if self.relation != "=":
            return max(gap, 0.0) if self.relation == "<=" else min(gap, 0.0)
        return float(np.sign(gap)) * max(abs(gap) - self.allowance, 0.0) if self.allowance else gap

    @property
    def z(self) -> float:
        """The excess in standard errors; without any, 0 where both agree to rounding and infinite elsewhere."""
        if self.error > 0:
            return self.excess / self.error
        return 0.0 if abs(self.excess) <= 1e-6 * max(1.0, abs(self.predicted)) else float("inf")

    @property
    def detects(self) -> float:
        """The smallest deviation that would have failed, as a share of the prediction, or of 1 where it is 0.

        Of a bound: how far the simulation was from failing.
        """
        room = MAX_Z * self.error + self.allowance
        if self.relation != "=":
            room = MAX_Z * self.error + abs(self.predicted - self.simulated)
        return room / (abs(self.predicted) or 1.0)

    @property
    def holds(self) -> bool:
        """True when |z| < 5; a number that is not finite never holds."""
        return bool(abs(self.z) < MAX_Z)


def check(
    section: str, law: str, values: Any, predicted: Any, *, allowance: Any = 0.0, relation: str = "="
) -> Check:
    """Return the check of a mean over runs; `values` has one number per run."""
    values = np.asarray(values, np.float64).reshape(-1)
    error = float(values.std(ddof=1) / np.sqrt(values.size))
    return Check(section, law, float(values.mean()), error, float(predicted), float(allowance), relation)


def check_variance(section: str, law: str, values: Any, predicted: Any, *, allowance: Any = 0.0) -> Check:
    """Return the check of a variance over runs, with the standard error that its fourth moment gives."""
    values = np.asarray(values, np.float64).reshape(-1)
    squares = (values - values.mean()) ** 2 * values.size / (values.size - 1)
    return check(section, law, squares, predicted, allowance=allowance)


def check_exact(section: str, law: str, value: Any, predicted: Any, *, allowance: Any = 0.0) -> Check:
    """Return the check of an identity: no sampling error. `allowance` is the rounding, or the rest of a limit."""
    return Check(section, law, float(value), 0.0, float(predicted), float(allowance))
