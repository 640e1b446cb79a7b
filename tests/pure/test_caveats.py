"""Reasons for doubt: when each arises, for how many launches, and when it does not."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from fakes import CASE, CONTAMINATED, counts, failure, guards, measurement, stage, stages, trained

from bench.analysis.caveats import CAVEATS, Caveat, case_caveats
from bench.analysis.launch import contamination as bounds
from bench.analysis.launch.values import analysed
from bench.measurement import COUNTED, PHASED, PROFILED, Counts, Peak, Profile, samples_known
from bench.suite.case import Case

SOUND = [measurement(round=number, guards=guards()) for number in range(1, 7)]
WALL = guards()["wall"]


def with_check(name):
    return measurement(checks={**SOUND[0].checks, name: False})


def with_condition(**changes):
    return measurement(conditions={**SOUND[0].conditions, **changes})


def guarded(**counted):
    """Launches of which half were counted so, and none was contaminated."""
    return [*SOUND[:3], *[measurement(guards=guards(**counted))] * 3]


def taking(*seconds):
    """Launches whose steps take so many seconds."""
    return [measurement(stages=stages(steps=(one, one))) for one in seconds]


def training(*epochs):
    return measurement(stages=tuple(stage("train", number, steps) for number, steps in enumerate(epochs)))


def aiming(loss):
    """A launch that should come to this validation loss, and comes to a half."""
    return trained(Case("fake", {**CASE.axes, "target_loss": loss}), 1.0, 0.5)


def compiling(misses, late=0.0):
    """A launch whose graphs torch.compile had to make, or found; `late` seconds of it in epochs that count."""
    told = {"time": 2.0, "time_counted": late, "cache_hits": 3 - misses, "cache_misses": misses}
    return measurement(compiled=told)


def names(measurements, failures=(), tolerance=None, peaks=None):
    found = case_caveats(analysed(measurements, peaks), failures, tolerance)
    return {caveat.name: caveat.count for caveat in found}


class Story(NamedTuple):
    """How a caveat arises: the launches of a case and its failures, and for how many launches it holds."""

    launches: list[Any]
    count: int
    failures: tuple[Any, ...] = ()
    tolerance: float | None = None
    peaks: tuple[Peak, ...] | None = None


CALM = (1.0,) * 40
LONG = training(CALM, (9.0,) * 10 + CALM[10:], CALM)
GROWING = training(CALM, *[tuple(1 + (40 * epoch + step) / 20 for step in range(40)) for epoch in range(3)])

COUNTED_APART = measurement(
    kind=COUNTED, stages=(), counts=Counts({"train": 2}, {}, (), unknown=("aten.linalg_svd",))
)


def profiled(**changes):
    """Sound launches, and one more under the profiler."""
    profile = Profile({"train": 5}, {"train": 0.1}, 0.01, 0.02, (), **changes)
    return [*SOUND, measurement(kind=PROFILED, stages=(), profile=profile)]


ARISES = {
    "few_launches": Story(SOUND[:5], 5),
    "unsettled": Story(taking(0.9, 1.0, 1.0, 1.0, 1.0, 1.1), 6, tolerance=0.02),
    "launches_failed": Story(SOUND, 2, (failure(), failure(failure="timeout"))),
    "contaminated": Story([*SOUND[:2], *[measurement(guards=CONTAMINATED)] * 4], 4),
    "machine_busy": Story(guarded(others=2 * bounds.OTHERS * WALL), 3),
    "never_settled": Story([*[training(CALM, CALM, CALM, CALM)] * 3, *[GROWING] * 3], 3),
    "long_warmup": Story([*[training(CALM, CALM, CALM)] * 3, *[LONG] * 3], 3),
    "page_faults": Story(guarded(minor_faults=2 * bounds.FAULTS * WALL / bounds.FAULT_SECONDS), 3),
    "gc_pauses": Story(guarded(gc_pauses=2 * bounds.GC * WALL), 3),
    "coarse_clock": Story(guarded(clock_resolution=2 * bounds.RESOLUTION), 3),
    "clock_changed": Story(guarded(frequency_low=2.4e9), 3),
    "gpu_power_capped": Story(guarded(gpu_power_capped=2 * bounds.GPU_THROTTLED), 3),
    "axis_not_read": Story([*SOUND[:4], *[with_condition(unread=["optimizer"])] * 2], 2),
    "spawned": Story([*SOUND[:5], with_condition(start_method="spawn")], 1),
    "other_device": Story([*SOUND[:4], with_condition(device="cpu"), with_condition(device="cuda:0")], 1),
    "allocator_unpinned": Story([*SOUND[:4], *[with_condition(allocator="unpinned")] * 2], 2),
    "compiled_late": Story([*[compiling(1)] * 4, *[compiling(1, late=0.5)] * 2], 2),
    "compile_cache_mixed": Story([compiling(3), *[compiling(0)] * 5], 1),
    "work_differs": Story([*SOUND[:5], measurement(stages=stages(steps=(1.0,) * 3))], 1),
    "parameters_not_moved": Story([*SOUND[:5], with_check("parameters_moved_in_training")], 1),
    "weights_moved_in_evaluation": Story([*SOUND[:3], *[with_check("weights_kept_in_evaluation")] * 3], 3),
    "samples_unlike_data": Story([*SOUND[:5], with_check("samples_as_the_loader_says")], 1),
    "streams_not_waited_for": Story([*SOUND[:5], with_check("streams_are_waited_for")], 1),
    "graph_unexpected": Story([*SOUND[:5], with_check("graph_as_the_mode_says")], 1),
    "samples_unknown": Story([with_check(samples_known("train"))] * 6, 6),
    "forward_unseen": Story([*SOUND[:5], with_check("forward_seen")], 1),
    "pass_not_recognised": Story([*SOUND[:5], with_check("passes_recognised")], 1),
    "evaluation_unmarked": Story([*SOUND[:5], with_check("evaluation_marked")], 1),
    "loss_scale_unknown": Story([*SOUND[:5], with_check("loss_scale_known")], 1),
    "flops_lower_bound": Story([*SOUND, COUNTED_APART], 1),
    "peak_unknown": Story([*SOUND, measurement(kind=COUNTED, counts=counts())], 6, peaks=()),
    "device_not_counted": Story(
        [*SOUND, measurement(kind=COUNTED, counts=counts(limits=("device_not_counted",)))], 1
    ),
    "device_not_profiled": Story(profiled(limits=("device_not_profiled",)), 1),
    "trace_omitted": Story(profiled(omitted="it has 99 MB, above the cap"), 1),
    "no_full_batch": Story([measurement(stages=(stage("train", 1, (), wall=1.0),))] * 6, 6),
    "algorithms_by_time": Story([*SOUND[:5], with_condition(algorithms_by_time=True)], 1),
    "target_not_reached": Story([*[aiming(0.5)] * 5, aiming(0.25)], 1),
}


class TestPeaks:
    """The reason where there is no MFU."""

    LAUNCHES = (*SOUND, measurement(kind=COUNTED, counts=counts()))

    @pytest.mark.parametrize(
        "peaks",
        [[], [Peak("cpu", "bfloat16", 1e12, "measured")], [Peak("cuda:0", "float32", 1e12, "stated")]],
    )
    def test_a_format_without_a_peak_is_one(self, peaks):
        assert case_caveats(analysed(self.LAUNCHES, peaks), []) == [Caveat("peak_unknown", len(SOUND))]

    @pytest.mark.parametrize("peaks", [None, [Peak("cpu", "float32", 1e12, "measured")]])
    def test_a_known_one_and_an_unknown_machine_are_none(self, peaks):
        assert case_caveats(analysed(self.LAUNCHES, peaks), []) == []


@pytest.mark.parametrize("misses", [0, 3])
def test_a_cache_that_was_the_same_in_all_launches_is_no_caveat(misses):
    assert case_caveats(analysed([compiling(misses)] * 6), []) == []


@pytest.mark.parametrize("tolerance", [None, 0.02])
def test_sound_launches_have_no_caveat(tolerance):
    assert case_caveats(analysed(SOUND), [], tolerance) == []


def test_a_single_graph_that_the_cache_did_not_hold_makes_it_mixed_and_a_launch_without_graphs_does_not():
    assert names([compiling(1), *[compiling(0)] * 5]) == {"compile_cache_mixed": 1}
    assert names([measurement(), *[compiling(0)] * 5]) == {}


@pytest.mark.parametrize(
    ("named", "used", "elsewhere"),
    [("cuda", "cuda:1", False), ("cuda:0", "cuda:1", True), ("cuda:0", "cuda", True), ("cuda", "cpu", True)],
)
def test_a_device_of_the_named_kind_is_no_other_one(named, used, elsewhere):
    case = Case("fake", {**CASE.axes, "device": named})
    launches = [measurement(case=case, conditions={**SOUND[0].conditions, "device": used})] * 6
    assert names(launches) == ({"other_device": 6} if elsewhere else {})


def test_start_up_of_half_of_the_epochs_is_not_long():
    assert names([training(CALM, (9.0,) * 10 + CALM[10:], CALM, CALM)] * 6) == {}


def test_a_launch_without_a_stage_has_no_start_up():
    assert "long_warmup" not in names([measurement(stages=())] * 6)


def test_every_caveat_has_its_story():
    assert list(ARISES) == list(CAVEATS)


@pytest.mark.parametrize("name", CAVEATS)
def test_a_caveat_arises_where_it_should_and_alone(name):
    story = ARISES[name]
    assert names(story.launches, story.failures, story.tolerance, story.peaks) == {name: story.count}


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


class TestUnsettled:
    """The interval of a gated metric against what the run asked for."""

    @pytest.mark.parametrize(("tolerance", "found"), [(0.0999, {"unsettled": 6}), (0.1001, {})])
    def test_it_arises_above_the_tolerance_alone(self, tolerance, found):
        assert names(ARISES["unsettled"].launches, tolerance=tolerance) == found

    def test_an_interval_as_wide_as_the_tolerance_is_within_it(self):
        assert names(taking(0.75, 1.0, 1.0, 1.0, 1.0, 1.25), tolerance=0.25) == {}

    def test_a_run_that_does_not_say_what_it_asked_is_not_held_to_it(self):
        assert names(ARISES["unsettled"].launches) == {}

    def test_without_an_interval_it_is_another_caveat(self):
        assert names(taking(0.5, 1.0, 1.5), tolerance=0.02) == {"few_launches": 3}

    def test_memory_has_a_tolerance_of_its_own(self):
        def holding(*sizes):
            return [measurement(memory={"peak_rss": size}) for size in sizes]

        assert names(holding(961, 1000, 1000, 1000, 1000, 1039), tolerance=0.02) == {}
        assert names(holding(900, 1000, 1000, 1000, 1000, 1100), tolerance=0.02) == {"unsettled": 6}
        assert names(holding(0, 0, 0, 0, 0, 4096), tolerance=0.02) == {"unsettled": 6}

    def test_contaminated_launches_that_do_not_count_widen_nothing(self):
        slow = [measurement(stages=stages(steps=(9.0, 9.0)), guards=CONTAMINATED)] * 6
        assert names([*SOUND, *slow], tolerance=0.02) == {}


class TestGuards:
    @pytest.mark.parametrize(
        ("noted", "found"), [(2, {}), (3, {"machine_busy": 3}), (6, {"machine_busy": 6})]
    )
    def test_a_remark_is_a_caveat_where_it_holds_for_at_least_half(self, noted, found):
        busy = measurement(guards=guards(others=2 * bounds.OTHERS * WALL))
        assert names([*SOUND[noted:], *[busy] * noted]) == found

    @pytest.mark.parametrize(
        ("odd", "calm"),
        [(GROWING, training(*[CALM] * 4)), (LONG, training(*[CALM] * 3))],
        ids=["growing", "long"],
    )
    def test_so_is_what_the_series_of_steps_shows(self, odd, calm):
        assert names([*[calm] * 4, odd, odd]) == {}
        assert len(names([*[calm] * 3, odd, odd, odd])) == 1

    def test_a_remark_on_a_launch_that_does_not_count_is_none(self):
        both = measurement(guards={**CONTAMINATED, "others": 2 * bounds.OTHERS * WALL})
        assert names([*SOUND, *[both] * 6]) == {}

    def test_launches_that_were_left_out_leave_too_few(self):
        assert names([*SOUND[:5], measurement(guards=CONTAMINATED)]) == {"few_launches": 5}

    @pytest.mark.parametrize("contaminated", [1, 5, 6])
    def test_a_case_whose_contaminated_launches_were_left_out_is_sound(self, contaminated):
        assert names([*SOUND, *[measurement(guards=CONTAMINATED)] * contaminated]) == {}

    def test_records_without_guards_have_no_caveat_of_them(self):
        assert names([measurement()] * 6) == {}


def test_launches_of_another_kind_neither_count_nor_have_caveats():
    phases = measurement(
        kind=PHASED, conditions={"start_method": "spawn"}, checks={"x": False}, guards=CONTAMINATED
    )
    assert names([*SOUND, phases]) == {}
    assert names([*SOUND[:5], phases]) == {"few_launches": 5}


def test_a_case_of_failures_alone_is_said_to_have_failed():
    assert names([], [failure()] * 6, 0.02) == {"launches_failed": 6}


def test_caveats_come_in_the_order_of_their_table():
    spoilt = measurement(
        checks=dict.fromkeys(SOUND[0].checks, False),
        conditions={"start_method": "spawn", "allocator": "unpinned"},
        guards={
            **CONTAMINATED,
            "others": WALL,
            "gc_pauses": WALL,
            "gpu_power_capped": 1.0,
            "frequency_low": 1e9,
        },
    )
    found = [caveat.name for caveat in case_caveats(analysed([spoilt]), [failure()])]
    assert found == [name for name in CAVEATS if name in found]
    assert len(found) == 12
