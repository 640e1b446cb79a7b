"""The paired test behind `bench ab`: a sequential test that is exact under any noise.

The two launches of a pair, one of each side, run one after the other in random order; the first one leads. For
identical code, the difference between first and second launch does not depend on which side led. So the pairs in which
the base led are compared with those in which the candidate led, by the rank-sum test (Wilcoxon 1945; Mann and Whitney
1947). The test is exact here, also under bursts of noise, two speeds or drift. What running first costs, the slot
effect, is in both groups and cancels. The effect is the Hodges-Lehmann estimate (1963): the median of all means of two
pairs with opposite leads, with the interval that belongs to the test. An outlier moves it little.

The pairs are tested when there are 14, 20, 28, 40, 56, ... of them. Each of these looks has its own share of the error,
and the shares add up to the whole error (Bonferroni), so that a verdict is valid at any look. The verdicts regressed
and improved are controlled over the family of all gated rows by Holm's procedure (1979).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import statistics
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .verdict import EQUIVALENCE, FAMILY, SHOWN

Key = TypeVar("Key", bound=Hashable)

# The first look is at this many pairs (with fewer, no rank sum is rare enough); each further look at the square root of
# two as many as the one before. The first looks have these shares of the error; each later one has half of what
# remains.
_FIRST = 14
_SHARES = (0.2, 0.3, 0.2, 0.15, 0.1)


def looks() -> Iterator[tuple[int, float]]:
    """Pairs and share of each look, an endless sequence; the shares add up to 1, the numbers of pairs are even."""
    rest = 1 - math.fsum(_SHARES)
    for number in itertools.count():
        pairs = 2 * round(_FIRST * math.sqrt(2) ** number / 2)
        yield pairs, _SHARES[number] if number < len(_SHARES) else rest / 2 ** (number - len(_SHARES) + 1)


def looks_at(pairs: int, ended: bool = False) -> list[tuple[int, float]]:
    """The looks that this many pairs have reached.

    If measuring `ended` between two looks, regardless of the values, these pairs use the share of the next look.
    """
    found: list[tuple[int, float]] = []
    for number, share in looks():
        if number > pairs:
            if ended and pairs >= 2 and (not found or found[-1][0] < pairs):
                found.append((pairs, share))
            break
        found.append((number, share))
    return found


@dataclass(frozen=True)
class Pairs:
    """The paired launches of one metric of one case, in their order.

    `logs` are the logarithms of r, candidate over baseline in the direction in which more is worse; `leads` is True
    where the baseline ran first.
    """

    logs: Sequence[float]
    leads: Sequence[bool]

    def first(self, number: int) -> Opposite:
        """The effect in the first `number` pairs."""
        both = list(zip(self.logs[:number], self.leads[:number], strict=True))
        led, followed = [log for log, leads in both if leads], [log for log, leads in both if not leads]
        effects = sorted((one + other) / 2 for one in led for other in followed)
        slots = [(other - one) / 2 for one in led for other in followed]
        return Opposite(effects, len(led), len(followed), statistics.median(slots) if slots else 0.0)


@dataclass(frozen=True)
class Opposite:
    """All means of two pairs with opposite leads, sorted: the cost of running first cancels in each.

    `led` and `followed` are the numbers of pairs in which the base ran first and second; `slot` is how much longer the
    launch that runs first takes, as a logarithm.
    """

    effects: Sequence[float]
    led: int
    followed: int
    slot: float = 0.0

    def tails(self, shift: float) -> tuple[float, float]:
        """The exact one-sided p of an effect of `shift` or less, and of `shift` or more."""
        chances = rank_sum_cdf(self.led, self.followed)
        below = bisect.bisect_left(self.effects, shift)
        not_above = bisect.bisect_right(self.effects, shift)
        # In halves, since a tie counts half for each; a half is rounded against a change.
        low, high = below + not_above, 2 * len(self.effects) - below - not_above
        return chances[math.ceil(low / 2)], chances[math.ceil(high / 2)]

    def interval(self, error: float) -> tuple[float, float]:
        """The interval of the effect, with at most this error; infinite if there are too few pairs for it."""
        out = bisect.bisect_right(rank_sum_cdf(self.led, self.followed), error / 2)
        return (self.effects[out - 1], self.effects[-out]) if out else (-math.inf, math.inf)


@functools.cache
def rank_sum_cdf(led: int, followed: int) -> Sequence[float]:
    """P(U <= u) for u = 0, 1, ... of the rank sum of two groups of these sizes, computed in whole numbers.

    The counts are the coefficients of Gauss's binomial (Mann and Whitney 1947).
    """
    counts = [1] + [0] * (led * followed)
    for one in range(1, led + 1):
        for place in range(led * followed, followed + one - 1, -1):
            counts[place] -= counts[place - followed - one]
        for place in range(one, led * followed + 1):
            counts[place] += counts[place - one]
    ways = math.comb(led + followed, led)
    return [number / ways for number in itertools.accumulate(counts)]


@dataclass(frozen=True)
class PairedFinding:
    """The result of the pairs at their last look.

    `ratio` is r; `slot` how much slower the launch that runs first is, as a ratio. `p` is the two-sided p-value of no
    change; `p_beyond` that of a change beyond the threshold, the larger of the two one-sided ones; both are corrected
    for all looks. `low` and `high` are the interval that is shown (95 %), valid for all looks together.
    """

    pairs: int
    ratio: float
    low: float
    high: float
    slot: float
    p: float
    p_beyond: float
    threshold: float
    seen: Opposite
    share: float

    def interval(self, error: float) -> tuple[float, float]:
        """The interval of r, with at most this error over all looks."""
        low, high = self.seen.interval(error * self.share)
        return math.exp(low), math.exp(high)

    def smallest(self, family: int) -> float | None:
        """The minimum detectable effect: the smallest rise, as a share, that would have been called regressed; None if
        no rise would.
        """
        _, high = self.interval(FAMILY / max(1, family))
        return None if math.isinf(high) else max(self.threshold, high / self.ratio - 1)


def paired_finding(pairs: Pairs, threshold: float, ended: bool = False) -> PairedFinding | None:
    """Whether the pairs show a change beyond the threshold (a share); None before the first look."""
    reached = looks_at(len(pairs.logs), ended)
    if not reached:
        return None
    beyond = math.log1p(threshold)
    p = p_beyond = 1.0
    for number, share in reached:
        seen = pairs.first(number)
        p = min(p, 2 * min(seen.tails(0.0)) / share)
        p_beyond = min(p_beyond, max(seen.tails(-beyond)[0], seen.tails(beyond)[1]) / share)
    low, high = seen.interval((1 - SHOWN) * share)
    return PairedFinding(
        pairs=number,
        ratio=math.exp(statistics.median(seen.effects or pairs.logs)),
        low=math.exp(low),
        high=math.exp(high),
        slot=math.exp(seen.slot),
        p=p,
        p_beyond=p_beyond,
        threshold=threshold,
        seen=seen,
        share=share,
    )


def paired_verdicts(findings: Mapping[Key, PairedFinding | None], family: int) -> dict[Key, str]:
    """The verdict of each row in `findings`; `family` is the number of gated rows.

    regressed and improved follow Holm's procedure: the smallest p is compared with the error divided by the whole
    family, the next with the error divided by one row less, until one is too large.
    """
    found = dict.fromkeys(findings, "inconclusive")
    known = [(key, one) for key, one in findings.items() if one is not None]
    known.sort(key=lambda item: item[1].p)
    family = max(family, len(known))
    differs = True
    for number, (key, one) in enumerate(known):
        differs = differs and one.p <= FAMILY / (family - number)
        if differs and one.ratio > 1 + one.threshold:
            found[key] = "regressed"
        elif differs and one.ratio < 1 / (1 + one.threshold):
            found[key] = "improved"
        elif one.p_beyond <= EQUIVALENCE:
            found[key] = "equivalent"
    return found
