"""The recorder over loops as people write them, on a clock that the loop itself moves."""

from __future__ import annotations

import copy
import dataclasses
import gc
import itertools
import pickle
import re
import threading
import weakref
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.utils.checkpoint
from fakes import batches
from loops import listening, seen
from torch import nn

import bench
from bench.training import Observer
from bench.worker.script.errors import Enough, ScriptError
from bench.worker.script.phase_tracker import CalledModules
from bench.worker.script.recorder import Recorder
from bench.worker.script.samples import read

pytestmark = pytest.mark.usefixtures("one_thread")


class TestPasses:
    def test_phases_of_every_epoch_are_what_took_the_time(self, own, meter, recorder):
        for _ in range(3):
            for inputs, targets in bench.watch(own.slow(own.train_loader)):
                own.step(inputs, targets)
            with bench.stage("validate"):
                for inputs, targets in bench.watch(own.slow(own.validate_loader)):
                    own.look(inputs, targets)
        recorder.finish()
        assert seen(meter) == [
            (epoch, *what) for epoch in range(3) for what in (("train", 3), ("validate", 2))
        ]
        trained = {"data": 64.0, "other": 32.0, "forward": 2.0, "loss": 4.0, "zero_grad": 0.0}
        trained |= {"backward": 8.0, "optimizer": 16.0}
        for record in meter.stages:
            phases = trained if record.stage == "train" else {"data": 64.0, "forward": 2.0, "loss": 4.0}
            found = {phase: spent / len(record.steps) for phase, spent in record.phases.items() if spent}
            assert found == {phase: spent for phase, spent in phases.items() if spent}
            assert set(record.steps) == {sum(phases.values())}
            assert record.wall == sum(record.steps)

    def test_what_is_computed_anew_for_the_backward_pass_is_part_of_it(self, own, meter, recorder):
        for inputs, targets in bench.watch(own.train_loader):
            outputs = torch.utils.checkpoint.checkpoint(own.model, inputs, use_reentrant=False)
            own.criterion(outputs, targets).backward()
        (record,) = meter.stages
        assert (record.phases["forward"], record.phases["backward"]) == (3 * 2.0, 3 * (8.0 + 2.0))

    def test_work_is_counted_and_checked(self, own, meter, recorder):
        losses = []
        for _ in range(2):
            for inputs, targets in bench.watch(own.train_loader):
                losses.append(own.step(inputs, targets).item())
            with bench.stage("test"):
                for inputs, targets in bench.watch(own.validate_loader):
                    own.look(inputs, targets)
        assert [record.optimizer_steps for record in meter.stages] == [3, 0, 3, 0]
        assert [record.samples for record in meter.stages[:2]] == [(4, 4, 4), (4, 4)]
        assert meter.stages[0].loss == pytest.approx(sum(losses[:3]) / 3)
        assert meter.stages[1].loss is None
        assert meter.checks == {"parameters_moved_in_training": True, "weights_kept_in_evaluation": True}
        assert recorder.device == torch.device("cpu")

    def test_models_are_checked_once_and_nothing_within_them(self, own, meter, recorder):
        checked = []
        for _ in range(2):
            for batch in bench.watch(own.train_loader):
                own.step(*batch)
                checked.append(meter.model)
        assert checked[:3] == [None] * 3
        assert [list(models) for models in checked[3:]] == [[own.model]] * 3
        assert meter.model is None

    def test_a_model_that_the_script_gives_up_is_not_kept(self, own, meter, recorder):
        given_up = []
        for _ in range(3):
            for _ in range(2):
                for batch in bench.watch(own.train_loader):
                    own.step(*batch)
            given_up += map(weakref.ref, (own.model, own.optimizer))
            own.renew()
            del batch
            gc.collect()
            assert [reference() for reference in given_up] == [None] * len(given_up)
        assert meter.checks == {"parameters_moved_in_training": True}

    @pytest.mark.parametrize("trains", [True, False])
    def test_weights_that_do_the_contrary_are_found(self, own, meter, recorder, trains):
        own.optimizer.param_groups[0]["lr"] = 0.0 if trains else 0.1
        for _ in range(2):
            with bench.stage("train" if trains else "validate"):
                for inputs, targets in bench.watch(own.train_loader):
                    own.step(inputs, targets)
        assert list(meter.checks.values()) == [False]

    def test_a_partial_batch_weighs_what_it_has(self, own, meter, recorder):
        losses = [own.step(inputs, targets).item() for inputs, targets in bench.watch(batches(6, 4))]
        assert meter.stages[0].loss == pytest.approx((4 * losses[0] + 2 * losses[1]) / 6)

    def test_a_validation_inside_of_training_is_no_part_of_its_steps(self, own, meter, recorder):
        for _ in range(2):
            for number, (inputs, targets) in enumerate(bench.watch(own.train_loader)):
                own.step(inputs, targets)
                if number != 1:
                    with bench.stage("validate"):
                        for batch in bench.watch(own.validate_loader):
                            own.look(*batch)
        recorder.finish()
        assert seen(meter) == [
            (epoch, *what) for epoch in (0, 1) for what in (("validate", 2), ("validate", 2), ("train", 3))
        ]
        assert {steps for record in meter.stages if record.stage == "train" for steps in record.steps} == {
            62.0
        }

    def test_evaluation_alone_counts_its_own_epochs(self, own, meter, recorder):
        for _ in range(2):
            for name in ("validate", "test"):
                with bench.stage(name):
                    for batch in bench.watch(own.validate_loader):
                        own.look(*batch)
        assert seen(meter) == [(0, "validate", 2), (0, "test", 2), (1, "validate", 2), (1, "test", 2)]

    def test_a_new_model_in_a_later_epoch_is_found(self, own, meter, recorder):
        for _ in range(3):
            for batch in bench.watch(own.train_loader):
                own.step(*batch)
            own.renew()
        assert [record.phases["forward"] for record in meter.stages] == [6.0, 6.0, 6.0]
        assert meter.checks == {}

    def test_the_watched_loader_is_still_the_loader(self, recorder):
        loader = torch.utils.data.DataLoader(torch.arange(6), batch_size=2)
        watched = bench.watch(loader)
        assert len(watched) == 3
        assert watched.batch_size == 2
        assert bench.watch(watched) is watched
        assert copy.copy(watched).dataset is loader.dataset
        assert [bool(bench.watch(one)) for one in (loader, [], itertools.count())] == [True, False, True]


class TestIterators:
    def test_one_is_asked_for_its_next_batch_as_it_would_be(self, own, meter, recorder):
        batches = bench.watch(iter(own.train_loader))
        own.step(*next(batches))
        assert iter(batches) is batches
        own.train(batches)
        assert next(batches, "no more") == "no more"
        assert seen(meter) == [(0, "train", 3)]

    def test_one_that_does_not_end_is_cut_into_epochs(self, own, meter, recorder):
        batches = bench.watch(itertools.cycle(own.train_loader), steps_per_epoch=2)
        for _ in range(4):
            own.step(*next(batches))
        recorder.finish()
        assert seen(meter) == [(0, "train", 2), (1, "train", 2)]

    def test_what_is_none_does_not_become_one(self, own, recorder):
        assert not hasattr(bench.watch(own.train_loader), "__next__")


class TestLeftEarly:
    def test_a_step_that_did_its_work_counts(self, own, meter, recorder):
        for number, batch in enumerate(bench.watch(own.train_loader)):
            own.step(*batch)
            if number == 1:
                break
        assert seen(meter) == [(0, "train", 2)]

    def test_a_step_that_did_none_does_not(self, own, meter, recorder):
        for number, batch in enumerate(bench.watch(own.train_loader)):
            if number == 1:
                break
            own.step(*batch)
        assert seen(meter) == [(0, "train", 1)]

    def test_a_look_at_the_first_batch_is_no_pass(self, own, meter, recorder):
        next(iter(bench.watch(own.train_loader)))
        for batch in bench.watch(own.train_loader):
            own.step(*batch)
        recorder.finish()
        assert seen(meter) == [(0, "train", 3)]
        assert recorder.passes == {"train": 1}

    def test_what_is_still_held_ends_with_its_stage(self, own, meter, recorder):
        for batch in bench.watch(own.train_loader):
            own.step(*batch)
            with bench.stage("validate"):
                held = iter(bench.watch(own.validate_loader))
                for one in held:
                    own.look(*one)
                    if len(one) != 3:
                        own.look(*next(held))
                        break
        recorder.finish()
        assert seen(meter) == [*[(0, "validate", 2)] * 3, (0, "train", 3)]

    def test_an_endless_loader_that_is_never_left_ends_with_the_script(self, own, meter, recorder):
        held = iter(bench.watch(own.train_loader))
        for _ in range(3):
            own.step(*next(held))
        recorder.finish()
        assert seen(meter) == [(0, "train", 3)]
        assert next(held, None) is None

    def test_a_loop_that_has_every_batch_and_asks_for_no_more_ends_with_what_was_seen(
        self, own, meter, recorder
    ):
        """As the loops of Lightning and Transformers do."""
        for _ in range(2):
            held = iter(bench.watch(own.train_loader))
            for _ in own.train_loader:
                own.step(*next(held))
            own.clock.advance(1000.0)  # saves a checkpoint
            evaluated = iter(bench.watch(own.validate_loader, "validate"))
            for _ in own.validate_loader:
                own.look(*next(evaluated))
            own.clock.advance(1000.0)
        recorder.finish()
        assert seen(meter) == [(e, s, n) for e in (0, 1) for s, n in (("validate", 2), ("train", 3))]
        for record in meter.stages:
            each = 32.0 + 2.0 + 4.0 + 8.0 + 16.0 if record.stage == "train" else 2.0 + 4.0
            assert record.steps == (each,) * len(record.steps)
            assert record.wall == sum(record.phases.values()) == sum(record.steps)

    def test_one_that_does_ask_keeps_its_last_step_whole(self, own, meter, recorder):
        for batch in bench.watch(own.train_loader):
            own.step(*batch)
            own.clock.advance(128.0)  # prints
        assert meter.stages[0].steps == (128.0 + 62.0,) * 3

    def test_an_evaluation_that_is_held_is_over_when_training_begins(self, own, meter, recorder):
        """As Lightning's look at two batches of the validation before it trains."""
        held = iter(bench.watch(own.validate_loader, "validate"))
        own.look(*next(held))
        for _ in range(2):
            own.train(bench.watch(own.train_loader))
        held.close()
        assert seen(meter) == [(0, "train", 3), (1, "train", 3)]

    def test_an_evaluation_before_the_first_training_is_none(self, own, meter, recorder):
        for _ in range(2):
            own.validate(bench.watch(own.validate_loader, "validate"))
            own.train(bench.watch(own.train_loader))
        assert seen(meter) == [(0, "train", 3), (0, "validate", 2), (1, "train", 3)]


class TestWatchedByName:
    def test_a_stage_that_was_made_once_may_be_entered_again(self, own, meter, recorder):
        validating = bench.stage("validate")
        for _ in range(2):
            with validating:
                own.validate(bench.watch(own.validate_loader))
        with bench.stage("test"), validating, bench.stage("test"), validating:
            own.validate(bench.watch(own.validate_loader))
        assert seen(meter) == [(epoch, "validate", 2) for epoch in range(3)]

    def test_the_stage_of_a_loader_goes_before_the_surrounding_one(self, own, meter, recorder):
        with bench.stage("validate"):
            own.validate(bench.watch(own.validate_loader))
            own.validate(bench.watch(bench.watch(own.validate_loader), "test"))
        assert [record.stage for record in meter.stages] == ["validate", "test"]

    @pytest.mark.parametrize(
        ("named", "words"),
        [
            ({"stage": "valid"}, r"bench\.watch\(loader, 'valid'\): .* train, validate, test"),
            ({"steps_per_epoch": 0}, "steps_per_epoch=0.*at least 1"),
            ({"steps_per_epoch": 2.5}, r"steps_per_epoch=2\.5.*whole number"),
        ],
    )
    def test_what_there_is_not_is_told(self, recorder, named, words):
        with pytest.raises(ScriptError, match=words):
            bench.watch([1], **named)


class TestLoopsThatCountSteps:
    def train(self, own, steps, number=2):
        for step in bench.watch(steps, steps_per_epoch=number):
            if step == 7:
                break
            own.step(*own.train_loader[step % 3])

    def test_their_pass_is_cut_into_epochs(self, own, meter, recorder):
        self.train(own, itertools.count())
        assert seen(meter) == [(0, "train", 2), (1, "train", 2), (2, "train", 2)]
        assert meter.stages[1].steps == (62.0, 62.0)

    @pytest.mark.parametrize("length", [4, 5])
    def test_what_is_left_behind_the_last_whole_one_is_none(self, own, meter, recorder, length):
        self.train(own, range(length))
        recorder.finish()
        assert seen(meter) == [(0, "train", 2), (1, "train", 2)]
        assert recorder.passes == {"train": 2}

    def test_one_that_never_fills_an_epoch_keeps_what_it_has(self, own, meter, recorder):
        self.train(own, range(3), number=10)
        assert seen(meter) == [(0, "train", 3)]

    def test_a_last_look_at_the_loss_goes_with_what_is_left(self, own, meter, recorder):
        """As in nanoGPT, which looks every so many steps, before the first and behind the last."""
        for step in bench.watch(itertools.count(), steps_per_epoch=2):
            if step % 2 == 0:
                for _ in bench.watch(range(3), "validate"):
                    own.look(*own.validate_loader[0])
            if step == 4:
                break
            own.step(*own.train_loader[step % 3])
        assert seen(meter) == [(e, s, n) for e in (0, 1) for s, n in (("validate", 3), ("train", 2))]

    def test_an_evaluation_inside_belongs_to_the_epoch(self, own, meter, recorder):
        for step in bench.watch(range(4), steps_per_epoch=2):
            own.step(*own.train_loader[step % 3])
            if step % 2:
                for _ in bench.watch(range(3), "validate"):
                    own.look(*own.validate_loader[0])
        assert seen(meter) == [(e, s, n) for e in (0, 1) for s, n in (("validate", 3), ("train", 2))]
        assert meter.stages[3].steps == (62.0, 62.0)

    def test_their_samples_are_the_rows_that_the_first_model_is_given(self, own, meter, recorder):
        second = nn.Linear(2, 2)
        for _ in bench.watch(range(2)):
            for inputs, targets in own.train_loader:  # gradients are accumulated over these
                own.criterion(second(own.model(inputs)), targets).backward()
        assert meter.stages[0].samples == (12, 12)

    def test_a_window_ends_the_script_with_its_last_step(self, own):
        recorder = Recorder(Observer(), window=lambda _: 3)
        for _ in listening(recorder):
            with pytest.raises(Enough):
                self.train(own, itertools.count())
        assert recorder.passes == {"train": 1}


class TestWhatIsAmbiguous:
    ADD = r'with epochbench\.stage\("validate"\):$'

    def test_a_pass_without_a_backward(self, own, recorder):
        with pytest.raises(ScriptError, match=rf"recorder\.py:\d+ had no backward pass.*{self.ADD}"):
            own.validate(bench.watch(own.validate_loader))

    def test_the_same_where_its_loop_was_left(self, own, recorder):
        for batch in bench.watch(own.validate_loader):
            own.look(*batch)
            break
        with pytest.raises(ScriptError, match="had no backward pass"):
            recorder.finish()

    def test_loaders_of_two_lines(self, own, recorder):
        own.train(bench.watch(own.train_loader))
        with pytest.raises(ScriptError, match=rf"two loaders are watched.*{self.ADD}"):
            own.train(bench.watch(own.train_loader))

    def test_one_loader_at_two_lines(self, own, recorder):
        loader = torch.utils.data.DataLoader([(torch.ones(3), 1)] * 4, batch_size=2)
        own.train(bench.watch(loader))
        remedy = re.escape('epochbench.watch(loader, "train")')
        with pytest.raises(
            ScriptError, match=rf"the same loader is watched at .*recorder\.py:\d+ and at .*{remedy}"
        ):
            own.train(bench.watch(loader))

    def test_one_loader_at_two_lines_that_say_what_it_is_of(self, own, meter, recorder):
        loader = torch.utils.data.DataLoader([(torch.ones(3), 1)] * 4, batch_size=2)
        own.train(bench.watch(loader, "train"))
        own.train(bench.watch(loader, "train"))
        assert seen(meter) == [(0, "train", 2), (1, "train", 2)]

    def test_two_loaders_of_one_line(self, own, recorder):
        loaders = [torch.utils.data.DataLoader([(torch.ones(3), 1)] * 4, batch_size=2) for _ in range(2)]
        with pytest.raises(ScriptError, match="two loaders are watched"):
            own.train(*(bench.watch(loaders[number]) for number in (0, 1, 0)))

    def test_two_at_once(self, own, recorder):
        both = zip(bench.watch(own.train_loader), bench.watch(own.train_loader), strict=True)
        with pytest.raises(ScriptError, match=r"bench\.watch\(zip\(a, b\)\)"):
            own.train(first for first, _ in both)

    def test_one_inside_the_other(self, own, recorder):
        def nested():
            for batch in bench.watch(own.train_loader):
                own.step(*batch)
                own.validate(bench.watch(own.validate_loader))

        with pytest.raises(ScriptError, match=rf"inside a pass of the same stage, train.*{self.ADD}"):
            nested()

    def test_an_empty_loader(self, recorder):
        with pytest.raises(ScriptError, match="gave no batch"):
            list(bench.watch([]))

    def test_a_stage_that_there_is_not(self, recorder):
        with (
            pytest.raises(ScriptError, match=r"'valid'.*there are train, validate, test"),
            bench.stage("valid"),
        ):
            pass

    def test_an_error_of_the_users_own_goes_through(self, own, meter, recorder):
        own.train_loader[1] = None
        with pytest.raises(TypeError):
            own.train(bench.watch(own.train_loader))
        assert recorder._passes.problem is None


class TestLosses:
    def test_that_of_a_gradient_scaler_is_the_one_before_it(self, own, meter, recorder):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        losses = []
        for inputs, targets in bench.watch(own.train_loader):
            loss = own.criterion(own.model(inputs), targets)
            scaler.scale(loss).backward()
            scaler.step(own.optimizer)
            scaler.update()
            losses.append(loss.item())
        assert meter.stages[0].loss == pytest.approx(sum(losses) / 3)
        assert meter.stages[0].optimizer_steps == 3

    def test_nor_is_it_where_others_were_scaled_before_the_backward_pass(self, own, meter, recorder):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for inputs, targets in bench.watch(own.train_loader[:1]):
            loss = own.criterion(own.model(inputs), targets)
            scaled, _ = scaler.scale(loss), scaler.scale(2 * loss)
            scaled.backward()
        assert meter.stages[0].loss == pytest.approx(loss.item())

    def test_their_mean_does_not_lose_what_a_short_default_number_cannot_hold(self, own, meter, recorder):
        torch.set_default_dtype(torch.bfloat16)
        try:
            for inputs, _ in bench.watch(own.train_loader * 200):
                (own.model(inputs).sum() * 0 + 1).backward()
        finally:
            torch.set_default_dtype(torch.float32)
        assert meter.stages[0].loss == pytest.approx(1.0)

    def test_of_several_in_a_step_it_is_the_first(self, own, meter, recorder):
        optimizer = torch.optim.LBFGS(own.model.parameters(), max_iter=3)
        firsts = []
        for inputs, targets in bench.watch(own.train_loader):
            asked = []

            def closure():
                optimizer.zero_grad()
                loss = own.criterion(own.model(inputs), targets)  # noqa: B023
                loss.backward()
                asked.append(loss.item())  # noqa: B023
                return loss

            optimizer.step(closure)
            firsts.append(asked[0])
        (record,) = meter.stages
        assert record.loss == pytest.approx(sum(firsts) / 3)
        assert record.closure_evaluations > record.optimizer_steps == 3
        assert record.phases["forward"] == 2.0 * record.closure_evaluations

    def test_gradients_of_more_than_one_number_have_none(self, own, meter, recorder):
        for inputs, _ in bench.watch(own.train_loader):
            outputs = own.model(inputs)
            torch.autograd.backward(outputs, torch.ones_like(outputs))
        assert meter.stages[0].loss is None
        assert meter.stages[0].phases["loss"] == 0.0


class TestWindow:
    def test_passes_are_cut_and_the_second_of_a_stage_ends_the_script(self, own):
        recorder = Recorder(Observer(), window=lambda stage: {"train": 5}.get(stage, 1))
        steps = {"train": 0, "validate": 0}

        def epochs():
            while True:
                for batch in bench.watch(own.train_loader):
                    own.step(*batch)
                    steps["train"] += 1
                with bench.stage("validate"):
                    for batch in bench.watch(own.validate_loader):
                        own.look(*batch)
                        steps["validate"] += 1

        for _ in listening(recorder):
            with pytest.raises(Enough):
                epochs()
        assert steps == {"train": 5, "validate": 1}

    def test_a_library_is_told_the_batches_of_the_window_and_a_script_no_fewer_than_there_are(self, own):
        """A Trainer runs for so many; a script prints every `len(loader) // 3` steps."""
        asked = []

        def window(stage):
            asked.append(stage)
            return {"train": 2, "validate": 1, "test": 9}[stage]

        recorder = Recorder(Observer(), window=window)
        for _ in listening(recorder):
            loader = bench.watch(own.train_loader)
            with bench.stage("validate"):
                assert told_to_a_library(loader) == 1
            assert [told_to_a_library(loader), len(loader), len(loader) // 3] == [2, 3, 1]
            assert len(bench.watch(own.train_loader, "test")) == 9  # it is begun again, for a profile
            steps = []
            own.train(steps.append(batch) or batch for batch in loader)
            assert len(steps) == 2
            with pytest.raises(TypeError):
                len(bench.watch(itertools.count()))
        assert asked == ["validate", "train", "test"]


def told_to_a_library(loader):
    """How many batches there are, for code that lies where libraries do."""
    path = Path(torch.__file__).with_name("trainer.py")
    namespace = {"loader": loader}
    exec(compile("told = len(loader)", path, "exec"), namespace)
    return namespace["told"]


class TestHooks:
    def test_torch_is_as_it_was_afterwards(self, own, recorder):
        def parts():
            return (
                *(torch.autograd.backward, torch.amp.GradScaler.scale),
                *(torch.optim.Optimizer.zero_grad, torch.optim.SGD.step),
                *(torch.optim.Optimizer._patch_step_function, nn.Module.zero_grad, nn.Module.__call__),
            )

        own.renew()  # its optimizer
        inside = parts()
        recorder.hooks.__exit__(None, None, None)
        before = parts()
        assert not set(inside) & set(before)
        with recorder.hooks as hooks:
            assert hooks
            assert nn.Module.__call__ is not before[-1]
            own.renew()
        assert parts() == before

    def test_a_step_of_an_optimizer_is_its_whole_call(self, own, meter, recorder):
        class Slow(torch.optim.SGD):
            def step(self, closure=None):
                own.clock.advance(1.0)
                super().step(closure)

        hooked = torch.optim.Optimizer.profile_hook_step(Slow.step)

        def around(*arguments):  # as torch's wrapper takes its time before its hooks, and behind them
            own.clock.advance(2.0)
            hooked(*arguments)
            own.clock.advance(4.0)

        around.hooked = True  # by which torch knows what it has wrapped
        Slow.step = around
        own.optimizer = Slow(own.model.parameters(), lr=0.1)
        torch.optim.lr_scheduler.StepLR(own.optimizer, 1)
        for batch in bench.watch(own.train_loader):
            own.step(*batch)
        assert meter.stages[0].phases["optimizer"] == 3 * 7.0
        assert meter.stages[0].phases["other"] == 3 * 32.0

    def test_a_step_that_raised_is_over(self, own, meter, recorder):
        own.renew()
        for inputs, targets in bench.watch(own.train_loader):
            with pytest.raises(ZeroDivisionError):
                own.optimizer.step(lambda: 1 / 0)
            own.step(inputs, targets)
        assert meter.stages[0].closure_evaluations == 0
        assert meter.stages[0].phases["other"] == 3 * 32.0

    def test_a_model_can_be_copied_and_pickled_in_its_loop(self, own, meter, recorder):
        for _ in range(2):
            for batch in bench.watch(own.train_loader):
                own.step(*batch)
                copied = copy.deepcopy(own.model)
                assert isinstance(pickle.loads(pickle.dumps(own.model[0])), nn.Linear)
        copied(torch.ones(1, 3))
        assert len(meter.stages) == 2

    def test_a_compiled_model_keeps_its_one_graph(self, own, meter, recorder):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        for _ in range(3):
            for inputs, targets in bench.watch(own.train_loader):
                own.criterion(compiled(inputs), targets).backward()
                checked = list(meter.model or [])
        assert checked == [compiled]
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
        assert "forward" in meter.stages[2].phases


def test_the_device_is_that_of_an_accelerator_though_a_module_on_the_cpu_is_called_before():
    modules = CalledModules(lambda _: None)
    for device, known in (("cpu", "cpu"), ("meta", "meta"), ("cpu", "meta")):
        modules.get(nn.Linear(2, 2, device=device))
        assert modules.device == torch.device(known)


class TestWhatElseTheScriptDoes:
    def test_modules_that_another_thread_calls_take_nothing_from_the_loop(self, own, meter, recorder):
        """As a thread that makes the next batches ready."""
        inside, done = threading.Event(), threading.Event()

        class Transform(nn.Linear):
            def forward(self, inputs):
                inside.set()
                done.wait()
                return inputs

        other = threading.Thread(target=Transform(3, 3), args=[torch.ones(1, 3)])
        for number, batch in enumerate(bench.watch(own.train_loader)):
            if not number:
                other.start()
                inside.wait()
            own.step(*batch)
        done.set()
        other.join()
        phases = meter.stages[0].phases
        assert (phases["forward"], phases["loss"], phases["other"]) == (3 * 2.0, 3 * 4.0, 3 * 32.0)

    def test_a_loop_may_run_in_a_thread_of_its_own(self, own, meter, recorder):
        loop = threading.Thread(target=own.train, args=[bench.watch(own.train_loader)])
        loop.start()
        loop.join()
        assert meter.stages[0].phases["forward"] == 3 * 2.0
        assert meter.stages[0].optimizer_steps == 3

    def test_one_that_steps_inside_of_another_is_part_of_its_step(self, own, meter, recorder):
        class Wraps(torch.optim.Optimizer):
            def step(self, closure=None):
                own.clock.advance(128.0)
                own.optimizer.step()

        outer = Wraps(own.model.parameters(), {})
        for inputs, targets in bench.watch(own.train_loader):
            own.criterion(own.model(inputs), targets).backward()
            outer.step()
        assert meter.stages[0].phases["optimizer"] == 3 * (128.0 + 16.0)

    @pytest.mark.parametrize("told", [None, [], {}, "a word", [{"params": []}]])
    def test_a_module_of_any_kind_is_called_as_it_would_be(self, own, meter, recorder, told):
        @dataclasses.dataclass
        class Transform(nn.Module):  # which cannot be hashed
            factor: float

            def __post_init__(self):
                super().__init__()

            def forward(self, inputs):
                return inputs * self.factor

        transform = Transform(2.0)
        if told is not None:
            transform.__dict__["parameters"] = told if isinstance(told, str) else lambda: told
        for inputs, targets in bench.watch(own.train_loader):
            own.step(transform(inputs), targets)
        assert meter.stages[0].phases["forward"] == 3 * 2.0


Pair = namedtuple("Pair", "inputs targets")


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        ((torch.ones(4, 3), torch.ones(4)), 4),
        ([torch.ones(4, 3), torch.ones(4)], 4),
        (torch.ones(5, 2), 5),
        ({"inputs": torch.ones(6, 2), "labels": torch.ones(6)}, 6),
        (Pair(torch.ones(4, 3), {"boxes": torch.ones(4)}), 4),
        ((torch.ones(4, 3), "a name"), 4),
        ((torch.ones(4, 3), torch.tensor(1.0)), 4),
        ((torch.ones(4, 3), None), 4),
        (([1, 2, 3], [{"label": 1}] * 3), 3),
        (SimpleNamespace(x=torch.ones(7, 2), y=torch.ones(7)), 7),
        (3, 0),
        ((), 0),
        ({}, 0),
    ],
)
def test_rows_of_batches_of_any_shape(batch, samples):
    assert read(batch) == (samples, samples > 0)
