"""Which numbers of its guards spoil a launch, and which only tell of the setting: each at its bound."""

from __future__ import annotations

import pytest
from fakes import guards, measurement, stage

from bench.analysis.caveats import CAVEATS
from bench.analysis.launch import contamination as bounds
from bench.analysis.launch.contamination import contamination, setting_caveats

WALL, PROCESSORS = guards()["wall"], guards()["processors"]
MORE = 1 + 1e-6
STEPS = (0.01, 0.5, 9.0)  # of which the median is half a second


def around(bound: float) -> tuple[float, float]:
    return bound, bound * MORE


# By reason, in order: the number that it comes from, what of it is just bearable, and what is not.
REASONS = {
    "waited": ("waiting_longest", *around(bounds.WAITING * WALL)),
    "stolen": ("stolen", *around(bounds.STOLEN * WALL * PROCESSORS)),
    "quota": ("quota_throttled", *around(bounds.QUOTA * WALL)),
    "swapped": ("swapped", bounds._SWAPPED, bounds._SWAPPED + 1),
    "overheated": ("thermal_throttles", 0, 1),
    "gpu_throttled": ("gpu_throttled", *around(bounds.GPU_THROTTLED)),
    "gpu_shared": ("gpu_others", 0, 1),
}
REMARKS = {
    "page_faults": ("minor_faults", *around(bounds.FAULTS * WALL / bounds.FAULT_SECONDS)),
    "machine_busy": ("others", *around(bounds.OTHERS * WALL)),
    "gc_pauses": ("gc_pauses", *around(bounds.GC * WALL)),
    "coarse_clock": ("clock_resolution", *around(bounds.RESOLUTION * 0.5)),
    "clock_changed": (
        "frequency_low",
        3e9 * (1 - bounds.FREQUENCY),
        3e9 * (1 - bounds.FREQUENCY * MORE),
    ),
    "gpu_power_capped": ("gpu_power_capped", *around(bounds.GPU_THROTTLED)),
}


def launch(**counted: float):
    return measurement(guards=guards(**counted), stages=(stage("train", 1, STEPS),))


def test_a_launch_without_contamination_is_clean_and_has_no_remark():
    assert (contamination(launch()), setting_caveats(launch())) == ((), ())


@pytest.mark.parametrize("reason", REASONS)
def test_a_number_contaminates_above_its_bound_and_alone(reason):
    name, bearable, too_much = REASONS[reason]
    assert contamination(launch(**{name: bearable})) == ()
    assert contamination(launch(**{name: too_much})) == (reason,)
    assert setting_caveats(launch(**{name: too_much})) == ()


@pytest.mark.parametrize("remark", REMARKS)
def test_a_number_is_remarked_above_its_bound_and_such_a_launch_counts(remark):
    name, bearable, too_much = REMARKS[remark]
    assert setting_caveats(launch(**{name: bearable})) == ()
    assert setting_caveats(launch(**{name: too_much})) == (remark,)
    assert contamination(launch(**{name: too_much})) == ()


def test_all_that_contaminated_is_named_in_one_order():
    everything = launch(**{name: too_much for name, _, too_much in (*REASONS.values(), *REMARKS.values())})
    assert contamination(everything) == tuple(REASONS)
    assert setting_caveats(everything) == tuple(REMARKS)


def test_every_remark_is_a_caveat():
    assert set(REMARKS) <= set(CAVEATS)


def test_a_device_that_changes_its_clock_is_remarked_too():
    high = guards()["gpu_clock_high"]
    assert setting_caveats(launch(gpu_clock_low=high * (1 - bounds.FREQUENCY))) == ()
    assert setting_caveats(launch(gpu_clock_low=high * (1 - bounds.FREQUENCY * MORE))) == ("clock_changed",)
    assert setting_caveats(launch(frequency_low=0.0, frequency_high=0.0)) == (), "a clock that is not told"


def test_shares_are_of_the_time_that_was_watched():
    waiting = bounds.WAITING * WALL * MORE
    assert contamination(launch(waiting_longest=waiting, wall=WALL)) == ("waited",)
    assert contamination(launch(waiting_longest=waiting, wall=2 * WALL)) == ()


@pytest.mark.parametrize(("processors", "threads"), [(1, 2), (2, 2), (4, 4), (100, 100)])
def test_waits_of_all_threads_are_a_mean_over_the_processors(processors, threads):
    bearable, too_much = around(bounds.WAITING_MEAN * WALL * threads)
    of = {"processors": float(processors), "waiting_longest": bounds.WAITING * WALL}
    assert contamination(launch(waiting=bearable, **of)) == ()
    assert contamination(launch(waiting=too_much, **of)) == ("waited",)


def test_stolen_time_is_a_share_of_all_processors():
    stolen = bounds.STOLEN * WALL * MORE
    assert contamination(launch(stolen=stolen, processors=1.0)) == ("stolen",)
    assert contamination(launch(stolen=stolen, processors=2.0)) == ()
    assert contamination(measurement(guards={"wall": WALL, "stolen": stolen})) == ("stolen",), (
        "of one at least"
    )
    assert contamination(measurement(guards={"wall": WALL, "stolen": stolen / MORE})) == ()


def test_in_a_short_launch_a_few_ticks_of_the_kernels_clock_could_be_rounding():
    bearable, too_much = around(bounds._LEAST_STOLEN)
    assert contamination(launch(wall=0.1, stolen=bearable)) == ()
    assert contamination(launch(wall=0.1, stolen=too_much)) == ("stolen",)
    bearable, too_much = around(bounds._LEAST_OTHERS)
    assert setting_caveats(launch(wall=0.1, minor_faults=0.0, others=bearable)) == ()
    assert setting_caveats(launch(wall=0.1, minor_faults=0.0, others=too_much)) == ("machine_busy",)


@pytest.mark.parametrize(
    "counted",
    [{}, {"waiting": 9.0, "swapped": 1e6, "gpu_others": 2.0}, {"wall": 0.0, "waiting": 9.0}, {"wall": 10.0}],
    ids=["none", "no window", "an empty window", "nothing but the window"],
)
def test_what_was_not_counted_is_held_against_nobody(counted):
    record = measurement(guards=counted)
    assert (contamination(record), setting_caveats(record)) == ((), ())


def test_a_clock_is_coarse_for_steps_alone():
    without = measurement(guards=guards(clock_resolution=1.0), stages=())
    assert setting_caveats(without) == ()


@pytest.mark.parametrize("name", [name for name, _, _ in (*REASONS.values(), *REMARKS.values())])
def test_a_machine_that_does_not_tell_a_number_is_not_blamed_for_it(name):
    counted = guards()
    del counted[name]
    record = measurement(guards=counted)
    assert (contamination(record), setting_caveats(record)) == ((), ())
