from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise

import pytest

from bench.machine.process_tree import Usage
from bench.machine.telemetry import LONGEST, SHARE, SHORTEST, LaunchTelemetry, Readings, Telemetry
from bench.system.gpu import GpuReading


class Launch:
    """A launch that a test plays: what its processes and its card tell, and what telling costs."""

    def __init__(self, cards=1, cost=0.0, pids=(10,)):
        self.usage = Usage(rss=100, cpu=0.0, pids=frozenset(pids))
        self.cards = [Card() for _ in range(cards)]
        self.cost = cost
        self.spent = 0.0
        self.watch = LaunchTelemetry(0.0, self.tree, self.cards, lambda: self.spent)

    def tree(self):
        self.spent += self.cost
        return self.usage

    def uses(self, rss=100, cpu=0.0, pids=(10,)):
        self.usage = Usage(rss, cpu, frozenset(pids))

    def at(self, now, **told):
        """One reading, at which the first card tells this."""
        if self.cards:
            self.cards[0].told = GpuReading(**told)
        return self.watch.take(now)

    def telemetry(self, ended=10.0, loop=None, samples=0):
        return self.watch.readings(ended, loop, samples).telemetry

    def guards(self, ended=10.0, loop=None):
        return self.watch.readings(ended, loop).guards


class Card:
    def __init__(self):
        self.told = GpuReading()

    def read(self):
        return self.told


# When the next reading is due.


def times(cost, until):
    """When readings are taken that cost so many processor seconds each."""
    launch, now, taken = Launch(cost=cost), 0.0, []
    while now <= until:
        taken.append(now)
        now = launch.at(now)
    return taken, launch


def test_readings_begin_at_once_and_become_rarer():
    taken, _ = times(cost=0.0, until=60.0)
    waits = [after - before for before, after in pairwise(taken)]
    assert taken[:3] == pytest.approx([0.0, SHORTEST, 2 * SHORTEST])
    assert waits == pytest.approx(sorted(waits))
    assert waits[-1] == pytest.approx(LONGEST)


@pytest.mark.parametrize("length", [0.15, 1.0, 60.0])
def test_a_launch_of_any_length_is_read_a_few_times(length):
    taken, _ = times(cost=50e-6, until=length)
    assert 5 <= len(taken) < 50 + length


@pytest.mark.parametrize("cost", [10e-6, 1e-3, 20e-3, 0.5])
@pytest.mark.parametrize("length", [1.0, 30.0, 3000.0])
def test_readings_pay_for_themselves(cost, length):
    taken, launch = times(cost, until=length)
    assert sum(cost for _ in taken[:-1]) <= SHARE * taken[-1] * (1 + 1e-9)
    assert launch.telemetry(ended=length)["cost"] == pytest.approx(len(taken) * cost / length)
    assert launch.telemetry(ended=length)["readings"] == len(taken)


def test_waking_up_for_a_reading_is_part_of_its_cost():
    launch = Launch(cost=1e-3)
    launch.spent = 5.0  # what the thread did before is not
    launch.at(0.0)
    launch.spent += 4e-3
    assert launch.at(1.0) == pytest.approx(1.0 + 5e-3 / SHARE)
    assert launch.telemetry(ended=2.0)["cost"] == pytest.approx(6e-3 / 2.0)


# Processes.


def test_the_peak_of_memory_and_the_mean_of_processors():
    launch = Launch(cards=0)
    for now, rss, cpu in [(0.0, 100, 0.5), (1.0, 900, 2.0), (4.0, 300, 8.5)]:
        launch.uses(rss, cpu)
        launch.at(now)
    told = launch.telemetry()
    assert told["rss_peak"] == 900
    assert told["cpu"] == pytest.approx(2.0)  # what was used before the first reading is not the launch's


def test_without_a_card_there_is_nothing_of_one():
    launch = Launch(cards=0)
    launch.at(0.0)
    launch.at(1.0)
    assert set(launch.telemetry(loop=(0.0, 1.0), samples=5)) == {"readings", "cost", "rss_peak", "cpu"}
    assert launch.guards(loop=(0.0, 1.0)) == {}


def test_a_launch_that_has_ended_keeps_what_was_seen_of_it():
    launch = Launch()
    launch.at(0.0)
    launch.uses(rss=700, cpu=3.0)
    launch.at(2.0)
    launch.usage = None
    launch.at(8.0)
    assert launch.telemetry()["rss_peak"] == 700
    assert launch.telemetry()["cpu"] == pytest.approx(1.5)
    assert launch.telemetry()["readings"] == 3


def test_a_launch_that_was_never_seen_has_no_processes():
    launch = Launch(cards=0)
    launch.usage = None
    launch.at(0.0)
    assert launch.telemetry() == {"readings": 1.0, "cost": 0.0}


def test_two_readings_at_one_moment_say_nothing_of_processors():
    launch = Launch(cards=0)
    launch.at(0.0)
    launch.uses(cpu=1.0)
    launch.at(0.0)
    assert "cpu" not in launch.telemetry()
    assert "cost" not in launch.telemetry(ended=0.0)


# Cards.


def test_energy_is_interpolated_at_both_ends_of_the_loop():
    launch = Launch()
    for now, joules in [
        (0.0, 1000.0),
        (1.0, 1100.0),
        (2.0, 1500.0),
        (3.0, 1900.0),
        (4.0, 2300.0),
        (5.0, 2310.0),
    ]:
        launch.at(now, energy=joules)
    told = launch.telemetry(loop=(0.25, 4.5), samples=8)
    assert told["energy"] == pytest.approx(2305.0 - 1025.0)
    assert told["energy_per_sample"] == pytest.approx(160.0)
    assert launch.telemetry(loop=(1.0, 5.0))["energy"] == 2310.0 - 1100.0
    assert "energy_per_sample" not in launch.telemetry(loop=(1.0, 5.0))


@pytest.mark.parametrize(
    ("loop", "why"),
    [
        (None, "there was no loop"),
        ((1.5, 4.5), "its ends lie between readings too far apart for it"),
        ((-1.0, 5.0), "it began before the first reading"),
        ((0.0, 6.0), "it went on after the last one"),
        ((2.0, 2.3), "the counter is no faster"),
        ((3.0, 3.0), "it has no length"),
        ((4.0, 1.0), "it ended before it began"),
    ],
)
def test_energy_that_the_readings_do_not_allow_is_not_told(loop, why):
    launch = Launch()
    for now in range(6):
        launch.at(float(now), energy=100.0 * now)
    assert "energy" not in launch.telemetry(loop=loop), why


def test_a_card_without_an_energy_counter_tells_no_energy():
    launch = Launch()
    for now in range(6):
        launch.at(float(now), power=100.0)
    assert "energy" not in launch.telemetry(loop=(0.0, 5.0))


def test_a_counter_that_begins_anew_tells_no_energy():
    launch = Launch()
    for now in range(6):
        launch.at(float(now), energy=500.0 - 100.0 * now)
    assert "energy" not in launch.telemetry(loop=(0.0, 5.0))


def test_a_reading_that_was_refused_now_and_then_is_bridged():
    launch = Launch()
    for now in range(6):
        launch.at(float(now), energy=None if now == 3 else 100.0 * now)
    assert launch.telemetry(loop=(0.0, 5.0))["energy"] == 500.0


def test_means_are_those_of_the_loop_and_weigh_each_reading_by_its_time():
    launch = Launch()
    for now, power, share in [
        (0.0, 900.0, 0.9),
        (1.0, 50.0, 0.1),
        (2.0, 100.0, 0.2),
        (6.0, 400.0, 1.0),
        (9.0, 1.0, 0.0),
    ]:
        launch.at(now, power=power, utilization=share)
    told = launch.telemetry(loop=(1.5, 8.0))
    assert told["gpu_power"] == pytest.approx((0.5 * 100.0 + 4.0 * 400.0) / 4.5)
    assert told["gpu_utilization"] == pytest.approx((0.5 * 0.2 + 4.0 * 1.0) / 4.5)
    whole = launch.telemetry()
    assert whole["gpu_power"] == pytest.approx((50.0 + 100.0 + 1600.0 + 3.0) / 9.0)


def test_a_loop_between_two_readings_has_no_mean():
    launch = Launch()
    launch.at(0.0, power=100.0)
    launch.at(1.0, power=100.0)
    assert "gpu_power" not in launch.telemetry(loop=(0.2, 0.8))
    assert launch.guards(loop=(0.2, 0.8)) == {}


def test_peaks_are_those_of_the_whole_watch():
    launch = Launch()
    launch.at(0.0, memory=5, temperature=80.0)
    launch.at(1.0, memory=9, temperature=60.0)
    launch.at(2.0)
    told = launch.telemetry(loop=(1.5, 2.0))
    assert (told["gpu_memory_peak"], told["gpu_temperature"]) == (9.0, 80.0)


def test_what_slows_the_card_down_is_counted_in_the_loop():
    launch = Launch()
    reasons = [
        {"thermal"},
        {"power_cap"},
        {"hardware_slowdown", "power_cap"},
        {"power_brake"},
        set(),
        {"thermal"},
    ]
    for now, names in enumerate(reasons):
        launch.at(float(now), throttle_reasons=frozenset(names), clock=1e9 + now)
    guards = launch.guards(loop=(1.0, 4.0))
    assert guards["gpu_throttled"] == 0.5
    assert guards["gpu_power_capped"] == 0.5
    assert (guards["gpu_clock_low"], guards["gpu_clock_high"]) == (1e9 + 1, 1e9 + 4)
    assert launch.guards(loop=None) == {}


def test_a_card_that_does_not_say_what_slows_it_down_is_not_called_fast():
    launch = Launch()
    launch.at(0.0, clock=1e9)
    launch.at(1.0, clock=1e9)
    assert launch.guards(loop=(0.0, 1.0)) == {"gpu_clock_low": 1e9, "gpu_clock_high": 1e9}


def test_others_are_the_most_at_once_that_are_not_of_the_launch():
    launch = Launch()
    launch.at(0.0, processes=frozenset({77}))
    launch.at(1.0, processes=frozenset({77, 78, 10}))
    launch.at(2.0, processes=frozenset({79, 10, 11}))  # a child that is found in the tree a reading later
    launch.uses(pids=(10, 11))
    launch.at(3.0)
    assert launch.guards()["gpu_others"] == 2.0


def test_a_launch_that_is_alone_has_no_others():
    launch = Launch()
    launch.at(0.0, processes=frozenset())
    launch.at(1.0, processes=frozenset({10}))
    assert launch.guards()["gpu_others"] == 0.0


@pytest.mark.parametrize("pids", [None, frozenset(), frozenset({40001})])
def test_others_are_not_told_where_the_launch_itself_is_not_seen_on_the_card(pids):
    launch = Launch()
    launch.at(0.0, processes=pids)
    assert "gpu_others" not in launch.guards()


def test_several_cards_are_taken_together():
    launch = Launch(cards=2)
    for now in range(5):
        launch.cards[1].told = GpuReading(
            memory=5,
            utilization=0.5,
            power=100.0,
            temperature=50.0,
            clock=2e9,
            energy=100.0 * now,
            throttle_reasons=frozenset({"thermal"}),
            processes=frozenset({77}),
        )
        launch.at(
            float(now),
            memory=7,
            utilization=1.0,
            power=300.0,
            temperature=70.0,
            clock=1e9,
            energy=300.0 * now,
            throttle_reasons=frozenset({"power_cap"}),
            processes=frozenset({10, 78}),
        )
    told, guards = launch.telemetry(loop=(0.0, 4.0)), launch.guards(loop=(0.0, 4.0))
    assert told["gpu_memory_peak"] == 12
    assert told["gpu_utilization"] == pytest.approx(0.75)
    assert told["gpu_power"] == pytest.approx(400.0)
    assert told["gpu_temperature"] == 70.0
    assert told["energy"] == 1600.0
    assert guards == {
        "gpu_others": 2.0,
        "gpu_throttled": 1.0,
        "gpu_power_capped": 1.0,
        "gpu_clock_low": 1e9,
        "gpu_clock_high": 2e9,
    }


def test_a_sum_does_not_leave_a_card_out():
    launch = Launch(cards=2)
    launch.at(0.0, memory=7, power=300.0, energy=0.0)
    launch.at(1.0, memory=7, power=300.0, energy=900.0)
    assert not {"gpu_memory_peak", "gpu_power", "energy"} & set(launch.telemetry(loop=(0.0, 1.0)))


# The thread.

PATIENT = 60.0  # seconds, for a machine that is slow; the thread answers in less than one


@pytest.fixture
def thread():
    """A Telemetry that waits for its thread, and ends it."""
    made = []

    def make(*gpus, patience=PATIENT):
        made.append(Telemetry(lambda device, variables: gpus, patience=patience))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_launch_is_read_at_its_end_if_not_before(thread):
    own = thread()
    for _ in range(3):
        own.watch(os.getpid())
        readings = own.end((0.0, 1.0), 10)
        assert readings.telemetry["readings"] >= 1
        assert readings.telemetry["rss_peak"] > 2**20


def test_readings_are_taken_while_the_launch_runs(thread):
    class Counting(Card):
        def __init__(self):
            super().__init__()
            self.reads = 0
            self.often = threading.Event()

        def read(self):
            self.reads += 1
            if self.reads == 3:
                self.often.set()
            return GpuReading(memory=self.reads, processes=frozenset({os.getpid()}))

    card = Counting()
    own = thread(card)
    own.watch(os.getpid())
    assert card.often.wait(PATIENT)
    readings = own.end(None)
    assert readings.telemetry["gpu_memory_peak"] == readings.telemetry["readings"] == card.reads >= 4
    assert readings.guards == {"gpu_others": 0.0}


def test_each_launch_has_the_cards_of_its_device_which_are_opened_once():
    asked = []

    def cards(device, variables):
        asked.append((device, dict(variables)))
        card = Card()
        card.told = GpuReading(memory=len(asked))
        return [card]

    own = Telemetry(cards, patience=PATIENT)
    seen = []
    for visible in ("0", "1", "0", "1"):
        own.watch(os.getpid(), "cuda:0", {"CUDA_VISIBLE_DEVICES": visible})
        seen.append(own.end(None).telemetry["gpu_memory_peak"])
    own.close()
    assert seen == [1, 2, 1, 2]
    assert asked == [("cuda:0", {"CUDA_VISIBLE_DEVICES": visible}) for visible in "01"]


def test_an_end_without_a_launch_is_empty(thread):
    own = thread()
    assert own.end(None) == Readings()
    own.watch(os.getpid())
    own.end(None)
    assert own.end(None) == Readings({}, {})


def test_a_process_that_has_ended_gives_readings_too(thread):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = thread()
    own.watch(ended.pid)
    told = own.end(None).telemetry
    assert told["readings"] >= 1
    assert "rss_peak" not in told


def test_the_thread_ends_when_it_is_closed(thread):
    own = thread()
    own.watch(os.getpid())
    assert own._thread.daemon
    own.close()
    assert not own._thread.is_alive()
    own.close()
    own.watch(os.getpid())
    assert own.end(None) == Readings()


def test_a_card_that_does_not_answer_holds_up_nothing(thread):
    class Stuck(Card):
        def __init__(self):
            super().__init__()
            self.asked, self.answers = threading.Event(), threading.Event()

        def read(self):
            self.asked.set()
            self.answers.wait(PATIENT)
            return self.told

    card = Stuck()
    own = thread(card, patience=0.0)
    own.watch(os.getpid())
    assert card.asked.wait(PATIENT)
    assert own.end(None).telemetry["readings"] == 0
    card.answers.set()
