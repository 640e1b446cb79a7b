"""Cards that are not as fast as their equals, from launches whose times are known."""

from __future__ import annotations

import random

import fakes
import pytest

from bench.analysis.launch.values import analysed
from bench.analysis.run.card_effects import LEAST, deviating_cards
from bench.suite.case import Case

CARDS = [f"card-{number}" for number in range(8)]


def run(cards=CARDS, rounds=8, cases=6, slow=(), noise=0.005, seed=0, **changes):
    """The launches of a run: round r on card r modulo their number; `slow` maps cards to how slow they are."""
    rng = random.Random(seed)
    slow = dict(slow)
    made = []
    for width in range(cases):
        case = Case("s", {"device": "cuda:0", "width": width})
        launches = []
        for number in range(rounds):
            card = cards[number % len(cards)]
            seconds = (1 + width) * slow.get(card, 1.0) * rng.lognormvariate(0, noise)
            launches.append(
                fakes.measurement(
                    case=case,
                    round=number + 1,
                    stages=fakes.stages(steps=(seconds,) * 4),
                    conditions={"card": card},
                    **changes,
                )
            )
        made.append(analysed(launches))
    return made


def test_the_slow_card_is_named_with_how_slow_it_is():
    (found,) = deviating_cards(run(slow={CARDS[3]: 1.06}))
    assert found.card == CARDS[3]
    assert found.ratio == pytest.approx(1.06, abs=0.01)
    assert 1.0 < found.low < found.ratio < found.high < 1.12


def test_a_fast_one_too():
    (found,) = deviating_cards(run(slow={CARDS[0]: 0.95}))
    assert (found.card, found.ratio) == (CARDS[0], pytest.approx(0.95, abs=0.01))


def test_the_slowest_comes_first():
    found = deviating_cards(run(rounds=24, slow={CARDS[2]: 1.05, CARDS[5]: 1.2}))
    assert [one.card for one in found[:1]] == [CARDS[5]]


def test_a_difference_that_matters_little_is_not_reported():
    assert deviating_cards(run(slow={CARDS[3]: 1 + LEAST / 2}, noise=1e-5)) == []


def test_equal_cards_raise_few_alarms():
    """Of 200 runs of equal cards, at 5 % of runs; a larger share has a probability below one in a thousand."""
    alarms = sum(bool(deviating_cards(run(noise=0.03, seed=seed))) for seed in range(200))
    assert alarms <= 22


def test_one_card_and_launches_without_one_have_no_equals():
    assert deviating_cards(run(cards=CARDS[:1])) == []
    assert deviating_cards(run(cards=[""], rounds=6)) == []
    assert deviating_cards([]) == []


def test_three_rounds_on_other_cards_are_needed():
    assert deviating_cards(run(rounds=3, slow={CARDS[0]: 2.0})) == []
    assert deviating_cards(run(rounds=4, slow={CARDS[0]: 2.0}))[0].card == CARDS[0]


def test_a_contaminated_launch_is_not_used():
    launches = run(rounds=8, noise=1e-4)
    slow = fakes.measurement(
        case=launches[0][0].measurement.case,
        round=9,
        stages=fakes.stages(steps=(9.0,) * 4),
        conditions={"card": "ninth"},
        guards=fakes.CONTAMINATED,
    )
    again = [analysed([*(one.measurement for one in launches[0]), slow]), *launches[1:]]
    assert deviating_cards(again) == []
