"""Which axes of a case user code asks for: what is refused, what is not, and what no one can know."""

from __future__ import annotations

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from fakes import small_task
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from bench.errors import UsageError
from bench.suite.case import Case
from bench.worker.axis_reads import BuildProbe, Reads, follows_batch_size, shapes

AXES = {"device": "cpu", "batch_size": 4, "epochs": 2, "mode": "train", "width": 8, "optimizer": "sgd"}
CASE = Case("mine", AXES)
OWN = ("batch_size", "width", "optimizer")  # those that the framework does not go by


def unread(ask) -> tuple[str, ...]:
    reads = Reads(CASE)
    ask(reads.case())
    return reads.unread


class TestReads:
    def test_nothing_is_read_that_nobody_asks_for_but_what_the_framework_goes_by(self):
        assert unread(lambda case: None) == OWN

    @pytest.mark.parametrize(
        "ask",
        [
            lambda case: case["width"],
            lambda case: case.get("width"),
            lambda case: case.get("width", 3),
            lambda case: case.axes["width"],
            lambda case: case.axes.get("width"),
            lambda case: "width" in case.axes,
        ],
    )
    def test_one_that_is_asked_for_is_read(self, ask):
        assert unread(ask) == ("batch_size", "optimizer")

    @pytest.mark.parametrize(
        ("ask", "left"),
        [
            (lambda case: case.batch_size, ("width", "optimizer")),
            (lambda case: case.optimizer, ("batch_size", "width")),
            (lambda case: case.seeks_largest, ("width", "optimizer")),
            (lambda case: (case.device, case.mode, case.epochs, case.validate_every), OWN),
        ],
    )
    def test_so_is_one_by_its_attribute(self, ask, left):
        assert unread(ask) == left

    @pytest.mark.parametrize(
        "ask",
        [
            lambda case: dict(case.axes),
            lambda case: {**case.axes},
            lambda case: list(case.axes),
            lambda case: list(case.axes.items()),
            lambda case: list(case.axes.values()),
            lambda case: case.axes | {},
            lambda case: {} | case.axes,
            lambda case: case.axes.copy(),
            lambda case: list(reversed(case.axes)),
            lambda case: case.axes == {},
            lambda case: repr(case),
            lambda case: str(case.axes),
            lambda case: case.id,
            lambda case: case.label,
            lambda case: case.used,
            lambda case: case.to_json(),
            lambda case: case == CASE,
            lambda case: hash(case),
            lambda case: case.sized(8),
            lambda case: SimpleNamespace(**case.axes),
        ],
    )
    def test_who_goes_through_all_has_read_all(self, ask):
        assert unread(ask) == ()

    def test_it_is_the_case_to_whoever_has_it(self):
        case = Reads(CASE).case()
        assert isinstance(case, Case)
        assert (case.suite, dict(case.axes), case.id, case == CASE) == ("mine", AXES, CASE.id, True)
        assert case.get("learning_rate") == 1e-3, "a standard axis that was not declared"
        assert case.get("depth", 3) == 3
        assert len(case.axes) == len(AXES)
        with pytest.raises(KeyError, match="depth"):
            case["depth"]
        with pytest.raises(TypeError):
            case.axes["width"] = 9

    def test_an_axis_that_the_mode_does_not_use_is_none_of_the_case(self):
        reads = Reads(Case("mine", {**AXES, "mode": "eval"}))
        reads.case()
        assert reads.unread == ("batch_size", "width")

    def test_what_a_process_of_a_loader_reads_is_read(self):
        """The data set of a loader with workers asks for its axis where this process never sees it."""
        reads = Reads(CASE)
        case = reads.case()
        worker = multiprocessing.get_context("fork").Process(target=lambda: case["width"])
        worker.start()
        worker.join()
        assert worker.exitcode == 0
        assert reads.unread == ("batch_size", "optimizer")


class TestNeverRead:
    """Only of a case that nobody has kept is it known that no more will be asked."""

    def test_a_case_that_is_gone_is_asked_for_nothing_more(self):
        reads = Reads(CASE)
        reads.case()
        assert reads.never_read == OWN

    @pytest.mark.parametrize(
        "keep",
        [
            lambda case: lambda: case["width"],
            lambda case: case,
            lambda case: case.axes,
            lambda case: [{"the": case}],
        ],
    )
    def test_one_that_is_kept_may_be_asked_at_any_time(self, keep):
        reads = Reads(CASE)
        kept = keep(reads.case())
        assert reads.never_read == ()
        del kept
        assert reads.never_read == OWN

    def test_a_circle_that_is_over_keeps_nothing(self):
        reads = Reads(CASE)
        circle = [reads.case()]
        circle.append(circle)
        del circle
        assert reads.never_read == OWN


def cases(**values) -> list[Case]:
    """Cases with each of these values of an axis, in turn."""
    (axis, found), *more = values.items()
    return [
        Case("mine", {"device": "cpu", axis: value, **rest.axes})
        for value in found
        for rest in (cases(**dict(more)) if more else [Case("mine")])
    ]


class Builds:
    """A build that tells how often it ran, and asks as it is told."""

    def __init__(self, ask) -> None:
        self.ask = ask
        self.count = 0

    def __call__(self, case: Case):
        self.count += 1
        return self.ask(case)


def refused(ask, asked, all_cases, built=1, **options) -> tuple[str, int]:
    """What is said against the axes that were asked for, if anything, and how many builds it took."""
    build = Builds(ask)
    probe = BuildProbe("mine", build)
    for case in all_cases[:built]:
        try:
            probe.build(case)
        except Exception:
            continue
    try:
        probe.refuse_unread(asked, all_cases[:built], all_cases, **options)
    except UsageError as problem:
        return str(problem), build.count
    return "", build.count


class TestRefusing:
    def test_an_axis_that_no_build_reads_is_named_with_suite_and_remedy(self):
        said, builds = refused(lambda case: None, ["optimizer"], cases(optimizer=["sgd", "adam"]))
        assert said == (
            "suite 'mine' does not read axis 'optimizer', so that each value would measure the same thing under "
            "another name; let its build ask for case['optimizer'], or leave the axis out of the command"
        )
        assert builds == 1, "its other value is the same case"

    def test_several_are_named_together(self):
        said, _ = refused(
            lambda case: case["width"], ["model", "width", "loss"], cases(model=["a"], width=[1], loss=["b"])
        )
        assert "does not read axes 'model', 'loss'," in said

    def test_one_that_is_read_is_let_through_without_a_further_build(self):
        assert refused(lambda case: case["width"], ["width"], cases(width=[1, 2], kind=["a", "b"])) == ("", 1)

    @pytest.mark.parametrize("axis", ["device", "mode", "epochs", "validate_every"])
    def test_the_framework_reads_its_own(self, axis):
        every = {"device": ["cpu"], "mode": ["train"], "epochs": [2, 3], "validate_every": [1, 2]}
        assert refused(lambda case: None, [axis], cases(**{axis: every[axis]})) == ("", 1)

    def test_one_that_is_read_under_one_value_of_another_axis_is_read(self):
        """The case that was built first has no use for it."""

        def ask(case):
            return case["heads"] if case["kind"] == "transformer" and case["depth"] == 2 else None

        every = cases(kind=["mlp", "cnn", "transformer"], depth=[1, 2], heads=[4, 8])
        assert refused(ask, ["heads"], every) == ("", 6)

    def test_one_that_none_of_them_reads_is_refused_after_all_that_differ_were_tried(self):
        every = cases(kind=["mlp", "cnn"], heads=[4, 8])
        said, builds = refused(lambda case: case["kind"], ["heads"], every)
        assert "'heads'" in said
        assert builds == 2

    def test_one_that_may_be_read_later_is_let_through(self):
        """In a step, a collate function, a data set: by whoever has kept the case."""
        kept = []
        assert refused(kept.append, ["width"], cases(width=[1, 2])) == ("", 1)

    def test_what_a_build_that_fails_would_have_read_is_not_known(self):
        assert refused(lambda case: 1 / 0, ["width"], cases(width=[1, 2])) == ("", 1)

    def test_so_it_is_of_one_that_is_built_for_this_alone(self):
        def ask(case):
            if case["kind"] == "b":
                raise KeyboardInterrupt

        assert refused(ask, ["width"], cases(kind=["a", "b"], width=[1])) == ("", 2)

    def test_who_takes_long_is_not_kept_waiting_and_not_refused(self):
        times = iter([0.0, 59.0, 61.0])
        said = refused(
            lambda case: case["kind"],
            ["width"],
            cases(kind=["a", "b", "c", "d"], width=[1]),
            clock=lambda: next(times),
        )
        assert said == ("", 2)

    def test_nothing_is_asked_for_without_a_flag(self):
        assert refused(lambda case: None, [], cases(width=[1, 2])) == ("", 1)


DATA = TensorDataset(torch.randn(64, 3), torch.randint(2, (64,)))


def loaded(loader, **parts):
    return small_task(train_loader=loader, **parts)


class Chunks(IterableDataset):
    """Whole batches of so many rows, as those of a text or of a graph: their first dimension is no batch size."""

    def __init__(self, rows: int, dimension: int) -> None:
        shape = [5, 5]
        shape[dimension] = rows
        self.batch = {"codes": torch.zeros(shape), "text": "x"}, [torch.zeros(2)]

    def __iter__(self):
        yield self.batch


class TestBatchSize:
    def follows(self, build, size=16, mode="train"):
        case = Case("mine", {"device": "cpu", "batch_size": size, "mode": mode})
        return follows_batch_size(build, case, build(case))

    def test_a_loader_of_that_size_is_asked_for_no_batch(self):
        class Untouched(DataLoader):
            def __iter__(self):
                raise AssertionError("a batch was taken")

        assert self.follows(lambda case: loaded(Untouched(DATA, case.batch_size)))

    def test_a_list_of_batches_of_that_size_follows(self):
        assert self.follows(lambda case: loaded(list(DataLoader(DATA, case.batch_size))))

    @pytest.mark.parametrize("size", [16, 1])
    def test_a_loader_of_a_size_of_its_own_does_not(self, size):
        assert not self.follows(lambda case: loaded(DataLoader(DATA, 8)), size)

    def test_sequences_before_rows_follow(self):
        assert self.follows(lambda case: loaded(DataLoader(Chunks(case.batch_size, 1), None)))

    def test_a_share_of_it_follows(self):
        assert self.follows(lambda case: loaded(DataLoader(DATA, case.batch_size // 4)))

    def test_parts_without_a_shape_are_passed_over(self):
        assert not self.follows(lambda case: loaded(DataLoader(Chunks(3, 0), None)))

    def test_gradients_that_are_gathered_follow_it_in_another_way(self):
        assert self.follows(
            lambda case: loaded(DataLoader(DATA, 4), accumulation_steps=max(1, case.batch_size // 4))
        )

    def test_a_step_of_the_suites_own_may_divide_the_batch(self):
        assert self.follows(lambda case: loaded(DataLoader(DATA, 8), step=lambda *given: None))

    def test_under_an_evaluation_mode_it_is_the_test_data_that_matters(self):
        def build(case):
            return small_task(train_loader=DataLoader(DATA, 8), test_loader=DataLoader(DATA, case.batch_size))

        assert self.follows(build, mode="eval")
        assert not self.follows(build, mode="train")

    @pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, StopIteration])
    def test_nothing_is_said_of_a_loader_that_fails(self, problem):
        class Failing:
            def __iter__(self):
                raise problem

        assert self.follows(lambda case: loaded(Failing()))

    def test_nor_of_an_empty_one(self):
        assert self.follows(lambda case: loaded([]))
        assert shapes([]) == []

    def test_nor_where_the_other_size_cannot_be_built(self):
        def build(case):
            if case.batch_size != 16:
                raise SystemExit(3)
            return loaded(DataLoader(DATA, 8))

        assert self.follows(build)
