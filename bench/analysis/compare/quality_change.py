"""Whether the quality of a model differs between two sides by more than between launches of one side.

Every launch of a session has the same seed, so launches of a case mostly end with the same values to the last digit.
Then any difference between the sides is due to the change, and only the tolerance decides whether it matters: sums in
another order move a loss a little. If launches of a side differ from each other, the sides are compared by the exact
rank-sum test (Wilcoxon 1945; Mann and Whitney 1947), and a change of the medians beyond the tolerance is reported if
the test confirms it. Errors are controlled over all quality rows of a comparison by Holm's procedure (1979).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

from ...measurement import metric
from .sequential import Opposite
from .sides import CaseSide, Observed
from .verdict import EQUIVALENCE

Key = TypeVar("Key", bound=Hashable)

# False alarms over all quality rows of a comparison, in addition to those of times. There are none if launches end
# alike.
FAMILY = 0.01

_FEWEST = 2  # launches of a side, to know whether they end alike


@dataclass(frozen=True)
class QualityChange:
    """The change of one metric of quality: `change` is the difference of the medians, candidate minus base.

    `spread` is the largest difference between launches of one side, None if the launches are not known. `p` is the
    two-sided p-value of no change; `p_beyond` that of a change beyond the tolerance, the larger of the two one-sided
    ones.
    """

    change: float
    spread: float | None
    p: float
    p_beyond: float
    tolerance: float
    better: str


def repeats(side: CaseSide) -> bool:
    """Whether launches of a case, at least two, end alike: with the same value of each loss and metric.

    An accuracy over few samples may be equal by chance: at least one value must be finer than that.
    """
    seen = {name: one for name, one in side.observed.items() if metric(name).kind == "quality"}
    fine = any(metric(name).better != "more" for name in seen)
    return fine and all(_is_one(one) for one in seen.values())


def _is_one(seen: Observed) -> bool:
    if not seen.launches:
        return seen.error == 0.0
    values = seen.launches.values()
    return len(values) >= _FEWEST and min(values) == max(values)


def quality_change(
    base: Observed,
    candidate: Observed,
    tolerance: float,
    better: str,
    alike: bool,
    shares: Sequence[tuple[int, float]] | None = None,
) -> QualityChange | None:
    """The change of a metric between two sides; None if they have too few launches.

    `alike` is True if the launches of both sides end alike. `shares` are the looks that the pairs have reached, each
    with its share of the error; without it all launches are tested at once.
    """
    change = candidate.value - base.value
    if not math.isfinite(change):
        return None
    first, second = _in_order(base), _in_order(candidate)
    spread = max(max(values) - min(values) for values in (first, second)) if first and second else None
    if not change and (spread == 0 or base.error == candidate.error == 0.0):
        return QualityChange(0.0, spread, 1.0, 0.0, tolerance, better)  # however many there are
    if alike:
        return QualityChange(change, spread, 0.0, float(abs(change) > tolerance), tolerance, better)
    if not first or not second:
        return _by_errors(base, candidate, tolerance, better)
    if shares is None:
        shares = [(max(len(first), len(second)), 1.0)]
    if not shares or min(len(first), len(second)) < _FEWEST:
        return None
    p = p_beyond = 1.0
    for number, share in shares:
        before, after = first[:number], second[:number]
        seen = Opposite(sorted(b - a for a in before for b in after), len(before), len(after))
        p = min(p, 2 * min(seen.tails(0.0)) / share)
        p_beyond = min(p_beyond, max(seen.tails(-tolerance)[0], seen.tails(tolerance)[1]) / share)
    return QualityChange(change, spread, p, p_beyond, tolerance, better)


def _in_order(seen: Observed) -> list[float]:
    return [value for _, value in sorted(seen.launches.items())]


def _by_errors(base: Observed, candidate: Observed, tolerance: float, better: str) -> QualityChange | None:
    """The change from the standard errors of the medians, where launches are not known, as those of a baseline."""
    if base.error is None or candidate.error is None or min(base.value, candidate.value) <= 0:
        return None
    error = math.hypot(base.error * base.value, candidate.error * candidate.value)
    change = candidate.value - base.value
    if not error:
        return None  # one value: nothing tells whether the difference is chance
    above = NormalDist(change, error)
    p = 2 * min(above.cdf(0.0), 1 - above.cdf(0.0))
    beyond = max(above.cdf(-tolerance), 1 - above.cdf(tolerance))
    return QualityChange(change, None, p, beyond, tolerance, better)


def quality_verdicts(changes: Mapping[Key, QualityChange | None]) -> dict[Key, str]:
    """The verdict of each, by Holm's procedure over all of them: the smallest p is compared with the whole error."""
    verdicts = dict.fromkeys(changes, "inconclusive")
    known = sorted(
        ((key, one) for key, one in changes.items() if one is not None), key=lambda item: item[1].p
    )
    differs = True
    for number, (key, one) in enumerate(known):
        differs = differs and one.p <= FAMILY / (len(changes) - number)
        if differs and abs(one.change) > one.tolerance:
            verdicts[key] = _called(one)
        elif one.p_beyond <= EQUIVALENCE:
            verdicts[key] = "equivalent"
    return verdicts


def _called(one: QualityChange) -> str:
    if not one.better:
        return "moved"
    return "regressed" if (one.change < 0) == (one.better == "more") else "improved"
