"""Evidence that grows with every check, and an alarm that is false in a share alpha of monitors at most, ever.

Under the null a check's p-value is uniform whatever the others are (see `bag`). The calibrator e = 1/(2 sqrt(p)) has
mean 1, so money put on it is a fair game: from the start of a check s on it is worth the product of e over s..t. The
stake of 1 is spread over all starts, s(s+1) of it on the s-th, so that a change after a thousand quiet checks has not
to make up for their losses:

    M_t = sum over s <= t of 1/(s(s+1)) prod over u = s..t of e_u  +  1/(t+1),    P(M_t >= 1/alpha ever) <= alpha.

The bound is Ville's (1939). K statistics have a game each; the alarm asks K/alpha of one of them, which keeps alpha
for all together, however they depend on each other.

Reference: Vovk and Wang, E-values (Annals of Statistics 2021); Vovk, Testing randomness online (2021).
"""

import dataclasses
import math


@dataclasses.dataclass
class Evidence:
    """What one statistic's checks have come to.

    Attributes:
        checks: how many there were.
        log_staked: log of what the starts until now are worth.
    """

    checks: int = 0
    log_staked: float = -math.inf

    def update(self, p: float) -> float:
        """Count a p-value in; return its e-value.

        >>> evidence = Evidence()
        >>> evidence.update(0.01), round(evidence.value, 3)
        (5.0, 3.0)
        """
        e = e_value(p)
        self.checks += 1
        start = -math.log(self.checks * (self.checks + 1))
        high, low = max(self.log_staked, start), min(self.log_staked, start)
        self.log_staked = high + math.log1p(math.exp(low - high)) + math.log(e)
        return e

    @property
    def log_value(self) -> float:
        """log M_t: 0 before the first check."""
        unspent = -math.log(self.checks + 1)
        high, low = max(self.log_staked, unspent), min(self.log_staked, unspent)
        return high + math.log1p(math.exp(low - high))

    @property
    def value(self) -> float:
        """M_t, at most 1e300."""
        return math.exp(min(self.log_value, 690.0))


def e_value(p: float) -> float:
    """Return 1/(2 sqrt(p)), whose mean is 1 where p is uniform, and below where p is larger than that.

    >>> e_value(0.25)
    1.0
    """
    return 0.5 / math.sqrt(p)
