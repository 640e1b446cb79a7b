"""Time to quality: the clock of training, when a loss was reached, and which configuration is good soonest."""

from __future__ import annotations

import math

import pytest
from fakes import CASE, measurement, stage, trained

from bench.analysis.launch.learning_curve import EpochEnd, Validation, learning_curve, target_loss
from bench.analysis.launch.values import launch_values
from bench.analysis.run.time_to_quality import ASKED, AXIS, HALF, Trained, groups
from bench.errors import UsageError
from bench.suite.case import Case

SLOW = Case("s", {"dataset": "digits", "optimizer": "adam"})
FAST = Case("s", {"dataset": "digits", "optimizer": "sgd"})


def made(case: Case, *launches, epoch_time: float | None = None) -> Trained:
    """A case of which each launch is (seconds of a train stage, losses of its epochs)."""
    found = tuple(learning_curve(trained(case, *losses, seconds=seconds)) for seconds, losses in launches)
    return Trained(case, found, epoch_time)


def group_of(*cases: Trained, target: float | None = None):
    (found,) = groups(cases, target)
    return found


def row_of(group, case: Case):
    (row,) = [row for row in group.rows if row.case == case]
    return row


class TestTheClockOfTraining:
    def test_it_runs_in_train_and_validate_stages_from_the_first_epoch_on(self):
        found = learning_curve(trained(SLOW, 2.0, 1.0, seconds=4.0))
        assert found.validations == (Validation(0, 5.0, 2.0), Validation(1, 10.0, 1.0))
        assert found.ends == (
            EpochEnd(0, 5.0, 2.0, {"accuracy": 0.5}),
            EpochEnd(1, 10.0, 1.0, {"accuracy": 0.75}),
        )

    def test_inside_the_train_stage_a_validation_comes_when_its_steps_are_done(self):
        """Two validations after one step each of 1 and 3 seconds, then a step of 4; each validation takes 10."""
        case = Case("s", {"validate_every": 1})
        nested = [stage("validate", 0, (10.0,), loss=loss) for loss in (3.0, 2.0)]
        whole = stage("train", 0, (1.0, 3.0, 4.0), wall=16.0)  # half of its time is in no step
        last = [stage("validate", 1, (10.0,), loss=1.0), stage("train", 1, (2.0,))]
        test = stage("test", 0, (99.0,), metrics={"accuracy": 0.5})
        found = learning_curve(measurement(case=case, stages=(*nested, whole, test, *last)))
        assert found.validations == (
            Validation(0, 2.0 + 10, 3.0),
            Validation(0, 8.0 + 20, 2.0),
            Validation(1, 16.0 + 20 + 2 + 10, 1.0),
        )
        assert found.ends[0] == EpochEnd(0, 16.0 + 20, 2.0, {"accuracy": 0.5}), (
            "with the steps after the last"
        )

    def test_one_after_the_train_stage_comes_at_the_end_of_it(self):
        case = Case("s", {"validate_every": 1})
        records = (stage("train", 0, (0.25, 0.25, 0.25)), stage("validate", 0, (1.0,)))
        (only,) = learning_curve(measurement(case=case, stages=records)).validations
        assert only.seconds == 1.75

    def test_short_steps_have_their_share_of_the_stage_as_well(self):
        case = Case("s", {"validate_every": 1})
        records = (stage("validate", 0, (1.0,)), stage("train", 0, (0.25, 0.25), wall=0.5))
        (only,) = learning_curve(measurement(case=case, stages=records)).validations
        assert only.seconds == 1.25

    def test_steps_without_time_divide_nothing_by_zero(self):
        case = Case("s", {"validate_every": 1})
        records = (stage("validate", 0, (1.0,)), stage("train", 0, (0.0, 0.0), wall=1.0))
        assert learning_curve(measurement(case=case, stages=records)).validations == (
            Validation(0, 2.0, 0.5),
        )

    @pytest.mark.parametrize(
        "changes", [{"loss": None}, {"loss": math.nan}, {"loss": 1e308}, {"wall": math.inf}]
    )
    def test_what_is_no_finite_number_is_left_out(self, changes):
        records = (stage("train", 0), stage("validate", 0, **changes))
        assert learning_curve(measurement(stages=records)).validations == ()
        assert learning_curve(measurement(stages=records)).ends == ()

    def test_a_loss_of_which_two_can_be_added_is_a_finite_number(self):
        records = (stage("train", 0), stage("validate", 0, loss=8e307))
        assert learning_curve(measurement(stages=records)).best == 8e307

    def test_an_epoch_that_validates_and_does_not_train_has_the_time_of_its_validation(self):
        records = (stage("validate", 0, (1.0,)), stage("train", 1, (2.0,)), stage("validate", 1, (1.0,)))
        assert [one.seconds for one in learning_curve(measurement(stages=records)).validations] == [1.0, 4.0]

    def test_without_a_test_stage_an_epoch_has_no_metrics(self):
        records = (stage("train", 0), stage("validate", 0))
        assert learning_curve(measurement(stages=records)).ends == (EpochEnd(0, 4.0, 0.5, {}),)


class TestTheTimeToALoss:
    def value(self, target, *losses, mode="train"):
        case = Case("s", {"target_loss": target, "mode": mode})
        return launch_values(trained(case, *losses)).get("quality.time_to_loss")

    def test_it_is_that_of_the_first_validation_at_or_below_the_target(self):
        assert self.value(1.0, 2.0, 1.0, 0.5) == 2.5
        assert self.value(1, 2.0, 0.5, 1.5) == 2.5
        assert self.value(3.0, 2.0, 1.0) == 1.25, "warm-up is training too"

    def test_who_never_reached_it_has_none(self):
        assert self.value(0.4, 2.0, 1.0, 0.5) is None

    def test_without_a_target_or_without_training_there_is_none(self):
        assert self.value(None, 2.0, 1.0) is None
        assert self.value(3.0, 2.0, 1.0, mode="no_grad") is None
        assert "quality.time_to_loss" not in launch_values(trained(CASE, 2.0, 1.0))

    def test_a_target_is_a_number(self):
        assert target_loss(Case("s", {"target_loss": 1})) == 1.0
        assert target_loss(Case("s")) is None
        for value in ("low", True):
            with pytest.raises(UsageError, match="target_loss must be a number, or none, not"):
                Case("s", {"target_loss": value})

    def test_a_target_does_not_tell_two_evaluations_apart(self):
        assert Case("s", {"target_loss": 1, "mode": "eval"}) == Case("s", {"target_loss": 2, "mode": "eval"})


class TestAConfiguration:
    def test_it_stands_after_as_many_epochs_as_the_shortest_launch_had(self):
        group = group_of(made(SLOW, (2.0, (2.0, 1.0, 0.5))), made(FAST, (1.0, (3.0, 2.5))))
        assert group.epochs == 2
        slow = row_of(group, SLOW)
        assert (slow.loss, slow.accuracy, slow.seconds, slow.best) == (1.0, 0.75, 5.0, 0.5)

    def test_it_stands_within_the_time_of_the_fastest(self):
        group = group_of(made(SLOW, (1.5, (2.0, 1.0))), made(FAST, (1.0, (3.0, 2.5))))
        assert group.seconds == 2.5
        slow, fast = row_of(group, SLOW), row_of(group, FAST)
        assert (slow.loss_in_time, slow.accuracy_in_time) == (2.0, 0.5), "its second epoch ends after 3.75 s"
        assert (fast.loss_in_time, fast.accuracy_in_time) == (fast.loss, fast.accuracy)

    def test_of_whom_no_validation_ended_in_time_nothing_is_known(self):
        group = group_of(made(SLOW, (9.0, (2.0, 1.0))), made(FAST, (1.0, (3.0, 2.5))))
        slow = row_of(group, SLOW)
        assert (slow.loss_in_time, slow.accuracy_in_time) == (None, None)

    def test_its_numbers_are_medians_over_launches(self):
        launches = [(1.0, (2.0, 1.0)), (2.0, (4.0, 3.0)), (5.0, (2.5, 1.5))]
        row = row_of(group_of(made(SLOW, *launches), target=3.5), SLOW)
        assert (row.launches, row.loss, row.accuracy, row.seconds) == (3, 1.5, 0.625, 5.0)
        assert row.curve == ((2.5, 2.5), (5.0, 1.5))
        assert (row.reached, row.time_to_target) == (3, 5.0), "after 1.25, 5 and 6.25 s"

    def test_its_curve_ends_with_the_launch_of_the_fewest_validations(self):
        row = row_of(group_of(made(SLOW, (1.0, (2.0, 1.0)), (1.0, (4.0,)))), SLOW)
        assert row.curve == ((1.25, 3.0),)

    def test_launches_that_never_reached_the_target_are_counted(self):
        launches = [(1.0, (2.0, 1.0)), (1.0, (2.0, 1.5)), (1.0, (2.0, 1.5))]
        row = row_of(group_of(made(SLOW, *launches), target=1.0), SLOW)
        assert (row.reached, row.launches, row.time_to_target) == (1, 3, 2.5)
        assert not row.reaches
        assert group_of(made(SLOW, *launches), target=1.0).first is None

    def test_a_task_without_accuracy_has_none(self):
        records = tuple(stage(name, epoch) for epoch in (0, 1) for name in ("train", "validate", "test"))
        group = group_of(Trained(SLOW, (learning_curve(measurement(stages=records)),)))
        assert group.rows[0].accuracy is group.rows[0].accuracy_in_time is None


class TestTheTarget:
    CASES = (made(SLOW, (1.0, (2.0, 0.5))), made(FAST, (1.0, (2.0, 1.0))))

    def test_one_that_is_asked_for_holds(self):
        group = group_of(*self.CASES, target=0.75)
        assert (group.target, group.target_from) == (0.75, ASKED)

    def test_else_that_of_the_axis_where_all_have_the_same(self):
        cases = [Case("s", {"optimizer": name, "target_loss": 0.3}) for name in ("sgd", "adam")]
        group = group_of(*(made(case, (1.0, (2.0, 0.5))) for case in cases))
        assert (group.target, group.target_from) == (0.3, AXIS)

    def test_else_half_of_the_configurations_reach_it(self):
        group = group_of(*self.CASES)
        assert (group.target, group.target_from) == (0.75, HALF)
        assert [row.reaches for row in group.rows] == [True, False]

    def test_where_the_axis_has_several_values_half_reach_it_too(self):
        cases = [Case("s", {"target_loss": value}) for value in (0.3, 0.4)]
        assert group_of(*(made(case, (1.0, (2.0, 0.5))) for case in cases)).target_from == HALF

    @pytest.mark.parametrize(
        ("best", "said"), [(0.12341, 0.124), (123456.0, 124000.0), (-0.12349, -0.123), (0.0, 0.0)]
    )
    def test_it_is_rounded_up_to_what_is_said_so_that_who_has_it_reaches_it(self, best, said):
        group = group_of(made(SLOW, (1.0, (best + 1, best))))
        assert group.target == said
        assert group.first is not None


class TestWhoIsCompared:
    @pytest.mark.parametrize(
        ("axis", "one", "other"),
        [
            ("dataset", "digits", "fake-images"),
            ("loss", "cross-entropy", "nll"),
            ("label_smoothing", 0.0, 0.1),
        ],
    )
    def test_losses_of_different_functions_and_data_are_not(self, axis, one, other):
        cases = [made(Case("s", {axis: value}), (1.0, (2.0, 1.0))) for value in (one, other)]
        first, second = groups(cases)
        assert [len(first.rows), len(second.rows)] == [1, 1]
        assert getattr(second, axis) == other

    def test_nor_are_suites(self):
        assert len(groups([made(Case(name), (1.0, (2.0, 1.0))) for name in "ab"])) == 2

    def test_no_label_smoothing_is_that_of_zero(self):
        cases = [Case("s", {"label_smoothing": value, "width": n}) for n, value in enumerate((None, 0, 0.0))]
        assert len(group_of(*(made(case, (1.0, (2.0, 1.0))) for case in cases)).rows) == 3

    def test_of_nothing_there_is_no_group(self):
        assert groups([]) == []


class TestTheVerdict:
    def test_who_reaches_the_target_first_stands_first_and_who_never_does_by_its_loss(self):
        names = ("never", "late", "soon", "nearly")
        losses = ((3.0, 2.5), (2.0, 1.0), (1.0, 1.0), (2.0, 1.25))
        cases = [made(Case("s", {"x": name}), (1.0, loss)) for name, loss in zip(names, losses, strict=True)]
        group = group_of(*cases, target=1.0)
        assert [row.case["x"] for row in group.rows] == ["soon", "late", "nearly", "never"]
        assert group.first is group.rows[0]

    def test_a_lucky_launch_wins_no_race(self):
        lucky = made(FAST, (0.1, (1.0, 1.0)), (0.1, (3.0, 3.0)))
        group = group_of(lucky, made(SLOW, *[(1.0, (2.0, 1.0))] * 2), target=1.0)
        assert group.first.case == SLOW
        assert [row.reached for row in group.rows] == [2, 1]

    @pytest.mark.parametrize(("loss", "worse"), [(1.04, False), (1.06, True), (0.5, False)])
    def test_fast_but_worse_is_seen_unless_it_is_nearly_as_good(self, loss, worse):
        fast = made(FAST, (1.0, (2.0, loss)), epoch_time=0.5)
        group = group_of(fast, made(SLOW, (2.0, (2.0, 1.0)), epoch_time=0.75))
        assert group.fastest.case == FAST
        assert group.is_fast_but_worse is worse

    def test_the_fastest_is_who_has_the_least_epoch_time_whatever_its_warm_up_took(self):
        group = group_of(
            made(FAST, (9.0, (2.0, 1.0)), epoch_time=0.5), made(SLOW, (1.0, (2.0, 1.0)), epoch_time=0.75)
        )
        assert group.fastest.case == FAST

    def test_where_no_epoch_was_timed_none_is_the_fastest(self):
        group = group_of(made(FAST, (1.0, (2.0, 1.0))), made(SLOW, (2.0, (2.0, 0.1))))
        assert group.fastest is None
        assert not group.is_fast_but_worse

    def test_losses_below_zero_are_compared_too(self):
        fast = made(FAST, (1.0, (-1.0, -1.0)), epoch_time=0.5)
        assert group_of(fast, made(SLOW, (2.0, (-1.0, -2.0)), epoch_time=0.75)).is_fast_but_worse
        assert not group_of(fast, made(SLOW, (2.0, (-1.0, -1.01)), epoch_time=0.75)).is_fast_but_worse
