"""Equal cards that are not equally fast: how far the rounds on one card differ from those on the others.

A round runs on one card, so the round is the unit: its effect is the median, over the cases, of the logarithm of a
launch's time over the median of all launches of the case. The rounds on one card are compared with those on all other
cards by the two-sided t interval for the difference of two means (NIST/SEMATECH e-Handbook of Statistical Methods,
section 7.3.1), with the standard deviation of the others, since a card may have a single round; its level is divided by
the number of cards (Bonferroni).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...measurement import Measurement
from ..launch.values import Launch
from .estimate import quantile

LEAST = 0.01  # a smaller difference is not reported
_METRICS = ("train.step_time", "epoch.time")  # the first that a case has
_FEWEST = 3  # rounds on other cards


@dataclass(frozen=True)
class CardEffect:
    """A card whose launches take `ratio` times as long as those on its equals, with the interval of the ratio."""

    card: str  # its UUID
    ratio: float
    low: float
    high: float


def card_of(measurement: Measurement) -> str:
    """The UUID of the card that a launch ran on; empty on the CPU, and where torch does not tell."""
    return str(measurement.conditions.get("card", ""))


def deviating_cards(cases: Sequence[Sequence[Launch]]) -> list[CardEffect]:
    """The cards that differ from their equals by more than LEAST, from the launches of each case; slowest first."""
    by_round: dict[tuple[str, int], list[float]] = defaultdict(list)
    for launches in cases:
        timed = [
            launch for launch in launches if launch.timed and launch.used and card_of(launch.measurement)
        ]
        metric = next((name for name in _METRICS if timed and all(name in one.values for one in timed)), None)
        if metric is None or len({card_of(one.measurement) for one in timed}) < 2:
            continue
        usual = statistics.median(one.values[metric] for one in timed)
        for one in timed:
            place = card_of(one.measurement), one.measurement.round
            by_round[place].append(math.log(one.values[metric] / usual))
    rounds: dict[str, list[float]] = defaultdict(list)
    for (card, _), logs in by_round.items():
        rounds[card].append(statistics.median(logs))
    found = [effect for card in rounds if (effect := _effect(card, rounds)) is not None]
    return sorted(found, key=lambda effect: -effect.ratio)


def _effect(card: str, rounds: dict[str, list[float]]) -> CardEffect | None:
    """The effect of one card; None if it is small, not certain, or too few rounds tell."""
    own = rounds[card]
    others = [effect for other, effects in rounds.items() if other != card for effect in effects]
    if len(others) < _FEWEST:
        return None
    difference = statistics.fmean(own) - statistics.fmean(others)
    error = statistics.stdev(others) * math.sqrt(1 / len(own) + 1 / len(others))
    half = quantile(1 - 0.025 / len(rounds), len(others) - 1) * error
    if abs(difference) <= max(half, math.log1p(LEAST)):
        return None
    return CardEffect(card, *map(math.exp, (difference, difference - half, difference + half)))
