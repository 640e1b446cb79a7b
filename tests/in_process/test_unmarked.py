"""Scripts that mark no loop: what is found in a first brief run, and what launches then measure."""

from __future__ import annotations

import dataclasses
import textwrap

import pytest
from plans import once
from plans import script_plan as plan_of

from bench.cli.measuring import loops_line
from bench.cli.options import conditions
from bench.errors import UsageError
from bench.measurement import COUNTED, PROFILED, TIMED, Measurement
from bench.running.launching import launch
from bench.running.plan import Job
from bench.running.preparation import probe
from bench.running.workers import Workers
from bench.suite.loops import BACKWARD, BATCH, OPTIMIZER
from bench.suite.script import Script
from bench.worker.script.loop_stages import evaluation_stages

HEAD = """
import itertools, sys, torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
torch.manual_seed(0)
def data(rows):
    return TensorDataset(torch.randn(rows, 3), torch.zeros(rows, dtype=torch.long))
train_loader = DataLoader(data(24), batch_size=4)
val_loader, test_loader = DataLoader(data(8), batch_size=4), DataLoader(data(12), batch_size=4)
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.CrossEntropyLoss()
def step(inputs, targets):
    optimizer.zero_grad()
    criterion(model(inputs), targets).backward()
    optimizer.step()
def evaluate(loader):
    model.eval()
    for inputs, targets in loader:
        criterion(model(inputs), targets)
"""

# Programs: their text after HEAD, and the steps of each epoch by stage, after the first.
PROGRAMS = {
    "plain": (
        """
        for _ in range(3):
            for inputs, targets in train_loader:
                step(inputs, targets)
            with torch.no_grad():
                evaluate(val_loader)
        """,
        {"train": 6, "validate": 2},
    ),
    "one function evaluates two loaders": (
        """
        for _ in range(3):
            for inputs, targets in train_loader:
                step(inputs, targets)
            evaluate(val_loader)
            evaluate(test_loader)
        """,
        {"train": 6, "validate": 2, "test": 3},
    ),
    "an evaluation with autograd": (
        """
        for _ in range(3):
            for inputs, targets in train_loader:
                step(inputs, targets)
            for inputs, targets in test_loader:
                model(inputs)
        """,
        {"train": 6, "test": 3},
    ),
    "enumerate, zip and a generator": (
        """
        def moved(loader):
            for batch in loader:
                yield batch
        for _ in range(3):
            for _, ((inputs, targets), _) in enumerate(zip(moved(train_loader), train_loader)):
                step(inputs, targets)
        """,
        {"train": 6},
    ),
    "a pass that is left early, and a look at the data": (
        """
        mean = sum(inputs.mean() for inputs, _ in train_loader)
        for _ in range(3):
            for number, (inputs, targets) in enumerate(train_loader):
                if number == 4:
                    break
                step(inputs, targets)
        """,
        {"train": 4},
    ),
    "a validation before any training, and one inside of it": (
        """
        evaluate(val_loader)
        for _ in range(3):
            for number, (inputs, targets) in enumerate(train_loader):
                step(inputs, targets)
                if number == 2:
                    evaluate(val_loader)
        """,
        {"train": 6, "validate": 2},
    ),
    "loaders made anew": (
        """
        for _ in range(3):
            for inputs, targets in DataLoader(data(20), batch_size=4):
                step(inputs, targets)
        """,
        {"train": 5},
    ),
    "gradient accumulation": (
        """
        for _ in range(3):
            for number, (inputs, targets) in enumerate(train_loader, 1):
                criterion(model(inputs), targets).backward()
                if number % 3 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
        """,
        {"train": 6},
    ),
    "an iterator that is made again when it is exhausted": (
        """
        batches = iter(train_loader)
        for _ in range(18):
            try:
                inputs, targets = next(batches)
            except StopIteration:
                batches = iter(train_loader)
                inputs, targets = next(batches)
            step(inputs, targets)
        """,
        {"train": 6},
    ),
    "two optimizers": (
        """
        other = nn.Linear(3, 2)
        second = torch.optim.SGD(other.parameters(), lr=0.1)
        for _ in range(3):
            for inputs, targets in train_loader:
                step(inputs, targets)
                second.zero_grad()
                criterion(other(inputs), targets).backward()
                second.step()
        """,
        {"train": 6},
    ),
    "a closure": (
        """
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
        def closure():
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            return loss
        for _ in range(3):
            for inputs, targets in train_loader:
                optimizer.step(closure)
        """,
        {"train": 6},
    ),
}

WITHOUT_A_LOADER = {
    "full batches": (
        """
        inputs, targets = torch.randn(9, 3), torch.zeros(9, dtype=torch.long)
        for _ in range(16):
            step(inputs, targets)
        """,
        OPTIMIZER,
    ),
    "the batches of a cycle": (
        """
        batches = itertools.cycle(train_loader)
        for _ in range(40):
            step(*next(batches))
        """,
        OPTIMIZER,
    ),
    "no optimizer": (
        """
        for _ in range(16):
            criterion(model(torch.randn(4, 3)), torch.zeros(4, dtype=torch.long)).backward()
            with torch.no_grad():
                for one in model.parameters():
                    one.sub_(0.1 * one.grad)
                    one.grad = None
        """,
        BACKWARD,
    ),
}


@pytest.fixture(scope="module")
def workers(tmp_path_factory, no_worker):
    with Workers(conditions(threads=1), tmp_path_factory.mktemp("logs")) as workers:
        yield workers


@pytest.fixture
def script(tmp_path):
    def written(text, head=HEAD):
        path = tmp_path / "train.py"
        path.write_text(head + textwrap.dedent(text))
        return path

    return written


def found(workers, path, **options):
    plan = plan_of(path)
    if options:
        plan = dataclasses.replace(plan, script=dataclasses.replace(plan.script, **options))
    return probe(workers, plan).plan


def epochs(record):
    """By stage, the number of steps of each epoch."""
    assert isinstance(record, Measurement), record
    steps = {}
    for stage in record.stages:
        steps.setdefault(stage.stage, []).append(len(stage.steps))
    return steps


@pytest.mark.parametrize("name", PROGRAMS)
def test_stages_and_steps_are_those_of_the_program(name, workers, script):
    text, expected = PROGRAMS[name]
    plan = found(workers, script(text))
    assert plan.script.loops
    record = once(workers, plan)
    steps = epochs(record)
    assert {stage: set(of_stage) for stage, of_stage in steps.items()} == {
        stage: {number} for stage, number in expected.items()
    }
    assert all(len(of_stage) == 3 for of_stage in steps.values())
    assert record.checks.get("passes_recognised", True)
    assert {samples for stage in record.stages for samples in stage.samples} == {4}


@pytest.mark.parametrize("name", WITHOUT_A_LOADER)
def test_without_a_loader_a_step_is_from_one_update_to_the_next(name, workers, script):
    text, ends = WITHOUT_A_LOADER[name]
    plan = found(workers, script(text), epoch=5)
    (loop,) = [loop for loop in plan.script.loops if loop.stage]
    assert (loop.stage, loop.ends, loop.steps, loop.is_cut) == ("train", ends, 5, True)
    steps = epochs(once(workers, plan))
    assert set(steps) == {"train"}
    assert len(steps["train"]) >= 2
    assert set(steps["train"]) == {5}


def test_the_line_says_what_was_found(workers, script):
    plan = found(workers, script(PROGRAMS["plain"][0]))
    said = loops_line(plan.script.loops)
    lines = (script(PROGRAMS["plain"][0])).read_text().splitlines()
    trains = 1 + next(n for n, line in enumerate(lines) if "in train_loader" in line)
    assert f"train.py:{trains}, 6 steps an epoch; validate: " in said
    assert said.endswith(", 2 steps an epoch")


def test_the_test_after_all_epochs_is_measured_though_the_first_run_did_not_come_to_it(workers, script):
    plan = found(
        workers,
        script(
            """
            for _ in range(6):
                for inputs, targets in train_loader:
                    step(inputs, targets)
                with torch.no_grad():
                    evaluate(val_loader)
            with torch.no_grad():
                evaluate(test_loader)
            """
        ),
    )
    assert {loop.stage for loop in plan.script.loops} == {"train", "validate"}
    assert epochs(once(workers, plan)) == {"train": [6] * 6, "validate": [2] * 6, "test": [3]}


def test_explicit_marks_win(workers, script):
    plan = found(
        workers,
        script(
            """
            import bench
            for _ in range(3):
                for inputs, targets in train_loader:
                    step(inputs, targets)
            for _ in range(2):
                for inputs, targets in bench.watch(val_loader):
                    step(inputs, targets)
            """
        ),
    )
    assert plan.script.loops == ()
    assert epochs(once(workers, plan)) == {"train": [2, 2]}


def test_a_long_script_ends_after_the_steps_that_are_wanted(workers, script):
    text = """
    for number in range(10_000):
        for inputs, targets in train_loader:
            step(inputs, targets)
        assert number < 50, "it goes on"
    """
    plan = found(workers, script(text), steps=12)
    steps = epochs(once(workers, plan))["train"]
    assert sum(steps[1:]) == 12


def test_so_does_one_whose_epoch_is_long(workers, script):
    text = """
    for _ in range(3):
        for number, (inputs, targets) in enumerate(DataLoader(data(400), batch_size=2)):
            step(inputs, targets)
            assert number < 60, "it goes on"
    """
    plan = found(workers, script(text), steps=40)
    assert epochs(once(workers, plan))["train"] == [10] * 5


def test_counts_and_profiles_follow_the_same_loops(workers, script, tmp_path):
    plan = dataclasses.replace(found(workers, script(PROGRAMS["plain"][0])), traces=tmp_path)
    (case,) = plan.cases
    counted = launch(workers, plan, Job(case, COUNTED, 1, 1))
    assert isinstance(counted, Measurement), counted
    assert counted.counts.steps == {"train": 2, "validate": 2}
    profiled = launch(workers, plan, Job(case, PROFILED, 1, 1))
    assert isinstance(profiled, Measurement), profiled
    assert profiled.profile.steps == {"train": 5, "validate": 5}


def test_what_does_not_train_is_refused_with_the_lines_to_add(workers, script):
    with pytest.raises(
        UsageError, match=r"nothing in it trains or evaluates .*; import epochbench in it, and write"
    ):
        found(workers, script("list(train_loader)"))


def test_a_launch_of_a_program_that_has_changed_its_loop_says_so(workers, script):
    plan = found(workers, script(PROGRAMS["plain"][0]))
    loops = tuple(loop for loop in plan.script.loops if loop.stage == "train")
    path = script("\n\n" + textwrap.dedent(PROGRAMS["plain"][0]))
    moved = plan_of(path)
    moved = dataclasses.replace(moved, script=dataclasses.replace(moved.script, loops=loops))
    (case,) = moved.cases
    record = launch(workers, moved, Job(case, TIMED, 1, 1))
    assert not isinstance(record, Measurement) or not record.checks["passes_recognised"]


def test_loops_go_through_json(workers, script):
    made = found(workers, script(PROGRAMS["plain"][0])).script
    assert Script.from_json(made.to_json()) == made
    assert {loop.ends for loop in made.loops} == {BATCH}


@pytest.mark.parametrize(
    ("names", "stages"),
    [
        ([("val_loader", "evaluate")], ["validate"]),
        ([("test_loader", "evaluate")], ["test"]),
        ([("evaluate",)], ["validate"]),
        ([("loader", "run"), ("loader", "run")], ["validate", "test"]),
        ([("x", "run"), ("devLoader", "run")], ["test", "validate"]),
        ([("testloader", "validate")], ["test"]),
        ([("valDataLoader", "test")], ["validate"]),
        ([("val_dl", "run")], ["validate"]),
        ([("values", "run"), ("contestants", "run")], ["validate", "test"]),
        ([("test_dataset", "evaluate")], ["test"]),
        ([("latest", "contest", "invalidate")], ["validate"]),
        ([("x",), ("y",), ("z",)], ["validate", "test", "test"]),
        ([], []),
    ],
)
def test_names_and_order_say_which_evaluation_it_is(names, stages):
    assert evaluation_stages(names) == stages
