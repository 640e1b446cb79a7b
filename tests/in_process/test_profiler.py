from __future__ import annotations

import dataclasses
import functools
import json
from types import SimpleNamespace

import fakes
import pytest
import torch
from fakes import FakeClock, FakeDevice, batches, small_task
from torch import nn
from torch._C._autograd import DeviceType
from torch.utils.data import DataLoader

from bench.measurement import REMAINDER, Profile
from bench.training import fit, forward_and_loss
from bench.worker.marks import NAME, OUTSIDE, Mark
from bench.worker.profile.profiler import (
    PLAIN,
    WARM,
    WARMED,
    ProfiledLoop,
    ProfileOptions,
    activities_for,
    device_shares,
    operators,
    profiled,
    shapes_of,
)
from bench.worker.window import windowed

pytestmark = pytest.mark.usefixtures("one_thread")

BEFORE = WARM + PLAIN + WARMED
STEPS = 5


class StandIn:
    """A profiler that counts its steps, makes those it records slow, and takes long to get ready and to start."""

    def __init__(self, clock):
        self.clock = clock
        self.steps = 0

    @property
    def recording(self):
        return self.steps >= BEFORE

    def step(self):
        self.steps += 1
        if self.steps in (WARM + PLAIN, BEFORE):
            self.clock.advance(1000.0)


class Watched:
    """A loop under a stand-in profiler: a forward pass takes 2 s, 3 s where it is recorded, and more at first."""

    def __init__(self, mode="train", first=BEFORE + STEPS, later=STEPS, shut_down=0.0, **options):
        self.clock = FakeClock()
        self.profiler = StandIn(self.clock)
        self.loop = ProfiledLoop(self.profiler, STEPS, clock=self.clock)
        watched = self

        class Model(nn.Linear):
            def forward(self, inputs):
                watched.clock.advance(watched.forward())
                return super().forward(inputs)

        class Loader(list):
            def __iter__(self):
                yield from super().__iter__()
                watched.clock.advance(shut_down)

        validate = first if mode != "train" else later
        sizes = {"train_loader": first, "validate_loader": validate, "test_loader": later}
        loaders = {name: Loader(batches(4 * size, 4)) for name, size in sizes.items()}
        fit(small_task(model=Model(3, 2), **loaders), 1, mode, observer=self.loop, **options)

    def forward(self):
        if self.profiler.recording:
            return 3.0
        return 50.0 if self.profiler.steps < WARM else 2.0


class TestWhichStepsAreProfiled:
    def test_the_first_stage_has_some_before_them_and_every_later_one_has_nothing_else(self):
        watched = Watched()
        assert watched.loop.steps == {"train": STEPS, "validate": STEPS, "test": STEPS}
        assert watched.profiler.steps == BEFORE + 3 * STEPS

    @pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
    def test_of_an_evaluation_the_first_stage_is_the_validation(self, mode):
        watched = Watched(mode)
        assert watched.loop.steps == {"validate": STEPS, "test": STEPS}
        assert watched.loop.plain_step == pytest.approx(2.0)
        assert watched.loop.profiled_step == pytest.approx(3.0)

    def test_a_stage_that_ends_too_early_leaves_the_rest_to_the_next(self):
        watched = Watched(first=BEFORE - 2, later=4)
        assert watched.loop.steps == {"validate": 2, "test": 4}
        assert set(watched.loop.wall) == {"validate", "test"}
        assert watched.loop.profiled_step == 0.0

    def test_none_are_where_all_stages_together_are_too_short(self):
        assert Watched(first=2, later=1).loop.steps == {}


class TestTheTimeOfSteps:
    def test_a_plain_step_is_neither_one_of_the_first_nor_a_profiled_one(self):
        assert Watched().loop.plain_step == pytest.approx(2.0)

    def test_what_it_takes_to_start_the_profiler_is_in_no_step_and_in_no_stage(self):
        loop = Watched().loop
        assert loop.profiled_step == pytest.approx(3.0)
        assert loop.wall == pytest.approx(dict.fromkeys(("train", "validate", "test"), STEPS * 3.0))

    def test_a_loader_that_takes_long_to_shut_down_is_part_of_its_stage_and_of_no_step(self):
        loop = Watched(shut_down=60.0).loop
        assert loop.profiled_step == pytest.approx(3.0)
        assert loop.wall["train"] == pytest.approx(STEPS * 3.0 + 60.0)

    def test_a_validation_inside_the_train_stage_is_no_part_of_it(self):
        watched = Watched(later=2, validate_every=5)  # after step 5, a plain one, and step 10, a profiled one
        loop = watched.loop
        assert loop.steps == {"train": STEPS, "validate": 2, "test": 2}
        assert loop.wall == pytest.approx({"train": STEPS * 3.0, "validate": 2 * 3.0, "test": 2 * 3.0})
        assert loop.plain_step == pytest.approx(2.0)
        assert loop.profiled_step == pytest.approx(3.0)

    def test_a_device_is_waited_for_before_the_clock_is_read(self):
        clock = FakeClock()
        device = FakeDevice(clock)
        loop = ProfiledLoop(StandIn(clock), STEPS, device.synchronize, clock)

        class Model(nn.Linear):
            def forward(self, inputs):
                device.work(2.0)
                return super().forward(inputs)

        task = windowed(small_task(model=Model(3, 2)), BEFORE + STEPS, STEPS, STEPS)
        clock.advance(1.0)
        fit(task, 1, observer=loop)
        assert loop.profiled_step == pytest.approx(2.0)
        assert loop.wall["validate"] == loop.wall["test"] == pytest.approx(STEPS * 2.0)


# -- a real profiler --


def case(mode="train"):
    return fakes.Case("fake", {"device": "cpu", "batch_size": 4, "optimizer": "sgd", "mode": mode})


def profile_of(task, folder, mode="train", **options) -> Profile:
    return profiled(task, case(mode), ProfileOptions(folder / "traces", "one", **options), lambda: None)


def large_task():
    """Its steps take a few milliseconds, so that what happens at the edges of a stage is little of it."""
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2))
    loaders = {f"{stage}_loader": batches(512, 256, 512) for stage in ("train", "validate", "test")}
    return small_task(model=model, **loaders)


def rows(profile, **wanted):
    return [row for row in profile.operators if all(getattr(row, key) == wanted[key] for key in wanted)]


@pytest.fixture(scope="module", params=["train", "no_grad"])
def any_mode(request, tmp_path_factory):
    return profile_of(large_task(), tmp_path_factory.mktemp("any"), request.param, steps=4)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    task = small_task(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, foreach=True),
        train_loader=DataLoader(torch.utils.data.TensorDataset(torch.rand(12, 3), torch.ones(12).long()), 4),
    )
    return profile_of(task, tmp_path_factory.mktemp("training"))


class TestTheBooks:
    @pytest.mark.parametrize("mode", ["train", "no_grad"])
    def test_the_hosts_time_of_all_rows_of_a_stage_is_the_time_of_the_stage(self, mode, tmp_path):
        for _ in range(3):  # the machine may take a moment for itself between a mark and a look at the clock
            profile = profile_of(large_task(), tmp_path, mode, steps=8)
            off = {
                stage: sum(row.host_self for row in rows(profile, stage=stage)) / wall - 1
                for stage, wall in profile.wall.items()
            }
            if max(map(abs, off.values())) < 0.02:
                break
        assert max(map(abs, off.values())) < 0.02, off

    def test_no_time_is_negative(self, any_mode):
        assert any_mode.operators
        for row in any_mode.operators:
            assert min(row.host_self, row.host_total, row.device_self, row.device_total) >= 0, row

    def test_every_phase_has_one_remainder(self, any_mode):
        rest = [(row.stage, row.phase) for row in rows(any_mode, kind="remainder")]
        assert len(rest) == len(set(rest))
        assert {(row.stage, row.phase) for row in any_mode.operators} == set(rest)
        assert {row.operator for row in rows(any_mode, kind="remainder")} == {REMAINDER}

    def test_so_many_steps_are_profiled_as_were_asked_for(self, any_mode):
        assert set(any_mode.steps.values()) == {4}
        assert set(any_mode.steps) == {row.stage for row in any_mode.operators}
        for stage in any_mode.steps:
            assert sum(row.calls for row in rows(any_mode, stage=stage, operator="aten::relu")) == 2 * 4

    def test_neither_marks_nor_the_profilers_steps_are_operators(self, any_mode):
        names = {row.operator for row in any_mode.operators}
        assert not [name for name in names if name.startswith((NAME, "ProfilerStep", "["))]

    def test_a_profile_says_what_profiling_cost(self, any_mode):
        assert any_mode.plain_step > 0
        assert any_mode.profiled_step > 0

    def test_the_cpu_is_no_device_beside_the_host(self, any_mode):
        assert any_mode.device == {}
        assert any_mode.limits == ()
        assert not any(row.device_total for row in any_mode.operators)


class TestWhereOperatorsLie:
    @pytest.mark.parametrize(
        ("operator", "phase"),
        [
            ("aten::addmm", "forward"),
            ("aten::cross_entropy_loss", "loss"),
            ("aten::mm", "backward"),
            ("aten::_foreach_add_", "optimizer"),
            ("Optimizer.step#SGD.step", "optimizer"),
            ("Optimizer.zero_grad#SGD.zero_grad", "zero_grad"),
            ("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", "data"),
        ],
    )
    def test_each_lies_in_the_phase_that_it_ran_in(self, training, operator, phase):
        found = {row.phase for row in rows(training, stage="train", operator=operator)}
        assert found == {phase}

    def test_an_evaluation_has_no_backward_pass(self, training):
        phases = {row.phase for row in rows(training, stage="validate")}
        assert "forward" in phases
        assert not phases & {"backward", "zero_grad", "optimizer"}

    def test_groups_of_shapes_are_kept_apart(self, tmp_path):
        model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
        profile = profile_of(small_task(model=model), tmp_path)
        found = {row.shapes: row.calls for row in rows(profile, stage="test", operator="aten::addmm")}
        assert found == {"5 4x3 3x5": STEPS, "2 4x5 5x2": STEPS}

    @pytest.mark.parametrize(
        ("shapes", "spelled"),
        [([[4, 3], [3, 2]], "4x3 3x2"), ([[], [2], []], "2"), ([], ""), (None, ""), ([[2, 0]], "2x0")],
    )
    def test_shapes_are_spelled_without_scalars(self, shapes, spelled):
        assert shapes_of(SimpleNamespace(input_shapes=shapes)) == spelled

    def test_what_is_allocated_is_seen(self, any_mode):
        (row,) = rows(
            any_mode, stage="test", phase="forward", operator="aten::addmm", shapes="2 256x512 512x2"
        )
        assert row.bytes == 4 * 256 * 2 * 4


def event(name, start, end, *calls, kernels=(), annotation=False, activity="cpu_op"):
    """Something on the host from `start` to `end` microseconds, what it called, and the kernels it launched."""
    own = end - start - sum(call.time_range.end - call.time_range.start for call in calls)
    return SimpleNamespace(
        name=name,
        device_type=DeviceType.CPU,
        time_range=SimpleNamespace(start=start, end=end),
        cpu_children=list(calls),
        self_cpu_time_total=own,
        cpu_time_total=end - start,
        self_cpu_memory_usage=0,
        self_device_memory_usage=0,
        input_shapes=[],
        kernels=[SimpleNamespace(name=name, duration=micros) for name, micros in kernels],
        is_user_annotation=annotation,
        activity_type=activity,
    )


MARKS = (OUTSIDE, Mark("train", 0, "forward"), Mark("train", 0, "loss"), OUTSIDE, Mark("test", 0, "forward"))
CUTS = [event(f"{NAME}{number}", 100 * number, 100 * number + 1) for number in range(len(MARKS))]


def host_time(*events, cuts=CUTS):
    """Microseconds and calls, by phase and operator."""
    found = operators([*cuts, *events], MARKS)
    return {
        (f"{row.stage} {row.phase}", row.operator): (round(row.host_self * 1e6, 3), row.calls)
        for row in found
    }


class TestCuts:
    def test_what_no_operator_took_is_the_remainder_and_what_is_outside_of_stages_is_nothing(self):
        assert host_time(event("add", 20, 50), event("add", 60, 61), event("copy", 220, 280)) == {
            ("train forward", "add"): (31, 2),
            ("train forward", REMAINDER): (69, 1),
            ("train loss", REMAINDER): (100, 1),
            ("test forward", REMAINDER): (100, 1),
        }

    def test_what_goes_on_over_two_phases_has_its_time_in_both_and_is_counted_once(self):
        inner = event("add", 120, 130)
        mine = event("mine", 50, 150, CUTS[1], inner)
        found = host_time(mine, inner)
        assert found["train forward", "mine"] == (50, 1)
        assert found["train forward", REMAINDER] == (50, 1)
        assert found["train loss", "mine"] == (19 + 20, 0)
        assert found["train loss", "add"] == (10, 1)
        assert found["train loss", REMAINDER] == (51, 1)

    def test_what_began_outside_of_a_stage_has_its_time_inside_alone(self):
        found = host_time(event("mine", 250, 350, CUTS[3]))
        assert found["test forward", "mine"] == (49, 0)
        assert ("train loss", "mine") not in found

    def test_calls_that_overlap_by_a_rounding_take_nothing_away(self):
        assert host_time(event("add", 20, 30, event("inner", 20, 31)))["train forward", "add"] == (0, 1)

    def test_what_is_after_the_last_mark_or_before_the_first_is_left_out(self):
        found = host_time(event("late", 450, 460), event("early", -20, -10))
        assert {name for _, name in found} == {REMAINDER}

    def test_marks_of_one_instant_are_taken_as_they_were_made(self):
        cuts = [event(f"{NAME}{number}", 7, 7) for number in range(3)]
        assert host_time(cuts=cuts) == {
            ("train forward", REMAINDER): (0, 1),
            ("train loss", REMAINDER): (0, 1),
        }

    def test_what_the_profiler_needs_for_itself_is_no_operator(self):
        found = host_time(event("Activity Buffer Request", 20, 50, activity="overhead"))
        assert found["train forward", REMAINDER] == (100, 1)
        assert {name for _, name in found} == {REMAINDER}

    def test_kernels_have_rows_of_their_own_and_the_range_of_an_annotation_is_none(self):
        add = event("add", 30, 40, kernels=[("vectorized_add", 7.0), ("vectorized_add", 5.0)])
        step = event("step", 20, 50, add, kernels=[("step", 90.0)], annotation=True)
        found = {row.operator: row for row in operators([*CUTS, step, add], MARKS) if row.kind != "remainder"}
        device = {
            name: (round(row.device_self * 1e6), round(row.device_total * 1e6)) for name, row in found.items()
        }
        assert device == {"step": (0, 12), "add": (12, 12), "vectorized_add": (12, 12)}
        assert found["vectorized_add"].calls == 2
        assert found["vectorized_add"].host_self == 0
        assert (found["vectorized_add"].kind, found["add"].kind) == ("kernel", "operator")

    def test_without_marks_there_are_no_rows(self):
        assert host_time(event("add", 20, 50), cuts=[]) == {}


class TestWhatTheLoopDoes:
    def test_it_learns_the_same_under_the_profiler(self, tmp_path):
        watched, plain = small_task(), small_task()
        profile_of(watched, tmp_path)
        fit(windowed(plain, BEFORE + STEPS, STEPS, STEPS), 1)
        begun = small_task().model.parameters()
        for one, other, before in zip(
            watched.model.parameters(), plain.model.parameters(), begun, strict=True
        ):
            assert torch.equal(one, other)
            assert not torch.equal(one, before)

    def test_its_losses_are_the_same_under_the_profiler(self):
        plain = fit(windowed(small_task(), 13, 5, 5), 1)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            watched = fit(windowed(small_task(), 13, 5, 5), 1, observer=ProfiledLoop(profiler, STEPS))
        assert watched == plain

    @pytest.mark.parametrize("number", [1, BEFORE, BEFORE + 2])
    def test_an_error_of_the_users_comes_through_and_the_profiler_is_stopped(self, number, tmp_path):
        made = []

        def failing(task, inputs, targets, lap):
            made.append(inputs)
            if len(made) == number:
                raise ZeroDivisionError("the user's own")
            return forward_and_loss(task, inputs, targets, lap)

        with pytest.raises(ZeroDivisionError, match="the user's own"):
            profile_of(small_task(step=failing), tmp_path)
        assert not torch.autograd._profiler_enabled()
        assert profile_of(small_task(), tmp_path).steps["train"] == STEPS

    @pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 2), (2, 3, 3), (6, 1, 1)])
    def test_loaders_that_give_too_little_leave_a_profile_without_steps_that_says_so(self, sizes, tmp_path):
        class Once:
            """A loader that can be gone through a single time."""

            def __init__(self, size):
                self.left = batches(4 * size, 4)

            def __iter__(self):
                while self.left:
                    yield self.left.pop()

        stages = ("train", "validate", "test")
        loaders = {f"{stage}_loader": Once(size) for stage, size in zip(stages, sizes, strict=True)}
        profile = profile_of(small_task(**loaders), tmp_path)
        assert profile.steps == {}
        assert profile.operators == ()
        assert "no more than the 8 batches" in profile.omitted

    def test_a_profile_is_the_same_after_it_was_written_and_read(self, training):
        assert Profile.from_json(json.loads(json.dumps(dataclasses.asdict(training)))) == training


class TestActivities:
    def test_the_cpu_is_watched_in_full(self):
        assert activities_for(torch.device("cpu")) == ([torch.profiler.ProfilerActivity.CPU], ())

    @pytest.mark.skipif(torch.cuda.is_available(), reason="only a machine without a GPU lacks its activity")
    @pytest.mark.parametrize("device", ["cuda", "mps"])
    def test_a_device_that_cannot_be_watched_is_a_limit_and_the_host_is_watched_still(self, device):
        watched = activities_for(torch.device(device))
        assert watched == ([torch.profiler.ProfilerActivity.CPU], ("device_not_profiled",))


@pytest.fixture(scope="module")
def card():
    return torch.device("cuda", 0)


@pytest.fixture(scope="module")
def on_card(card, tmp_path_factory):
    task = large_task()
    task.device = card
    task.model.to(card)
    options = ProfileOptions(tmp_path_factory.mktemp("card") / "traces", "one")
    its_case = fakes.Case("fake", {**case().axes, "device": "cuda:0"})
    return profiled(task, its_case, options, functools.partial(torch.cuda.synchronize, card))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
class TestOnACard:
    def test_a_long_sequence_of_kernels_takes_as_long_in_the_trace_as_between_events(self, card):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(1_000_000)
        activities, _ = activities_for(card)
        with torch.profiler.profile(activities=activities) as profiler:
            first.record()
            for _ in range(20):
                torch.cuda._sleep(20_000_000)  # clock cycles: about 10 ms
            last.record()
            torch.cuda.synchronize(card)
        between = first.elapsed_time(last) / 1e3
        assert device_shares(profiler.events())["kernel_time"] == pytest.approx(between, rel=0.02)

    def test_the_devices_shares_are_there(self, on_card):
        assert on_card.limits == ()
        assert 0 < on_card.device["kernel_time"] <= on_card.device["span"]
        assert 0 <= on_card.device["idle_share"] < 1
        assert on_card.device["copy_time"] > 0
        assert 0 <= on_card.device["copy_overlap"] <= 1

    def test_kernels_lie_in_the_phases_that_launched_them(self, on_card):
        phases = {row.phase for row in rows(on_card, stage="train", kind="kernel")}
        assert {"forward", "backward", "optimizer"} <= phases
        assert all(row.device_self > 0 for row in rows(on_card, kind="kernel"))

    def test_the_hosts_books_are_kept_there_too(self, on_card):
        for stage, wall in on_card.wall.items():
            spent = sum(row.host_self for row in rows(on_card, stage=stage))
            assert spent == pytest.approx(wall, rel=0.05, abs=3e-4)
