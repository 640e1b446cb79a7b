"""The recorder over other ways to train than batch, forward, backward, step: right, or it says so."""

from __future__ import annotations

import collections
import itertools
import queue
import threading

import pytest
import torch
from loops import listening, seen
from torch import nn

import bench
from bench.analysis.launch.derived_counts import count_values
from bench.training import Observer
from bench.watch import listen
from bench.worker.profile.profiler import ProfiledLoop
from bench.worker.script.errors import Enough, ScriptError
from bench.worker.script.launches import count
from bench.worker.script.recorder import Recorder

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Threads here end with what ends a script; pytest tells of it in whichever test comes next.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def of(meter, stage):
    return [record for record in meter.stages if record.stage == stage]


class TestStagesWithoutALoader:
    def test_one_in_which_a_module_is_called_is_a_pass_of_one_step(self, own, meter, recorder):
        inputs, targets = own.train_loader[0]
        for _ in bench.watch(range(6), steps_per_epoch=2):
            own.step(inputs, targets)
            with bench.stage("validate"):
                own.clock.advance(64.0)
                own.look(inputs, targets)
                own.look(inputs, targets)
        assert seen(meter) == [
            (epoch, *what) for epoch in range(3) for what in (("validate", 1), ("validate", 1), ("train", 2))
        ]
        for record in of(meter, "train")[1:]:
            assert record.samples == (4, 4)
            assert record.steps == (62.0, 62.0)
            assert record.phases["forward"] == 2 * 2.0
        for record in of(meter, "validate")[1:]:
            assert record.samples == (8,)
            assert record.steps == (64.0 + 2 * 6.0,), "from where the stage begins, once it is known"
        assert meter.checks == {"parameters_moved_in_training": True, "weights_kept_in_evaluation": True}

    def test_a_script_may_have_no_loader_at_all(self, own, meter, recorder):
        inputs, targets = own.train_loader[0]
        for _ in range(3):
            with bench.stage("train"):
                own.step(inputs, targets)
            with bench.stage("validate"):
                own.look(inputs, targets)
        assert seen(meter) == [(epoch, stage, 1) for epoch in range(3) for stage in ("train", "validate")]
        assert [record.optimizer_steps for record in of(meter, "train")] == [1, 1, 1]
        assert [record.samples for record in of(meter, "train")] == [(4,)] * 3

    def test_what_is_done_beside_a_watched_loader_is_a_step_of_its_own(self, own, meter, recorder):
        for _ in range(2):
            own.train(bench.watch(own.train_loader))
            with bench.stage("validate"):
                own.look(*own.validate_loader[0])
                own.validate(bench.watch(own.validate_loader))
                own.look(*own.validate_loader[0])
        assert seen(meter) == [
            (epoch, *what)
            for epoch in range(2)
            for what in (("train", 3), ("validate", 1), ("validate", 2), ("validate", 1))
        ]

    def test_one_in_which_nothing_is_done_is_none(self, own, meter, recorder):
        inputs, targets = own.train_loader[0]
        for epoch in range(4):
            own.train(bench.watch(own.train_loader))
            with bench.stage("validate"):
                if epoch % 2:
                    own.look(inputs, targets)
        assert [record.epoch for record in of(meter, "validate")] == [1, 3]
        assert len(of(meter, "train")) == 4

    def test_inside_of_a_pass_of_its_own_stage_it_is_part_of_that(self, own, meter, recorder):
        for batch in bench.watch(own.train_loader):
            with bench.stage("train"):
                own.step(*batch)
        assert seen(meter) == [(0, "train", 3)]

    def test_an_error_in_one_leaves_the_stages_as_they_were(self, own, meter, recorder):
        def fail():
            with bench.stage("validate"):
                own.look(*own.validate_loader[0])
                raise KeyError

        for _ in range(3):
            with pytest.raises(KeyError):
                fail()
        own.train(bench.watch(own.train_loader))
        assert seen(meter) == [(0, "train", 3)], "before the first training there is nothing to validate"

    def test_a_window_has_as_many_steps_of_them_as_it_wants(self, own):
        recorder = Recorder(Observer(), window=lambda stage: {"train": 3, "validate": 2}[stage])
        steps = []

        def epochs():
            for _ in range(99):
                for stage, work in (("validate", own.look), ("train", own.step)):
                    with bench.stage(stage):
                        work(*own.train_loader[0])
                        steps.append(stage)

        for _ in listening(recorder):
            with pytest.raises(Enough):
                epochs()
        assert steps.count("train") == 3


class TestEvaluationInsideOfTraining:
    @pytest.mark.parametrize("said", [True, False])
    def test_it_is_no_forward_pass_and_it_is_said(self, own, meter, recorder, said):
        for _ in range(2):
            for number, batch in enumerate(bench.watch(own.train_loader)):
                own.step(*batch)
                if number == 1:
                    if said:
                        own.model.eval()
                    own.validate(own.validate_loader)
                    own.model.train()
        last = meter.stages[-1]
        assert last.phases["forward"] == 3 * 2.0
        assert last.phases["loss"] == 3 * 4.0
        assert last.phases["other"] == 3 * 32.0 + 2 * 6.0
        assert meter.checks["evaluation_marked"] is False

    def test_so_is_one_with_autograd_of_a_model_that_was_in_training_mode(self, own, meter, recorder):
        for inputs, targets in bench.watch(own.train_loader):
            own.step(inputs, targets)
            own.model.eval()
            own.criterion(own.model(inputs), targets)
            own.model.train()
        assert meter.stages[0].phases["forward"] == 3 * 2.0
        assert meter.checks["evaluation_marked"] is False

    def test_a_model_that_is_trained_in_evaluation_mode_is_trained(self, own, meter, recorder):
        """As where statistics of batch norm are frozen."""
        own.model.eval()
        own.train(bench.watch(own.train_loader))
        assert meter.stages[0].phases["forward"] == 3 * 2.0
        assert "evaluation_marked" not in meter.checks

    def test_a_teacher_that_is_never_trained_is_part_of_the_forward_pass(self, own, meter, recorder):
        teacher = own.model
        own.renew()
        for inputs, targets in bench.watch(own.train_loader):
            with torch.no_grad():
                teacher(inputs)
            own.step(inputs, targets)
        assert meter.stages[0].phases["forward"] == 3 * 4.0
        assert "evaluation_marked" not in meter.checks

    def test_its_rows_are_none_of_the_step(self, own, meter, recorder):
        for step in bench.watch(range(6), steps_per_epoch=3):
            inputs, targets = own.train_loader[step % 3]
            own.look(inputs, targets)
            own.step(inputs, targets)
        assert [record.samples for record in meter.stages] == [(4, 4, 4)] * 2


class TestWhatIsNotSeen:
    def test_a_model_that_is_not_called_itself_is_said_and_checked_by_its_optimizer(
        self, own, meter, recorder
    ):
        layer = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(2):
            for step in bench.watch(range(3)):
                inputs, targets = own.train_loader[step]
                optimizer.zero_grad()
                nn.functional.cross_entropy(layer.forward(inputs), targets).backward()
                optimizer.step()
        assert meter.checks == {
            "forward_seen": False,
            "samples_known_in_train": False,
            "parameters_moved_in_training": True,
        }
        assert meter.stages[1].optimizer_steps == 3

    def test_its_optimizer_that_moves_nothing_is_found(self, own, meter, recorder):
        layer = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
        for _ in range(2):
            for inputs, targets in bench.watch(own.train_loader):
                nn.functional.cross_entropy(layer.forward(inputs), targets).backward()
                optimizer.step()
        assert meter.checks["parameters_moved_in_training"] is False

    def test_text_whose_first_dimension_is_time_has_no_samples_unless_they_are_said(
        self, own, meter, recorder
    ):
        text = torch.randint(0, 5, (36, 20))
        model = nn.Sequential(nn.Embedding(5, 3), own.model)

        def train(begins):
            for begin in begins:
                outputs = model(text[begin : begin + 5])
                own.criterion(outputs.flatten(0, 1), text[begin : begin + 5].flatten() % 2).backward()

        train(bench.watch(range(0, 35, 5), "train"))
        assert meter.checks == {"samples_known_in_train": False}
        meter.checks.clear()
        train(bench.watch(range(0, 35, 5), "train", samples=20))
        assert "samples_known_in_train" not in meter.checks
        assert meter.stages[-1].samples == (20,) * 7

    def test_samples_that_are_none_are_told_with_the_line(self, own, recorder):
        with pytest.raises(ScriptError, match=r"ways\.py:\d+: its samples= gives .*whole number"):
            own.train(bench.watch(own.train_loader, samples=lambda batch: batch[0]))

    @pytest.mark.parametrize("samples", [0, 2.5, "twenty"])
    def test_nor_is_anything_else_taken_for_them(self, recorder, samples):
        with pytest.raises(ScriptError, match=r"samples=.*whole number of at least 1, or a function"):
            bench.watch([1], samples=samples)


class TestBackwardPasses:
    def test_one_for_the_gradients_alone_is_one(self, own, meter, recorder):
        parameters = list(own.model.parameters())
        losses = []
        for _ in range(2):
            for inputs, targets in bench.watch(own.train_loader):
                loss = own.criterion(own.model(inputs), targets)
                losses.append(loss.item())
                with torch.no_grad():
                    for one, gradient in zip(
                        parameters, torch.autograd.grad(loss, own.model.parameters()), strict=True
                    ):
                        one -= 0.1 * gradient
        record = meter.stages[1]
        assert (record.phases["forward"], record.phases["backward"]) == (3 * 2.0, 3 * 8.0)
        assert record.loss == pytest.approx(sum(losses[3:]) / 3)
        assert meter.checks == {"parameters_moved_in_training": True}

    @pytest.mark.parametrize(
        "ask",
        [
            lambda value, inputs: torch.autograd.grad(value, inputs, create_graph=True),
            lambda value, inputs: torch.autograd.grad(value, [inputs], None, None, True),
            lambda value, inputs: torch.autograd.grad(
                outputs=value, inputs=iter([inputs]), retain_graph=True
            ),
        ],
    )
    def test_a_penalty_on_gradients_is_no_loss(self, own, meter, recorder, ask):
        losses = []
        for inputs, targets in bench.watch(own.train_loader):
            inputs = inputs.clone().requires_grad_()
            outputs = own.model(inputs)
            (gradient,) = ask(outputs.sum(), inputs)
            loss = own.criterion(outputs, targets) + gradient.square().mean()
            loss.backward()
            losses.append(loss.item())
        assert meter.stages[0].loss == pytest.approx(sum(losses) / 3)

    def test_functions_of_torch_func_train_a_model_that_does_not_move(self, own, meter, recorder):
        parameters = {name: one.detach() for name, one in own.model.named_parameters()}

        def loss_of(parameters, inputs, targets):
            return own.criterion(torch.func.functional_call(own.model, parameters, (inputs,)), targets)

        for _ in range(2):
            for inputs, targets in bench.watch(own.train_loader):
                gradients = torch.func.grad(loss_of)(parameters, inputs, targets)
                parameters = {name: parameters[name] - 0.1 * gradients[name] for name in parameters}
        record = meter.stages[1]
        assert (record.phases["forward"], record.phases["loss"]) == (3 * 2.0, 3 * 4.0)
        assert record.loss is None
        assert meter.checks == {}

    def test_gathered_ones_have_the_loss_of_their_batches_or_none(self, own, meter, recorder):
        own.optimizer.param_groups[0]["lr"] = 0.0

        def epoch(number, change):
            for step, (inputs, targets) in enumerate(bench.watch(own.train_loader * 2, "train"), start=1):
                change(own.criterion(own.model(inputs), targets)).backward()
                if step % number == 0:
                    own.optimizer.step()
                    own.optimizer.zero_grad()

        for number in (1, 2, 3):
            epoch(number, lambda loss: loss / number)  # noqa: B023
        epoch(2, lambda loss: (loss + 0) / 2 + 0)
        whole, *others, none = (record.loss for record in meter.stages)
        assert others == pytest.approx([whole, whole])
        assert none is None
        assert meter.checks["loss_scale_known"] is False


class TestClosures:
    def test_rows_of_a_batch_are_counted_once(self, own, meter, recorder):
        optimizer = torch.optim.LBFGS(own.model.parameters(), max_iter=5)
        inputs, targets = own.train_loader[0]
        for _ in bench.watch(range(4), steps_per_epoch=2):

            def closure():
                optimizer.zero_grad()
                loss = own.criterion(own.model(inputs), targets)
                loss.backward()
                return loss

            optimizer.step(closure)
            with bench.stage("validate"):
                own.look(inputs, targets)
            own.clock.advance(64.0)  # draws a picture
        for record in of(meter, "train"):
            assert record.samples == (4, 4)
            assert record.closure_evaluations > record.optimizer_steps == 2
            assert sum(record.steps) == record.wall
            assert record.phases["other"] == 2 * 64.0

    def test_those_of_several_parts_of_a_batch_are_all_counted(self, own, meter, recorder):
        optimizer = torch.optim.LBFGS(own.model.parameters(), max_iter=3)
        for _ in bench.watch(range(2)):

            def closure():
                optimizer.zero_grad()
                losses = [own.criterion(own.model(inputs), targets) for inputs, targets in own.train_loader]
                for loss in losses:
                    loss.backward()
                return sum(losses)

            optimizer.step(closure)
        assert meter.stages[0].samples == (12, 12)

    def test_one_that_is_called_before_its_step_is_no_other_batch(self, own, meter, recorder):
        """As sharpness-aware minimisation has it."""

        class Twice(torch.optim.SGD):
            def step(self, closure=None):
                closure()
                super().step()

        optimizer = Twice(own.model.parameters(), lr=0.1)
        inputs, targets = own.train_loader[0]
        for _ in bench.watch(range(2)):

            def closure():
                loss = own.criterion(own.model(inputs), targets)
                loss.backward()
                return loss

            closure()
            optimizer.step(closure)
        assert meter.stages[0].samples == (4, 4)
        assert meter.stages[0].optimizer_steps == 2


def ahead(loader, number=1):
    """Fetches so many batches before it gives the first."""
    waiting = collections.deque()
    for batch in loader:
        waiting.append(batch)
        if len(waiting) > number:
            yield waiting.popleft()
    yield from waiting


def in_a_thread(loader):
    batches = queue.Queue(2)

    def fetch():
        for batch in loader:
            batches.put(batch)
        batches.put(None)

    threading.Thread(target=fetch, daemon=True).start()
    while (batch := batches.get()) is not None:
        yield batch


class TestFetchedAhead:
    def test_one_batch_ahead_each_step_is_that_of_its_batch(self, own, meter, recorder):
        sizes = [len(targets) for _, targets in own.train_loader[:-1]] + [2]
        own.train_loader[-1] = tuple(part[:2] for part in own.train_loader[-1])
        for _ in range(2):
            own.train(ahead(bench.watch(own.train_loader)))
            own.clock.advance(1000.0)
            with bench.stage("validate"):
                own.validate(ahead(bench.watch(own.validate_loader)))
            own.clock.advance(1000.0)
        recorder.finish()
        assert sorted(seen(meter)) == [
            (epoch, *what) for epoch in range(2) for what in (("train", 3), ("validate", 2))
        ]
        for record in of(meter, "train"):
            assert record.samples == tuple(sizes)
            assert record.steps == (62.0,) * 3
        for record in of(meter, "validate"):
            assert record.steps == (6.0,) * 2

    def test_the_epochs_of_a_loop_that_counts_steps_go_on_with_what_was_fetched(self, own, meter, recorder):
        batches = itertools.islice(itertools.cycle(own.train_loader), 7)
        own.train(ahead(bench.watch(batches, steps_per_epoch=3)))
        recorder.finish()
        assert seen(meter) == [(0, "train", 3), (1, "train", 3)]
        assert [record.steps for record in meter.stages] == [(62.0,) * 3] * 2
        assert [record.samples for record in meter.stages] == [(4,) * 3] * 2

    def test_a_loader_of_one_batch(self, own, meter, recorder):
        for _ in range(2):
            own.train(ahead(bench.watch(own.train_loader[:1])))
        recorder.finish()
        assert seen(meter) == [(0, "train", 1), (1, "train", 1)]
        assert meter.stages[1].optimizer_steps == 1

    def test_one_that_is_left_early(self, own, meter, recorder):
        for _ in range(2):
            for batch in itertools.islice(ahead(bench.watch(own.train_loader)), 2):
                own.step(*batch)
        recorder.finish()
        assert seen(meter) == [(0, "train", 2), (1, "train", 2)]

    @pytest.mark.parametrize("stage", ["train", "validate"])
    def test_several_ahead_are_refused_with_what_to_watch(self, own, recorder, stage):
        with (
            bench.stage(stage),
            pytest.raises(
                ScriptError, match=r"fetched several ahead.*in epochbench\.watch\(fetch_ahead\(loader\)\)"
            ),
        ):
            (own.train if stage == "train" else own.validate)(ahead(bench.watch(own.train_loader), 2))

    def test_they_are_measured_from_outside(self, own, meter, recorder):
        own.train(bench.watch(ahead(own.train_loader, 2)))
        assert seen(meter) == [(0, "train", 3)]

    @pytest.mark.parametrize("skipped", [[0], [0, 1], [1], [2]])
    def test_batches_that_are_skipped_are_none_of_that(self, own, meter, recorder, skipped):
        for _ in range(2):
            for number, batch in enumerate(bench.watch(own.train_loader)):
                if number not in skipped:
                    own.step(*batch)
        recorder.finish()
        assert len(meter.stages) == 2
        for record in meter.stages:
            assert record.optimizer_steps == 3 - len(skipped)
            assert record.wall == sum(record.steps) == record.optimizer_steps * 62.0
            assert min(record.phases.values()) >= 0

    def test_several_at_once_for_one_step_of_the_optimizer(self, own, meter, recorder):
        for _ in range(2):
            batches = iter(bench.watch(own.train_loader + own.train_loader[:1]))
            for _ in range(2):
                for inputs, targets in [next(batches), next(batches)]:
                    own.criterion(own.model(inputs), targets).backward()
                own.optimizer.step()
        recorder.finish()
        assert [record.samples for record in meter.stages] == [(4,) * 4] * 2
        assert [record.optimizer_steps for record in meter.stages] == [2, 2]


class TestThreads:
    def test_one_that_only_fetches_is_refused_at_once(self, own, recorder):
        with pytest.raises(ScriptError, match="in a thread that only fetches its batches"):
            own.train(in_a_thread(bench.watch(own.train_loader)))

    def test_so_is_one_whose_loop_makes_no_backward_pass_and_waits_for_it(self, own, recorder):
        with (
            bench.stage("validate"),
            pytest.raises(ScriptError, match="in a thread that only fetches its batches"),
        ):
            own.validate(in_a_thread(bench.watch(own.validate_loader)))

    def test_a_loop_in_one_that_has_been_seen_ends_the_script(self, own):
        recorder = Recorder(Observer(), window=lambda _: 2)

        def train():
            while True:
                own.train(bench.watch(own.train_loader))

        def script():
            threading.Thread(target=train, daemon=True).start()
            threading.Event().wait()  # for ever

        for _ in listening(recorder):
            with pytest.raises(Enough):
                script()
        assert recorder.passes == {"train": 1}

    def test_a_profiler_does_not_see_one(self, own):
        recorder = Recorder(ProfiledLoop(None, steps=1), window=lambda _: 2)
        problems = []

        def train():
            try:
                own.train(bench.watch(own.train_loader))
            except ScriptError as problem:
                problems.append(str(problem))

        def script():
            loop = threading.Thread(target=train)
            loop.start()
            loop.join()
            threading.Event().wait()

        for _ in listening(recorder):
            with pytest.raises(ScriptError, match=r"in another thread.*--no-profile"):
                script()
        assert len(problems) == 1


class TestCutShort:
    def script(self, own, batches, error=None):
        """Counts its batches itself, in a launch that gives it three."""
        recorder = Recorder(Observer(), window=lambda _: 3)
        listen(recorder)
        try:
            with recorder.hooks:
                held = iter(bench.watch(own.train_loader * 4, "train"))
                for _ in range(batches):
                    own.step(*next(held))
                if error is not None:
                    raise error
        finally:
            recorder.close()
            listen(None)
        return recorder

    def test_what_follows_of_it_is_excused_once_enough_was_seen(self, own, capfd):
        assert self.script(own, 12).passes == {"train": 1}
        assert "StopIteration" in capfd.readouterr().err

    def test_an_error_of_the_users_own_before_is_not(self, own):
        with pytest.raises(KeyError):
            self.script(own, 2, KeyError())


FUNCTIONS = {
    "grad": torch.func.grad,
    "vmap of grad": lambda value: torch.func.vmap(torch.func.grad(value)),
    "jacrev": torch.func.jacrev,
    "jacfwd": torch.func.jacfwd,
    "hessian": torch.func.hessian,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_torch_func_does_is_counted_and_what_it_keeps_is_left_out(own, name):
    def run(recorder):
        for _ in listening(recorder):
            for inputs, targets in bench.watch(own.train_loader):
                FUNCTIONS[name](lambda rows: own.model(rows).square().sum())(inputs)
                own.step(inputs, targets)

    counts = count(run)
    assert counts.steps == {"train": 2}
    told = count_values(counts)
    assert told["count.flops"] > 0
    assert "count.saved_bytes" not in told


def test_gradients_of_no_loss_have_no_graph_to_be_counted(own):
    def run(recorder):
        for _ in listening(recorder):
            for inputs, _ in bench.watch(own.train_loader):
                outputs = own.model(inputs)
                torch.autograd.backward(outputs, torch.ones_like(outputs))

    told = count_values(count(run))
    assert told["count.saved_bytes"] > 0
    assert "count.autograd_nodes" not in told
