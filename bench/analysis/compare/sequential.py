"""The paired test behind `bench ab`: what pairs of launches say, at each of a few looks, whatever their noise is.

Two launches of a pair run one behind the other, one of each side, and chance says which of them leads. Of the same
code, what the first takes more than the second has then nothing to do with which side it was. So the pairs in which the
base led are held against those in which the candidate did by the rank-sum test (Wilcoxon 1945; Mann and Whitney
1947), which is exact there: of bursts, of two speeds, of drift too. What running first costs, the slot effect, is in
both and drops out. The effect is the Hodges-Lehmann estimate (1963), the median of all means of two pairs with
opposite leads, with the interval that belongs to the test; an outlier moves it little.

The pairs are looked at when there are 14, 20, 28, 40, 56, ... of them, each look with its own share of the error, and
these add up to all of it (Bonferroni): a verdict may be taken at any of them, whenever the pairs end.
Over the family of all gated rows regressed and improved are controlled by Holm's procedure (1979).
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

# Of the looks, each at the square root of two as many pairs as the one before, beginning with so many, the first have
# these shares of the error; of what is left each has half. With fewer pairs no rank sum is rare enough.
_FIRST = 14
_SHARES = (0.2, 0.3, 0.2, 0.15, 0.1)


def looks() -> Iterator[tuple[int, float]]:
    """Pairs and share of each look, without an end; the shares add up to 1, the pairs are even."""
    rest = 1 - math.fsum(_SHARES)
    for number in itertools.count():
        pairs = 2 * round(_FIRST * math.sqrt(2) ** number / 2)
        yield pairs, _SHARES[number] if number < len(_SHARES) else rest / 2 ** (number - len(_SHARES) + 1)


def looks_at(pairs: int, ended: bool = False) -> list[tuple[int, float]]:
    """The looks that this many pairs have come to.

    Where they `ended` between two looks, whatever their values, the share of the next look is spent on them.
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
        """What the first so many pairs say of the effect."""
        both = list(zip(self.logs[:number], self.leads[:number], strict=True))
        led, followed = [log for log, leads in both if leads], [log for log, leads in both if not leads]
        effects = sorted((one + other) / 2 for one in led for other in followed)
        slots = [(other - one) / 2 for one in led for other in followed]
        return Opposite(effects, len(led), len(followed), statistics.median(slots) if slots else 0.0)


@dataclass(frozen=True)
class Opposite:
    """All means of two pairs with opposite leads, sorted: what running first costs falls out of each.

    `led` and `followed` are how many pairs the base led and followed in; `slot` is what the launch that runs first
    takes more, on the logarithm.
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
        # In halves, since a tie is half of each; half a one counts against a change.
        low, high = below + not_above, 2 * len(self.effects) - below - not_above
        return chances[math.ceil(low / 2)], chances[math.ceil(high / 2)]

    def interval(self, error: float) -> tuple[float, float]:
        """Of the effect, with at most this error; boundless where the pairs are too few for it."""
        out = bisect.bisect_right(rank_sum_cdf(self.led, self.followed), error / 2)
        return (self.effects[out - 1], self.effects[-out]) if out else (-math.inf, math.inf)


@functools.cache
def rank_sum_cdf(led: int, followed: int) -> Sequence[float]:
    """P(U <= u) for u = 0, 1, ... of the rank sum of so many against so many, counted in whole numbers.

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
    """What pairs said at their last look.

    `ratio` is r; `slot` what the launch that runs first is slower by, as a ratio. `p` is that of no change,
    two-sided; `p_beyond` that of a change beyond the threshold, the larger of the two one-sided; both are corrected
    for all looks. `low` and `high` are the interval that is shown (95 %), which holds at all looks together.
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
        """Of r, with at most this error over all looks."""
        low, high = self.seen.interval(error * self.share)
        return math.exp(low), math.exp(high)

    def smallest(self, family: int) -> float | None:
        """The smallest rise, as a share, that would have been called regressed; None where no rise would."""
        _, high = self.interval(FAMILY / max(1, family))
        return None if math.isinf(high) else max(self.threshold, high / self.ratio - 1)


def paired_finding(pairs: Pairs, threshold: float, ended: bool = False) -> PairedFinding | None:
    """What the pairs say of a change beyond the threshold (a share); None before the first look."""
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
    """The verdict of each row, in a family of so many gated rows; `findings` are those that there are.

    regressed and improved by Holm: the smallest p is held against the error over all of the family, the next
    against that over one row less, until one is too large.
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
