from __future__ import annotations

import pytest
from fakes import failure, measurement, stage, stages

from bench.analysis.caveats import CAVEATS, case_caveats
from bench.analysis.launch import launch_values
from bench.measurement import PHASED

SOUND = [measurement(round=number) for number in range(1, 7)]


def with_check(name):
    return measurement(checks={**SOUND[0].checks, name: False})


def with_condition(**changes):
    return measurement(conditions={**SOUND[0].conditions, **changes})


def with_values(measurements):
    return [(launch, launch_values(launch)) for launch in measurements]


def names(measurements, failures=()):
    return {caveat.name: caveat.count for caveat in case_caveats(with_values(measurements), failures)}


# How each caveat arises: the launches of a case, its failures, and for how many launches it holds.
ARISES = {
    "few_launches": (SOUND[:5], [], 5),
    "launches_failed": (SOUND, [failure(), failure(failure="timeout")], 2),
    "spawned": ([*SOUND[:5], with_condition(start_method="spawn")], [], 1),
    "allocator_unpinned": ([*SOUND[:4], *[with_condition(allocator="unpinned")] * 2], [], 2),
    "work_differs": ([*SOUND[:5], measurement(stages=stages(steps=(1.0,) * 3))], [], 1),
    "parameters_not_moved": ([*SOUND[:5], with_check("parameters_moved_in_training")], [], 1),
    "weights_moved_in_evaluation": ([*SOUND[:3], *[with_check("weights_kept_in_evaluation")] * 3], [], 3),
    "graph_unexpected": ([*SOUND[:5], with_check("graph_as_the_mode_says")], [], 1),
    "no_full_batch": ([measurement(stages=(stage("train", 1, (), wall=1.0),))] * 6, [], 6),
}


def test_sound_launches_have_no_caveat():
    assert case_caveats(with_values(SOUND), []) == []


def test_every_caveat_has_its_story():
    assert set(ARISES) == set(CAVEATS)


@pytest.mark.parametrize("name", CAVEATS)
def test_a_caveat_arises_where_it_should_and_alone(name):
    measurements, failures, count = ARISES[name]
    assert names(measurements, failures) == {name: count}


def test_an_epoch_that_did_other_work_is_a_caveat_too():
    uneven = measurement(stages=(*stages()[:-1], stage("test", 1, (1.0,))))
    assert names([uneven] * 6) == {"work_differs": 6}


def test_an_allocator_that_nobody_wanted_pinned_is_none():
    assert names([with_condition(allocator="system")] * 6) == {}


def test_evaluation_launches_check_less_and_have_no_caveat_for_it():
    evaluation = measurement(
        stages=tuple(record for record in stages() if record.stage != "train"),
        checks={"weights_kept_in_evaluation": True, "graph_as_the_mode_says": True},
    )
    assert names([evaluation] * 6) == {}


def test_launches_of_another_kind_neither_count_nor_have_caveats():
    phases = measurement(kind=PHASED, conditions={"start_method": "spawn"}, checks={"x": False})
    assert names([*SOUND, phases]) == {}
    assert names([*SOUND[:5], phases]) == {"few_launches": 5}


def test_a_case_of_failures_alone_is_said_to_have_failed():
    assert names([], [failure()] * 6) == {"launches_failed": 6}


def test_caveats_come_in_the_order_of_their_table():
    spoilt = measurement(
        checks=dict.fromkeys(SOUND[0].checks, False),
        conditions={"start_method": "spawn", "allocator": "unpinned"},
    )
    found = [caveat.name for caveat in case_caveats(with_values([spoilt]), [failure()])]
    assert found == [name for name in CAVEATS if name in found]
    assert len(found) == 7
