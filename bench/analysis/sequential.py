"""The paired test behind `bench ab`: what pairs of launches say, at each of a few looks, whatever their noise is.

Two launches of a pair run one behind the other, one of each side, and chance says which of them leads. Of the same
code, a pair's log ratio is then as likely to be below zero as above, whatever the machine does from pair to pair:
Wilcoxon's signed-rank test (1945) is exact there, of bursts, of two speeds and of drift too. The effect is the
Hodges-Lehmann estimate (1963) with the interval that belongs to the test, which an outlier moves little.

What the launch that comes first has over the second, the slot effect, is the same for both sides. It is
estimated from all pairs without regard to which side led, so that taking it away keeps the test exact.

The pairs are looked at when there are 10, 14, 20, 28, 40, 56, ... of them, each look with its own share of the
error, which adds up to all of it (Bonferroni): a verdict may be taken at any of them, and the pairs may go on for ever.
Over the family of all gated rows regressed and improved are controlled by Holm's procedure (1979).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy
import numpy.typing

from bench.analysis.compare import EQUIVALENCE, FAMILY, SHOWN

Logs: TypeAlias = numpy.typing.NDArray[numpy.float64]
Key = TypeVar("Key", bound=Hashable)

# Pairs at each look, and its share of the error; from the sixth on each has half of the one before.
_LOOKS = ((10, 0.15), (14, 0.2), (20, 0.3), (28, 0.2), (40, 0.1))
_REST = 0.05


def looks() -> Iterator[tuple[int, float]]:
    """Pairs and share of each look, without an end; the shares add up to 1, the pairs are even."""
    yield from _LOOKS
    pairs = float(_LOOKS[-1][0])
    for number in itertools.count(1):
        pairs *= math.sqrt(2)
        yield 2 * round(pairs / 2), _REST / 2**number


def next_look(pairs: int) -> int:
    """How many pairs the first look behind this many takes."""
    return next(number for number, _ in looks() if number > pairs)


def looks_at(pairs: int, ended: bool = False) -> list[tuple[int, float]]:
    """The looks that this many pairs have come to.

    Where they have `ended` between two looks, for a reason that is none of theirs, the share of the look that was to
    come is spent on what there is.
    """
    found: list[tuple[int, float]] = []
    for number, share in looks():
        if number > pairs:
            if ended and pairs >= 2 and (not found or found[-1][0] < pairs):
                found.append((pairs, share))
            return found
        found.append((number, share))
    raise AssertionError("looks have no end")


@dataclass(frozen=True)
class Pairs:
    """The paired launches of one metric of one case, in their order.

    `logs` are the logarithms of r, candidate over baseline in the direction in which more is worse; `leads` is True
    where the baseline ran first.
    """

    logs: tuple[float, ...]
    leads: tuple[bool, ...]

    def first(self, number: int) -> tuple[Logs, Logs]:
        """The first pairs as arrays: logs, and -1 where the baseline led, else 1."""
        signs = numpy.where(numpy.array(self.leads[:number], dtype=bool), -1.0, 1.0)
        return numpy.array(self.logs[:number], dtype=float), signs


@dataclass(frozen=True)
class Finding:
    """What pairs said at their last look.

    `ratio` is r; `slot` what the launch that runs first is slower by, as a ratio. `p` is that of no change,
    two-sided; `p_apart` that of a change beyond the threshold, the larger of the two one-sided; both are
    corrected for all looks. `low` and `high` are the interval that is shown (95 %), and hold at all looks together.
    """

    pairs: int
    ratio: float
    low: float
    high: float
    slot: float
    p: float
    p_apart: float
    threshold: float
    effects: Logs  # the sorted Walsh averages, of which intervals are made
    share: float

    def interval(self, error: float) -> tuple[float, float]:
        """Of r, with at most this error over all looks."""
        low, high = walsh_interval(self.effects, self.pairs, error * self.share)
        return math.exp(low), math.exp(high)

    def smallest(self, family: int) -> float | None:
        """The smallest rise, as a share, that would have been called regressed; None where no rise would."""
        _, high = walsh_interval(self.effects, self.pairs, FAMILY / max(1, family) * self.share)
        return None if math.isinf(high) else max(self.threshold, math.expm1(high - math.log(self.ratio)))


def find(pairs: Pairs, threshold: float, ended: bool = False) -> Finding | None:
    """What the pairs say of a change beyond the threshold (a share); None before the first look."""
    made = looks_at(len(pairs.logs), ended)
    if not made:
        return None
    beyond = math.log1p(threshold)
    p = p_apart = 1.0
    for number, share in made:
        logs, signs = pairs.first(number)
        p = min(p, 2 * min(below(logs, signs, 0.0), below(-logs, -signs, 0.0)) / share)
        apart = max(below(logs, signs, -beyond), below(-logs, -signs, -beyond))
        p_apart = min(p_apart, apart / share)
    number, share = made[-1]
    logs, signs = pairs.first(number)
    rough = hodges_lehmann(logs)
    slot = hodges_lehmann(signs * (logs - rough))
    effects = walsh(logs - signs * slot)
    low, high = walsh_interval(effects, number, (1 - SHOWN) * share)
    return Finding(
        pairs=number,
        ratio=math.exp(float(numpy.median(effects))),
        low=math.exp(low),
        high=math.exp(high),
        slot=math.exp(slot),
        p=min(1.0, p),
        p_apart=min(1.0, p_apart),
        threshold=threshold,
        effects=effects,
        share=share,
    )


def verdicts(findings: Mapping[Key, Finding | None], family: int) -> dict[Key, str]:
    """The verdict of each row, in a family of so many gated rows; `findings` are those that there are.

    regressed and improved by Holm: the smallest p is held against the error over all of the family, the next
    against that over one row less, until one is too large.
    """
    found = dict.fromkeys(findings, "inconclusive")
    known = [(key, one) for key, one in findings.items() if one is not None]
    known.sort(key=lambda item: item[1].p)
    differs = True
    for number, (key, one) in enumerate(known):
        differs = differs and one.p <= FAMILY / max(1, family - number)
        if differs and one.ratio > 1 + one.threshold:
            found[key] = "regressed"
        elif differs and one.ratio < 1 / (1 + one.threshold):
            found[key] = "improved"
        elif one.p_apart <= EQUIVALENCE:
            found[key] = "equivalent"
    return found


def below(logs: Logs, signs: Logs, shift: float) -> float:
    """The exact one-sided p of: these are symmetric about `shift`, or about less."""
    moved = signs * (logs - shift)
    moved = signs * (moved - hodges_lehmann(moved))
    moved = moved[moved != 0]
    if not len(moved):
        return 1.0
    ranks = midranks(numpy.abs(moved))
    negative = math.ceil(float(ranks[moved < 0].sum()) - 1e-9)  # a half rank of a tie counts against a change
    return float(signed_rank_cdf(len(moved))[negative])


def midranks(values: Logs) -> Logs:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ends = numpy.cumsum(counts)
    ranks: Logs = ((2 * ends - counts + 1) / 2)[inverse]
    return ranks


@functools.cache
def signed_rank_cdf(number: int) -> Logs:
    """P(W <= w) for w = 0, 1, ... of the sum of the positive ranks of so many pairs, each as likely to be negative."""
    chances = numpy.ones(1)
    for rank in range(1, number + 1):
        padded = numpy.zeros(len(chances) + rank)
        padded[: len(chances)] += chances / 2
        padded[rank:] += chances / 2
        chances = padded
    return numpy.minimum(numpy.cumsum(chances), 1.0)


def walsh(logs: Logs) -> Logs:
    """The means of all pairs of these, each with itself too, sorted."""
    first, second = _pairs_of(len(logs))
    return numpy.sort((logs[first] + logs[second]) / 2)


@functools.lru_cache(maxsize=64)
def _pairs_of(number: int) -> tuple[numpy.typing.NDArray[numpy.intp], numpy.typing.NDArray[numpy.intp]]:
    first, second = numpy.triu_indices(number)
    return first, second


def hodges_lehmann(logs: Logs) -> float:
    first, second = _pairs_of(len(logs))
    return float(numpy.median((logs[first] + logs[second]) / 2))


def walsh_interval(effects: Logs, number: int, error: float) -> tuple[float, float]:
    """The interval of the signed-rank test from Walsh averages of so many pairs; boundless where these are too few."""
    out = int(numpy.searchsorted(signed_rank_cdf(number), error / 2, side="right"))
    if not out:
        return -math.inf, math.inf
    return float(effects[out - 1]), float(effects[-out])
