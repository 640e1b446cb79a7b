"""What contaminated a launch: each number on a machine that a test plays, and the large ones on this machine."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import FakeClock
from tiers import takes_long

from bench.worker.timing.guards import Guards, processor_time, resolution

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")  # of /proc/stat, a second


class Machine:
    """What the kernel and the clock tell, as a test sets it. The launch may use the processors 0 and 2 of four."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.clock = FakeClock()
        self.own = SimpleNamespace(ru_utime=1.0, ru_stime=2.0, ru_nivcsw=10, ru_minflt=20, ru_majflt=30)
        self.ended = SimpleNamespace(
            ru_utime=3.0, ru_stime=4.0, ru_nivcsw=1000, ru_minflt=1000, ru_majflt=1000
        )
        used = {resource.RUSAGE_SELF: self.own, resource.RUSAGE_CHILDREN: self.ended}
        monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(**vars(used[who])))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)

        self.stat()
        self.write("proc/vmstat", "nr_free_pages 7\npswpin 100\npswpout 1000\npswpinside 5\n")
        self.waited(71, 5.0)
        self.waited(72, 7.0)
        self.write("proc/self/cgroup", "0::/launches/mine\n")
        self.write("sys/fs/cgroup/launches/mine/cpu.stat", "usage_usec 5\nthrottled_usec 1000000\n")
        for cpu in range(4):
            self.processor(cpu, mhz=1000, throttles=10)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def stat(self, *rows: str, first: str = "cpu  9 9 9 9 9 9 9 9 9 9") -> None:
        """/proc/stat; a processor without a row has done nothing so far."""
        known = {row.split()[0]: row for row in rows}
        lines = [known.get(f"cpu{cpu}", f"cpu{cpu} 0 0 0 0 0 0 0 0 0 0") for cpu in range(4)]
        self.write("proc/stat", "\n".join([first, *lines, "intr 12 0 0", "ctxt 5", "softirq 3 1 2"]) + "\n")

    def busy(self, seconds: float) -> None:
        """Processor 2 has been busy for so long."""
        self.stat(f"cpu2 {round(seconds * TICKS)} 0 0 0 0 0 0 0 0 0")

    def waited(self, thread: int, seconds: float) -> None:
        self.write(f"proc/self/task/{thread}/schedstat", f"123456789 {round(seconds * 1e9)} 42\n")

    def thread_ends(self, thread: int) -> None:
        for file in (self.root / f"proc/self/task/{thread}").iterdir():
            file.unlink()
        (self.root / f"proc/self/task/{thread}").rmdir()

    def child(self, pid: int, user: float, system: float, name: str = "pt_data_worker") -> None:
        before = "S 1 1 1 0 -1 4194560 11 12 13 14"
        after = "16 17 20 0 1 0 100 200 300"
        self.write(
            f"proc/{pid}/stat",
            f"{pid} ({name}) {before} {round(user * TICKS)} {round(system * TICKS)} {after}\n",
        )

    def processor(self, cpu: int, mhz: float, throttles: int = 0) -> None:
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        self.write(f"{folder}/cpufreq/scaling_cur_freq", f"{round(mhz * 1000)}\n")
        self.write(f"{folder}/thermal_throttle/core_throttle_count", f"{throttles}\n")

    def remove(self, path: str) -> None:
        for file in self.root.glob(path):
            file.unlink()

    def guards(self) -> Guards:
        return Guards(self.root, lambda: self.clock() / 1e9)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def begun(machine):
    """The guards of the machine, after `start`."""
    before = list(gc.callbacks)
    guards = machine.guards()
    guards.start()
    yield guards
    gc.callbacks[:] = before


QUIET = {
    "wall": 0.0,
    "cpu": 0.0,
    "involuntary_switches": 0.0,
    "minor_faults": 0.0,
    "major_faults": 0.0,
    "waiting": 0.0,
    "waiting_longest": 0.0,
    "others": 0.0,
    "stolen": 0.0,
    "swapped": 0.0,
    "quota_throttled": 0.0,
    "frequency_low": 1e9,
    "frequency_high": 1e9,
    "thermal_throttles": 0.0,
    "processors": 2.0,
    "gc_pauses": 0.0,
    "gc_longest": 0.0,
    "clock_resolution": 0.0,
}


def test_where_nothing_happens_every_number_is_there_and_none_counts_from_boot(begun):
    assert begun.stop() == QUIET


def test_every_number_is_explained():
    explained = " ".join(Guards.__doc__.split())
    assert [name for name in QUIET if f"`{name}`" not in explained] == []


def test_the_wall_time_is_that_of_the_clock(machine, begun):
    machine.clock.advance(12.5)
    assert begun.stop()["wall"] == 12.5


class TestOwnUse:
    def test_it_is_that_of_the_process_and_of_children_that_were_waited_for(self, machine, begun):
        machine.own.ru_utime += 1.0
        machine.own.ru_stime += 0.5
        machine.ended.ru_utime += 0.25
        machine.ended.ru_stime += 0.125
        assert begun.stop()["cpu"] == 1.875

    def test_switches_and_faults_are_those_of_the_process_alone(self, machine, begun):
        machine.own.ru_nivcsw += 1
        machine.own.ru_minflt += 2
        machine.own.ru_majflt += 3
        machine.ended.ru_nivcsw += 100
        machine.ended.ru_minflt += 100
        machine.ended.ru_majflt += 100
        found = begun.stop()
        names = ("involuntary_switches", "minor_faults", "major_faults")
        assert [found[name] for name in names] == [1, 2, 3]

    @pytest.mark.parametrize("name", ["pt_data_worker", "a (b) c", ") 1 2 3 (", ""])
    def test_children_that_run_are_part_of_it_whatever_they_are_called(self, machine, name):
        machine.write("proc/self/task/71/children", "81 ")
        machine.write("proc/self/task/72/children", "82 83 ")
        for pid in (81, 82, 83):
            machine.child(pid, user=1.0, system=1.0, name=name)
        guards = machine.guards()
        guards.start()
        machine.child(81, user=1.5, system=1.0, name=name)
        machine.child(83, user=1.0, system=1.25, name=name)
        assert guards.stop()["cpu"] == pytest.approx(0.75)

    def test_a_child_that_came_within_the_window_counts_from_its_birth(self, machine, begun):
        machine.write("proc/self/task/71/children", "81 ")
        machine.child(81, user=0.5, system=0.25)
        assert begun.stop()["cpu"] == pytest.approx(0.75)

    def test_a_child_that_ended_and_was_waited_for_counts_once(self, machine):
        machine.write("proc/self/task/71/children", "81 ")
        machine.child(81, user=5.0, system=0.0)
        guards = machine.guards()
        guards.start()
        machine.write("proc/self/task/71/children", "")
        machine.remove("proc/81/stat")
        machine.ended.ru_utime += 6.0  # its whole life
        assert guards.stop()["cpu"] == pytest.approx(1.0)

    def test_a_child_that_ended_unseen_makes_nothing_negative(self, machine):
        machine.write("proc/self/task/71/children", "81 ")
        machine.child(81, user=5.0, system=0.0)
        guards = machine.guards()
        guards.start()
        machine.remove("proc/81/stat")
        assert guards.stop()["cpu"] == 0


class TestOthers:
    def test_they_are_what_kept_the_processors_busy_but_for_its_own(self, machine, begun):
        machine.busy(5.0)
        machine.own.ru_utime += 1.5
        machine.ended.ru_utime += 0.5
        assert begun.stop()["others"] == pytest.approx(3.0)

    def test_children_that_run_are_no_others(self, machine, begun):
        machine.busy(5.0)
        machine.write("proc/self/task/71/children", "81 ")
        machine.child(81, user=5.0, system=0.0)
        assert begun.stop()["others"] == 0

    def test_they_are_never_less_than_nothing_though_ticks_are_coarse(self, machine, begun):
        machine.busy(1.0)
        machine.own.ru_utime += 1.25
        assert begun.stop()["others"] == 0

    def test_what_is_busy_is_all_but_idle_waiting_for_disks_and_stolen(self, machine, begun):
        # user nice system idle iowait irq softirq steal guest guest_nice; guests are in user already
        machine.stat("cpu0 1 2 3 1000 2000 4 5 60 500 600")
        found = begun.stop()
        assert found["others"] == pytest.approx((1 + 2 + 3 + 4 + 5) / TICKS)
        assert found["stolen"] == pytest.approx(60 / TICKS)

    def test_only_processors_that_the_launch_may_use_count(self, machine, begun):
        machine.stat(
            "cpu0 100 0 0 0 0 0 0 1 0 0",
            "cpu1 5000 0 0 0 0 0 0 5000 0 0",
            "cpu2 200 0 0 0 0 0 0 2 0 0",
            "cpu3 7000 0 0 0 0 0 0 7000 0 0",
            first="cpu  12300 0 0 0 0 0 0 12003 0 0",
        )
        found = begun.stop()
        assert found["others"] == pytest.approx(300 / TICKS)
        assert found["stolen"] == pytest.approx(3 / TICKS)
        assert found["processors"] == 2

    def test_a_processor_is_not_taken_for_one_whose_number_begins_alike(self, tmp_path):
        (tmp_path / "proc").mkdir()
        rows = [f"cpu{cpu} {cpu} 0 0 0 0 0 0 0 0 0" for cpu in range(30)]
        (tmp_path / "proc/stat").write_text("\n".join(rows))
        assert processor_time(tmp_path, (2, 21))["busy"] == pytest.approx(23 / TICKS)

    def test_where_a_processor_is_not_told_of_nothing_is(self, machine):
        machine.write("proc/stat", "cpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\n")
        guards = machine.guards()
        guards.start()
        assert QUIET.keys() - guards.stop().keys() == {"others", "stolen"}


class TestWaiting:
    def test_it_is_the_time_on_the_run_queue_of_all_threads_together(self, machine, begun):
        machine.waited(71, 5.5)
        machine.waited(72, 7.25)
        found = begun.stop()
        assert (found["waiting"], found["waiting_longest"]) == (0.75, 0.5)

    def test_a_thread_that_came_within_the_window_counts(self, machine, begun):
        machine.waited(73, 2.0)
        assert begun.stop()["waiting"] == 2.0

    def test_a_thread_that_ended_takes_nothing_from_the_others(self, machine, begun):
        machine.thread_ends(72)
        machine.waited(71, 5.5)
        assert begun.stop()["waiting"] == 0.5


def test_pages_that_went_in_and_out_of_swap_count(machine, begun):
    machine.write("proc/vmstat", "pswpin 103\npswpinside 999\npswpout 1004\nnr_free_pages 1\n")
    assert begun.stop()["swapped"] == 7


class TestQuota:
    def throttled(self, machine, memberships: str, file: str, before: str, after: str) -> float | None:
        machine.write("proc/self/cgroup", memberships)
        machine.write(file, before)
        guards = machine.guards()
        guards.start()
        machine.write(file, after)
        return guards.stop().get("quota_throttled")

    def test_it_is_told_by_the_one_hierarchy_of_version_2_in_microseconds(self, machine):
        found = self.throttled(
            machine,
            "0::/user.slice/a:b\n",
            "sys/fs/cgroup/user.slice/a:b/cpu.stat",
            "usage_usec 1\nnr_throttled 5\nthrottled_usec 2000000\n",
            "usage_usec 9\nnr_throttled 9\nthrottled_usec 2500000\n",
        )
        assert found == 0.5

    @pytest.mark.parametrize("hierarchy", ["cpu", "cpu,cpuacct"])
    def test_it_is_told_by_the_hierarchy_of_the_processors_of_version_1_in_nanoseconds(
        self, machine, hierarchy
    ):
        found = self.throttled(
            machine,
            f"9:memory:/elsewhere\n4:{hierarchy}:/docker/7\n3:cpuset:/nowhere\n0::/unified\n",
            f"sys/fs/cgroup/{hierarchy}/docker/7/cpu.stat",
            "nr_periods 1\nnr_throttled 5\nthrottled_time 2000000000\n",
            "nr_periods 9\nnr_throttled 9\nthrottled_time 2500000000\n",
        )
        assert found == 0.5

    def test_the_root_has_a_file_of_its_own(self, machine):
        found = self.throttled(
            machine, "0::/\n", "sys/fs/cgroup/cpu.stat", "throttled_usec 0\n", "throttled_usec 3000000\n"
        )
        assert found == 3.0

    def test_a_group_without_a_quota_tells_nothing(self, machine):
        stat = "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"
        assert self.throttled(machine, "0::/\n", "sys/fs/cgroup/cpu.stat", stat, stat) is None

    def test_a_group_elsewhere_tells_nothing(self, machine):
        stat = "throttled_usec 7\n"
        assert self.throttled(machine, "0::/hidden\n", "sys/fs/cgroup/cpu.stat", stat, stat) is None


class TestClocksOfTheProcessors:
    def test_the_lower_and_the_higher_reading_of_those_it_may_use_are_kept(self, machine, begun):
        machine.processor(0, mhz=3000, throttles=10)
        machine.processor(1, mhz=9000, throttles=10)
        machine.processor(2, mhz=4000, throttles=10)
        found = begun.stop()
        assert (found["frequency_low"], found["frequency_high"]) == (1e9, 3.5e9)

    def test_a_clock_that_fell_is_one_too(self, machine, begun):
        machine.processor(0, mhz=500, throttles=10)
        machine.processor(2, mhz=700, throttles=10)
        found = begun.stop()
        assert (found["frequency_low"], found["frequency_high"]) == (0.6e9, 1e9)

    def test_how_often_heat_slowed_them_is_counted_on_those_it_may_use(self, machine, begun):
        machine.processor(0, mhz=1000, throttles=11)
        machine.processor(1, mhz=1000, throttles=500)
        machine.processor(2, mhz=1000, throttles=12)
        assert begun.stop()["thermal_throttles"] == 3


# What is not told is left out, and nothing else.
TOLD_BY = {
    "proc/stat": {"others", "stolen"},
    "proc/vmstat": {"swapped"},
    "proc/self/task/*/schedstat": {"waiting", "waiting_longest"},
    "proc/self/cgroup": {"quota_throttled"},
    "sys/fs/cgroup/launches/mine/cpu.stat": {"quota_throttled"},
    "sys/devices/system/cpu/*/cpufreq/*": {"frequency_low", "frequency_high"},
    "sys/devices/system/cpu/*/thermal_throttle/*": {"thermal_throttles"},
}


@pytest.mark.parametrize("path", TOLD_BY)
def test_where_a_file_is_missing_its_number_is_left_out_and_nothing_else(machine, path):
    machine.remove(path)
    guards = machine.guards()
    guards.start()
    assert guards.stop() == {name: value for name, value in QUIET.items() if name not in TOLD_BY[path]}


@pytest.mark.parametrize("path", TOLD_BY)
def test_a_file_that_appears_in_the_window_is_not_counted_from_boot(machine, path):
    texts = {file: file.read_text() for file in machine.root.glob(path)}
    machine.remove(path)
    guards = machine.guards()
    guards.start()
    for file, text in texts.items():
        file.write_text(text)
    found = guards.stop()
    assert found == {name: value for name, value in QUIET.items() if name in found}


def test_a_system_that_tells_nothing_leaves_what_python_knows(machine, tmp_path):
    guards = Guards(tmp_path / "nothing", lambda: machine.clock() / 1e9)
    guards.start()
    known = QUIET.keys() - set().union(*TOLD_BY.values())
    assert guards.stop() == {name: QUIET[name] for name in known}


class Knot:
    """Garbage that only a collection finds, and that takes its time to go."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.itself = self
        self.clock, self.seconds = clock, seconds

    def __del__(self) -> None:
        self.clock.advance(self.seconds)


class TestPausesForGarbage:
    def collect(self, machine, seconds: float) -> None:
        Knot(machine.clock, seconds)
        gc.collect()

    def test_they_are_timed_within_the_window_and_nowhere_else(self, machine):
        guards = machine.guards()
        self.collect(machine, 8.0)
        guards.start()
        self.collect(machine, 0.25)
        machine.clock.advance(100.0)
        self.collect(machine, 0.5)
        found = guards.stop()
        self.collect(machine, 8.0)
        assert (found["gc_pauses"], found["gc_longest"]) == (0.75, 0.5)
        assert found["wall"] == 100.75

    def test_nobody_listens_before_and_after(self, machine):
        before = list(gc.callbacks)
        guards = machine.guards()
        assert gc.callbacks == before
        guards.start()
        assert len(gc.callbacks) == len(before) + 1
        guards.stop()
        assert gc.callbacks == before

    def test_a_second_start_begins_anew(self, machine):
        before = list(gc.callbacks)
        guards = machine.guards()
        guards.start()
        self.collect(machine, 4.0)
        machine.busy(5.0)
        machine.own.ru_minflt += 7
        machine.clock.advance(100.0)
        guards.start()
        self.collect(machine, 0.5)
        machine.clock.advance(1.0)
        found = guards.stop()
        assert gc.callbacks == before
        assert found == {**QUIET, "wall": 1.5, "gc_pauses": 0.5, "gc_longest": 0.5}

    def test_user_code_may_send_away_whoever_listens(self, begun):
        gc.callbacks.clear()
        assert begun.stop() == QUIET


class TestResolution:
    def test_it_is_the_shortest_step_that_the_clock_shows(self):
        clock = FakeClock(tick=40)
        assert resolution(lambda: clock() / 1e9) == pytest.approx(40e-9, rel=1e-6)

    def test_readings_that_show_no_step_are_passed_over(self):
        readings = iter(number // 10 * 1e-6 for number in range(1000))
        assert resolution(lambda: next(readings)) == pytest.approx(1e-6)

    def test_a_clock_that_stands_tells_none(self):
        assert resolution(lambda: 7.0) == 0.0

    def test_it_is_one_of_the_numbers(self, machine):
        machine.clock.tick = 500
        guards = machine.guards()
        guards.start()
        assert guards.stop()["clock_resolution"] == pytest.approx(500e-9, rel=1e-6)


def test_the_numbers_go_through_json(begun):
    found = begun.stop()
    assert json.loads(json.dumps(found)) == found


# -- on this machine --

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what these numbers are made of")


def work(seconds: float) -> None:
    """Keeps a processor busy until this process has used so much of it."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        sum(range(1000))


@linux
def test_a_window_of_real_work_has_time_in_it():
    before = list(gc.callbacks)
    guards = Guards()
    guards.start()
    work(0.05)
    gc.collect()
    found = guards.stop()
    assert gc.callbacks == before
    assert found["wall"] > 0
    assert found["cpu"] >= 0.05
    assert found["processors"] == len(os.sched_getaffinity(0))
    assert 0 < found["gc_longest"] <= found["gc_pauses"] <= found["wall"]
    assert 0 < found["clock_resolution"] < 0.001
    assert all(value >= 0 for value in found.values())


# Uses a processor for so many seconds, says so, and ends when its input does.
BURN = """
import sys, time
while time.process_time() < float(sys.argv[1]):
    pass
print("burnt", flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.skipif(not list(Path("/proc/self/task").glob("*/children")), reason="no list of children here")
@pytest.mark.parametrize("end", ["runs", "has ended"])
def test_what_a_child_burns_is_its_own_and_not_others(end):
    cpus = tuple(os.sched_getaffinity(0))
    busy = processor_time(Path("/"), cpus)["busy"]
    guards = Guards()
    guards.start()
    child = subprocess.Popen(
        [sys.executable, "-c", BURN, "0.3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "burnt\n"
    if end == "has ended":
        child.communicate()
    found = guards.stop()
    child.communicate()
    busy = processor_time(Path("/"), cpus)["busy"] - busy
    assert found["cpu"] >= 0.25  # a running child's time is told in ticks
    assert found["others"] <= max(0.0, busy - 0.25)


# Keeps the processor of its argument busy for ever, and says when it has begun to get some of it.
HOG = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while time.process_time() < 0.05:
    pass
print("busy", flush=True)
while True:
    pass
"""

# Works on the same processor, under guard.
GUARDED = """
import json, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
from bench.worker.timing.guards import Guards
guards = Guards()
guards.start()
began = time.process_time()
while time.process_time() - began < 0.2:
    pass
print(json.dumps(guards.stop()))
"""


def tells_of_waiting() -> bool:
    try:
        return len(Path("/proc/self/schedstat").read_text().split()) == 3
    except OSError:
        return False


@linux
@pytest.mark.skipif(not tells_of_waiting(), reason="this kernel does not tell how long a thread waited")
@takes_long("waits for other work on a processor")
def test_others_on_the_same_processor_are_seen_and_so_is_the_waiting_for_it():
    cpu = str(max(os.sched_getaffinity(0)))
    hogs = [
        subprocess.Popen([sys.executable, "-c", HOG, cpu], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        assert [hog.stdout.readline() for hog in hogs] == ["busy\n"] * 2
        done = subprocess.run(
            [sys.executable, "-c", GUARDED, cpu], capture_output=True, text=True, check=True, cwd=ROOT
        )
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()
    found = json.loads(done.stdout)
    assert found["processors"] == 1
    assert found["cpu"] >= 0.2
    assert found["waiting"] > 0.1, "it had a third of a processor: it waited twice as long as it ran"
    assert found["others"] > 0.1
    assert found["involuntary_switches"] > 0
