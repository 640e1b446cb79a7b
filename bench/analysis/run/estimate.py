"""A value with its interval, from the values of independent launches.

The estimate is the median over launches. Its interval is the distribution-free one between two order statistics: the
number of launches below the true median is binomial(n, 1/2), so that the interval from the k-th smallest to the k-th
largest value holds the median with probability 1 - 2 P(B < k) (David and Nagaraja, Order Statistics, 3rd ed., section
7.1). The only assumption is that launches are independent. Six launches are the fewest that reach 95 %: min to max
holds 96.9 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95

# Standard normal quantiles: of a two-sided interval of 95 %, and of a power of 80 %.
_Z_INTERVAL, _Z_POWER = 1.960, 0.842


@dataclass(frozen=True)
class Estimate:
    """The median over `launches` values; `low` and `high` are None if there are too few for an interval."""

    value: float
    low: float | None
    high: float | None
    launches: int

    @property
    def half_width(self) -> float | None:
        """Half the interval as a share of the value; None without an interval, or for a value of 0."""
        if self.low is None or self.high is None:
            return None
        if self.low == self.high:
            return 0.0  # of zeros too
        return (self.high - self.low) / 2 / abs(self.value) if self.value else None

    @property
    def smallest_change(self) -> float | None:
        """The minimum detectable effect of two such estimates, as a share; None without an interval.

        The one that a two-sided test at 5 % finds with a power of 80 %, of two values with this standard
        error each: (z_0.975 + z_0.8) sqrt(2) SE, where the half interval is z_0.975 SE (NIST/SEMATECH
        e-Handbook of Statistical Methods, section 7.2.2.2). It is about twice the half interval.
        """
        half = self.half_width
        return None if half is None else _detectable(half / _Z_INTERVAL)


def smallest_change(variation: float, launches: int) -> float:
    """The same for two medians of `launches` launches each, from the coefficient of variation of one launch.

    The standard error of a median is sqrt(pi/2) sigma / sqrt(n) for normal values (David and Nagaraja,
    section 8.5), here as a share of the value.
    """
    return _detectable(math.sqrt(math.pi / 2) * variation / math.sqrt(launches))


def _detectable(standard_error: float) -> float:
    return (_Z_INTERVAL + _Z_POWER) * math.sqrt(2) * standard_error


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The median of the launches with its order-statistic interval. Raises ValueError for no values."""
    if not values:
        raise ValueError("an estimate needs at least one launch")
    ordered = sorted(values)
    rank = interval_rank(len(ordered), level)
    low, high = (None, None) if rank is None else (ordered[rank - 1], ordered[-rank])
    return Estimate(statistics.median(ordered), low, high, len(ordered))


def interval_rank(launches: int, level: float = LEVEL) -> int | None:
    """The largest k for which [k-th smallest, k-th largest] contains the median with a probability of at least `level`.

    None if even min to max does not.
    """
    below = 0.0  # P(B <= k), B binomial(launches, 1/2)
    for k in range(launches):
        below += math.comb(launches, k) / 2**launches
        if 1 - 2 * below < level:
            return k or None
    return None


def coverage(launches: int, rank: int) -> float:
    """The probability with which [rank-th smallest, rank-th largest] holds the true median."""
    below: float = sum(math.comb(launches, k) for k in range(rank)) / 2**launches
    return 1 - 2 * below


def variation(values: Sequence[float]) -> float | None:
    """The coefficient of variation: standard deviation over mean, None for fewer than two values."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) / statistics.fmean(values)


def quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t; of the normal distribution for infinitely many degrees of freedom."""
    if math.isinf(freedom):
        return NormalDist().inv_cdf(probability)
    from scipy.special import stdtrit  # imported here, since it takes a quarter of a second

    return float(stdtrit(freedom, probability))
