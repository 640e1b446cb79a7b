from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import fakes
import pytest
import torch
from fakes import fill, small_task
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.measurement.messages import ProfileOptions
from bench.system.paths import HARNESS
from bench.training import forward_and_loss
from bench.worker.marks import NAME, OUTSIDE, Mark
from bench.worker.profile import traces
from bench.worker.profile.profiler import profiled
from bench.worker.profile.traces import TooLarge, cleaned, folded, nameless, ranges, write

HERE = {"ph": "X", "pid": 1, "tid": 1}
HOST = "workbench-17"


def span(name, start, end, cat="python_function", **more):
    """An event of a trace, in microseconds."""
    return {**HERE, "cat": cat, "name": name, "ts": start, "dur": end - start, **more}


def raw(*events, ends=(0, 100, 200), marks=None, **about):
    """A trace as the profiler writes it, with marks that end stretches at these microseconds; and the marks.

    Where none are told, the first stretch is outside, and then come a forward pass, a loss, and data in training.
    """
    names = ["forward", "loss", "data", "metrics", "other"]
    marks = marks or [OUTSIDE, *(Mark("train", 0, name) for name in names)]
    cuts = [span(f"{NAME}{number}", end, end, "user_annotation") for number, end in enumerate(ends)]
    return {"traceEvents": [*events, *cuts], **about}, marks


def by_phase(stacks):
    """Microseconds of each phase."""
    found = Counter()
    for stack, value in stacks.items():
        found[stack[:2]] += value
    return found


class TestRanges:
    def test_stages_hold_their_phases(self):
        marks = [
            OUTSIDE,
            Mark("train", 0, "data"),
            Mark("train", 0, "loss"),
            OUTSIDE,
            Mark("test", 0, "data"),
        ]
        found = [
            (one["name"], one["ts"], one["dur"]) for one in ranges(*raw(ends=(0, 3, 7, 9, 10), marks=marks))
        ]
        assert sorted(found) == [
            ("test", 9, 1),
            ("test: data", 9, 1),
            ("train", 0, 7),
            ("train: data", 0, 3),
            ("train: loss", 3, 4),
        ]

    def test_a_stage_inside_another_cuts_it_in_two(self):
        marks = [OUTSIDE, Mark("train", 0, "loss"), Mark("validate", 0, "data"), Mark("train", 1, "data")]
        found = [(one["name"], one["ts"], one["dur"]) for one in ranges(*raw(ends=(0, 3, 7, 9), marks=marks))]
        assert [one for one in found if ":" not in one[0]] == [
            ("train", 0, 3),
            ("validate", 3, 4),
            ("train", 7, 2),
        ]

    @pytest.mark.parametrize("ends", [(), (0,)])
    def test_there_are_none_without_two_marks(self, ends):
        assert list(ranges(*raw(ends=ends))) == []

    def test_marks_on_a_devices_track_are_not_looked_at(self):
        trace, marks = raw()
        before = list(ranges(trace, marks))
        trace["traceEvents"].append(span(f"{NAME}1", 5000, 6000, "gpu_user_annotation"))
        assert list(ranges(trace, marks)) == before


class TestCleaned:
    @pytest.fixture(autouse=True)
    def own_name(self, monkeypatch):
        """The machine is called something that no operator is called."""
        monkeypatch.setattr(traces.os, "uname", lambda: SimpleNamespace(nodename=HOST))

    def test_marks_are_gone_from_every_track(self):
        trace, marks = raw(span("aten::add", 10, 20, "cpu_op"))
        trace["traceEvents"].append(span(f"{NAME}1", 5000, 6000, "gpu_user_annotation"))
        names = [event["name"] for event in cleaned(trace, marks)["traceEvents"]]
        assert names == ["aten::add", "train: forward", "train: loss", "train"]

    def test_the_hosts_name_is_nowhere_and_nothing_else_is_lost(self):
        trace, marks = raw(
            span(
                f"read /data/{HOST}/x.bin", 10, 20, args={"file": f"/home/{HOST}/a", "deep": [{"of": HOST}]}
            ),
            span("aten::add", 30, 40, "cpu_op", args={"Input Dims": [[4, 3]], "External id": 7}),
            otherData={"node": f"{HOST}.example.org", "version": 1},
            host_name=HOST,
            traceName=f"/tmp/{HOST}.json",
            distributedInfo={HOST: {"rank": 0}},
        )
        found = cleaned(trace, marks)
        assert HOST not in json.dumps(found)
        assert len(found["traceEvents"]) == 2 + 3
        assert found["otherData"] == {"node": "(host).example.org", "version": 1}
        assert found["traceEvents"][0]["args"] == {"file": "/home/(host)/a", "deep": [{"of": "(host)"}]}
        assert found["traceEvents"][1] == trace["traceEvents"][1]

    @pytest.mark.parametrize("host", ["vm", "X", "train", "cpu_op", "1", ""])
    def test_a_host_of_a_common_name_costs_no_event(self, host, monkeypatch):
        monkeypatch.setattr(traces.os, "uname", lambda: SimpleNamespace(nodename=host))
        trace, marks = raw(
            span("torch/_functorch/vmap.py(3): vmap", 10, 20, args={"of": "vmap"}), host_name=host
        )
        found = cleaned(trace, marks)
        assert "host_name" not in found
        assert {event["ph"] for event in found["traceEvents"]} == {"X"}
        names = [event["name"] for event in found["traceEvents"]]
        assert [name for name in names if name.startswith("train")] == [
            "train: forward",
            "train: loss",
            "train",
        ]
        assert len(names) == 4
        assert found["traceEvents"][0]["args"] == {"of": "vmap"}

    def test_the_profilers_own_trace_is_left_as_it_was(self):
        trace, marks = raw(span(HOST, 10, 20))
        before = json.dumps(trace)
        cleaned(trace, marks)
        assert json.dumps(trace) == before

    @pytest.mark.parametrize(
        ("text", "host", "without"),
        [
            ("vm vmap nvm vm.local", "vm", "(host) vmap nvm (host).local"),
            ("a.b axb", "a.b", "(host) axb"),
            (7, "7", 7),
            (None, "x", None),
            ("anything", "", "anything"),
        ],
    )
    def test_a_name_is_left_out_as_a_word(self, text, host, without):
        assert nameless(text, host) == without


frames = st.lists(
    st.tuples(st.integers(-50, 350), st.integers(0, 200), st.sampled_from("abcd")).map(
        lambda one: span(one[2], one[0], one[0] + one[1])
    ),
    max_size=15,
)


class TestFolded:
    def test_time_belongs_to_the_innermost_frame(self):
        stacks = folded(
            *raw(span("outer", 0, 100), span("inner", 20, 50), span("aten::add", 30, 40, "cpu_op"))
        )
        assert stacks == {
            ("train", "forward", "outer"): 70,
            ("train", "forward", "outer", "inner"): 20,
            ("train", "forward", "outer", "inner", "aten::add"): 10,
            ("train", "loss"): 100,
        }

    def test_a_frame_that_crosses_into_the_next_phase_has_its_time_in_both(self):
        assert folded(*raw(span("mine", 40, 160), span("inner", 90, 110))) == {
            ("train", "forward"): 40,
            ("train", "forward", "mine"): 50,
            ("train", "forward", "mine", "inner"): 10,
            ("train", "loss", "mine", "inner"): 10,
            ("train", "loss", "mine"): 50,
            ("train", "loss"): 40,
        }

    def test_what_began_outside_of_the_loop_is_in_no_stack(self):
        assert folded(*raw(span("main", -50, 300), span("mine", 0, 100))) == {
            ("train", "forward", "mine"): 100,
            ("train", "loss"): 100,
        }

    def test_the_frames_of_one_stage_do_not_reach_into_the_next(self):
        marks = [OUTSIDE, Mark("train", 0, "data"), OUTSIDE, Mark("test", 0, "data")]
        stacks = folded(*raw(span("mine", 50, 250), ends=(0, 100, 200, 300), marks=marks))
        assert stacks == {("train", "data"): 50, ("train", "data", "mine"): 50, ("test", "data"): 100}

    @pytest.mark.parametrize(
        "own",
        [
            "bench/training.py(129): train",
            f"{HARNESS}/training.py(9): evaluate",
            "ProfilerStep#8",
            f"{NAME}77",
        ],
    )
    def test_epochbenchs_own_frames_are_left_out_and_what_they_call_is_not(self, own):
        assert folded(*raw(span(own, 0, 100), span("mine", 20, 80), ends=(0, 100))) == {
            ("train", "forward"): 40,
            ("train", "forward", "mine"): 60,
        }

    @pytest.mark.parametrize(
        "own",
        [
            "torch/autograd/profiler.py(700): __enter__",
            "torch/profiler/profiler.py(800): step",
            "bench/worker/marks.py(50): mark",
            f"{HARNESS}/worker/marks.py(50): mark",
            "bench/worker/profile/profiler.py(70): step",
        ],
    )
    def test_the_profilers_frames_are_left_out_with_what_they_call(self, own):
        trace = raw(
            span("mine", 10, 90), span(own, 30, 60), span("typing.py(3): inner", 40, 50), ends=(0, 100)
        )
        assert folded(*trace) == {("train", "forward"): 20, ("train", "forward", "mine"): 80}

    def test_what_sets_a_mark_is_silent_on_both_sides_of_it(self):
        trace = raw(span("bench/worker/marks.py(50): mark", 90, 120), span("typing.py(3): inner", 105, 115))
        assert folded(*trace) == {("train", "forward"): 100, ("train", "loss"): 100}

    def test_what_begins_a_stage_is_silent_in_it(self):
        trace = raw(
            span("bench/worker/profile/profiler.py(7): begin", -20, 30), span("typing.py(3): inner", 5, 15)
        )
        assert folded(*trace) == {("train", "forward"): 100, ("train", "loss"): 100}

    def test_what_runs_the_whole_profile_silences_nothing(self):
        trace = raw(span("bench/worker/profile/profiler.py(120): profiled", -20, 300), span("mine", 0, 200))
        assert folded(*trace) == {("train", "forward", "mine"): 100, ("train", "loss", "mine"): 100}

    @pytest.mark.parametrize(
        ("name", "spelled"),
        [
            ("a;b", "a,b"),
            ("one\ntwo\r\nthree\u2028four", "one two three four"),
            ("<function f at 0x7f00deadbeef>", "<function f>"),
            ("<built-in method to of Tensor object at 0x7f12>", "<built-in method to of Tensor>"),
            ("", "(nameless)"),
            (f"/home/{os.uname().nodename}/train.py(3): f", "/home/(host)/train.py(3): f"),
        ],
    )
    def test_no_name_breaks_a_line_or_differs_from_launch_to_launch(self, name, spelled):
        assert folded(*raw(span(name, 0, 100), ends=(0, 100))) == {("train", "forward", spelled): 100}

    @pytest.mark.parametrize(
        "other", [{"tid": 2}, {"pid": 2}, {"cat": "kernel"}, {"cat": "gpu_user_annotation"}, {"ph": "i"}]
    )
    def test_only_the_thread_of_the_loop_is_looked_at(self, other):
        assert folded(*raw({**span("mine", 0, 100), **other}, ends=(0, 100))) == {("train", "forward"): 100}

    @given(frames, st.lists(st.integers(1, 90), min_size=1, max_size=5))
    def test_the_stacks_of_a_phase_add_up_to_it(self, some, lengths):
        ends = [0]
        for one in lengths:
            ends.append(ends[-1] + one)
        trace, marks = raw(*some, ends=ends)
        stacks = folded(trace, marks)
        assert by_phase(stacks) == {
            ("train", marks[number].phase): end - start
            for number, (start, end) in enumerate(pairwise(ends), 1)
        }

    def test_without_marks_there_are_no_stacks(self):
        assert folded(*raw(span("mine", 0, 100), ends=())) == {}


class TestWrite:
    def test_what_is_as_large_as_the_cap_is_written(self, tmp_path):
        write(tmp_path / "file", b"12345", 5)
        assert (tmp_path / "file").read_bytes() == b"12345"

    def test_what_is_larger_is_not(self, tmp_path):
        with pytest.raises(TooLarge, match=re.escape("it has 2.5 MB, above the cap of 2.0 MB")):
            write(tmp_path / "file", bytes(2_500_000), 2_000_000)
        assert not (tmp_path / "file").exists()


# -- traces of a real profiler --

CASE = fakes.CASE


def task(**parts):
    return small_task(model=nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), **parts)


def profile_into(folder, name="launch-7", made=None, **options):
    return profiled(made or task(), CASE, ProfileOptions(folder, name, **options), lambda: None)


def opened(path):
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "traces"
    profile = profile_into(folder)
    return folder, profile, opened(folder / "launch-7.json.gz")


class TestTheKeptTrace:
    def test_it_lies_in_the_run_folder_under_the_name_of_its_launch(self, kept):
        folder, profile, _ = kept
        assert profile.trace == "traces/launch-7.json.gz"
        assert (profile.stacks, profile.omitted) == ("", "")
        assert [path.name for path in folder.iterdir()] == ["launch-7.json.gz"]

    def test_stages_and_phases_are_ranges_one_inside_the_other(self, kept):
        _, _, trace = kept
        found = [event for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
        for stage in ("train", "validate", "test"):
            (whole,) = [event for event in found if event["name"] == stage]
            phases = [event for event in found if event["name"].startswith(f"{stage}: ")]
            assert {f"{stage}: forward", f"{stage}: loss", f"{stage}: data"} <= {
                one["name"] for one in phases
            }
            for one in phases:  # the clock of a trace has nanoseconds
                assert one["ts"] >= whole["ts"] - 0.01
                assert one["ts"] + one["dur"] <= whole["ts"] + whole["dur"] + 0.01
                assert (one["pid"], one["tid"]) == (whole["pid"], whole["tid"])

    def test_operators_lie_inside_the_range_of_their_phase(self, kept):
        _, _, trace = kept
        forward = [event for event in trace["traceEvents"] if event["name"].endswith(": forward")]
        products = [event for event in trace["traceEvents"] if event["name"] == "aten::addmm"]
        assert len(products) == 2 * 3 * 5
        for product in products:
            assert any(
                one["ts"] <= product["ts"] and product["ts"] + product["dur"] <= one["ts"] + one["dur"]
                for one in forward
            )

    def test_there_are_no_marks_in_it(self, kept):
        folder, _, _ = kept
        assert NAME.encode() not in gzip.decompress((folder / "launch-7.json.gz").read_bytes())

    def test_the_hosts_name_is_not_in_it(self, kept):
        folder, _, trace = kept
        assert "host_name" not in trace
        assert "traceName" not in trace
        text = gzip.decompress((folder / "launch-7.json.gz").read_bytes()).decode()
        assert not re.search(rf"(?<!\w){re.escape(os.uname().nodename)}(?!\w)", text)

    def test_no_time_of_writing_is_in_the_file(self, kept):
        folder, _, _ = kept
        assert (folder / "launch-7.json.gz").read_bytes()[4:8] == bytes(4)

    def test_the_users_own_annotations_are_in_it_whatever_they_are_called(self, tmp_path):
        def annotated(task, inputs, targets, lap):
            with torch.profiler.record_function('mine "one";\n\\ é'):
                return forward_and_loss(task, inputs, targets, lap)

        for stacks in (False, True):
            profile = profile_into(tmp_path / "traces", made=task(step=annotated), stacks=stacks)
            assert profile.omitted == ""
        assert opened(tmp_path / "traces" / "launch-7.json.gz")["traceEvents"]


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "traces"
    return folder, profile_into(folder, stacks=True)


@pytest.fixture
def lines(stacked):
    folder, _ = stacked
    return (folder / "launch-7.stacks.txt").read_text().splitlines()


class TestStacks:
    def test_they_are_a_file_and_such_a_profile_has_nothing_else(self, stacked):
        folder, profile = stacked
        assert (profile.trace, profile.stacks, profile.omitted) == ("", "traces/launch-7.stacks.txt", "")
        assert profile.operators == ()
        assert [path.name for path in folder.iterdir()] == ["launch-7.stacks.txt"]

    def test_each_line_has_a_stack_and_its_microseconds(self, lines):
        assert lines
        for line in lines:
            assert re.fullmatch(r"(train|validate|test);[a-z_]+(;[^;]+)* [1-9]\d*", line), line

    def test_an_operator_lies_in_its_phase_below_the_users_module(self, lines):
        forward = [line for line in lines if line.startswith("train;forward;")]
        assert any(re.fullmatch(r".*nn\.Module: Linear_\d.*;aten::addmm \d+", line) for line in forward), (
            forward
        )
        assert any(re.match(r"train;backward;.*aten::mm", line) for line in lines)

    @pytest.mark.parametrize(
        "own", ["bench/", HARNESS, "profiler.py", NAME, "ProfilerStep", "_record_function", " at 0x"]
    )
    def test_neither_epochbench_nor_the_profiler_is_in_them(self, lines, own):
        assert not [line for line in lines if own in line]


class TestWhatCannotBeKept:
    """The launch goes on and says why; its operators are there in any case."""

    def test_a_trace_above_the_cap(self, tmp_path):
        profile = profile_into(tmp_path / "traces", cap=1000)
        assert profile.trace == ""
        assert re.match(r"it has 0\.\d MB, above the cap of 0\.0 MB; .*--trace-cap", profile.omitted)
        assert list((tmp_path / "traces").iterdir()) == []
        assert profile.operators

    def test_stacks_above_the_cap(self, tmp_path):
        profile = profile_into(tmp_path / "traces", cap=100, stacks=True)
        assert profile.stacks == ""
        assert "above the cap" in profile.omitted
        assert list((tmp_path / "traces").iterdir()) == []

    def test_a_trace_on_a_full_disk(self, disk):
        fill(disk, 8192)  # less than the trace, so that a part of it can be written
        profile = profile_into(disk / "traces")
        assert profile.omitted == "it cannot be written: No space left on device"
        assert profile.trace == ""
        assert list((disk / "traces").iterdir()) == []
        assert profile.operators

    def test_a_trace_for_which_the_temporary_folder_has_no_room(self, disk, monkeypatch):
        monkeypatch.setattr(traces.tempfile, "tempdir", str(disk))
        fill(disk, 8192)
        profile = profile_into(disk.parent / "traces")
        assert profile.omitted
        assert profile.trace == ""
        assert not (disk.parent / "traces").exists()
        assert profile.operators

    @pytest.mark.parametrize("stacks", [False, True])
    def test_a_file_where_the_folder_would_be(self, stacks, tmp_path):
        (tmp_path / "traces").write_text("mine")
        profile = profile_into(tmp_path / "traces", stacks=stacks)
        assert profile.omitted == "it cannot be written: File exists"
        assert (tmp_path / "traces").read_text() == "mine"

    def test_a_run_folder_that_is_gone(self, tmp_path):
        assert "No such file" in profile_into(tmp_path / "gone" / "traces").omitted
