from __future__ import annotations

import dataclasses
import json

import pytest

from bench.errors import UsageError
from bench.suite.case import (
    DEFAULTS,
    MODES,
    TRAINING_AXES,
    Case,
    Conditions,
    Schedule,
    columns,
    spell,
    unused_axes,
)

AXES = {
    "dataset": "digits",
    "device": "cuda:0",
    "batch_size": 64,
    "learning_rate": 1e-3,
    "scheduler": None,
    "amp": True,
}


def test_the_id_is_the_suite_and_every_axis_in_its_order():
    expected = "vision/dataset=digits/device=cuda:0/batch_size=64/learning_rate=0.001/scheduler=none/amp=true"
    assert Case("vision", AXES).id == expected


def test_a_case_that_declares_nothing_is_named_by_its_suite():
    assert Case("bare").id == "bare"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (False, "false"),
        (64, "64"),
        (64.0, "64"),
        (0.1, "0.1"),
        (1e-3, "0.001"),
        (1e-5, "1e-05"),
        (0.123456789, "0.123456789"),
        ("adam", "adam"),
        ("cuda:0", "cuda:0"),
    ],
)
def test_values_are_spelled(value, text):
    assert spell(value) == text


@pytest.mark.parametrize(("one", "other"), [(0.1234567, 0.1234568), (1e-3, 1.0000001e-3), (1e6, 1e6 + 0.5)])
def test_two_numbers_never_share_an_id(one, other):
    assert Case("s", {"learning_rate": one}).id != Case("s", {"learning_rate": other}).id


def test_the_same_number_has_one_id_whether_whole_or_not():
    assert Case("s", {"width": 2}).id == Case("s", {"width": 2.0}).id


def test_the_label_is_the_values_alone():
    assert Case("vision", {"batch_size": 64, "optimizer": "adam"}).label == "vision 64 adam"


def test_what_is_not_declared_is_the_tutorials_default():
    case = Case("bare")
    assert (case.learning_rate, case.batch_size, case.epochs) == (1e-3, 64, 5)
    assert (case.device, case.mode, case.optimizer, case.loss) == ("cpu", "train", "adam", "cross-entropy")
    assert (case.scheduler, case.validate_every) == ("reduce-on-plateau", None)


def test_declared_values_come_before_defaults():
    case = Case("s", {**AXES, "epochs": 3, "validate_every": 10, "loss": "mse", "optimizer": "sgd"})
    assert (case.device, case.batch_size, case.epochs, case.validate_every) == ("cuda:0", 64, 3, 10)
    assert (case.scheduler, case.loss, case.optimizer) == (None, "mse", "sgd")


def test_an_axis_of_ones_own_is_read_like_the_others():
    case = Case("s", {"width": 128})
    assert case["width"] == 128
    assert case["batch_size"] == 64
    assert case.get("height") is None
    assert case.get("height", 7) == 7


def test_an_axis_that_is_none_names_those_there_are():
    with pytest.raises(KeyError, match=r"'hight'.*width.*batch_size"):
        Case("s", {"width": 128})["hight"]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "train"])
def test_evaluation_is_not_told_apart_by_what_only_training_reads(mode):
    one = Case("s", {"optimizer": "sgd", "batch_size": 32, "mode": mode})
    other = Case("s", {"optimizer": "adam", "batch_size": 32, "mode": mode})
    assert one == other
    assert len({one, other}) == 1
    assert one.id == f"s/batch_size=32/mode={mode}"
    assert one.used == {"batch_size": 32, "mode": mode}
    assert unused_axes(mode) == TRAINING_AXES


def test_training_is_told_apart_by_every_axis():
    one, other = (Case("s", {"optimizer": name, "mode": "train"}) for name in ("sgd", "adam"))
    assert one != other
    assert unused_axes("train") == frozenset()


def test_a_case_is_equal_to_nothing_else():
    assert Case("s") != "s"


def test_a_case_cannot_be_changed_once_made():
    given = dict(AXES)
    case = Case("s", given)
    given["batch_size"] = 1
    assert case.batch_size == 64
    with pytest.raises(TypeError):
        case.axes["batch_size"] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.suite = "other"


def test_a_case_goes_through_json_and_keeps_the_types_of_its_values():
    case = Case("vision", {**AXES, "validate_every": 7, "optimizer": "sgd"})
    back = Case.from_json(json.loads(json.dumps(case.to_json())))
    assert back == case
    assert dict(back.axes) == dict(case.axes)
    assert [type(value) for value in back.axes.values()] == [type(value) for value in case.axes.values()]


def test_an_evaluation_case_keeps_its_unused_axes_through_json():
    case = Case("s", {"optimizer": "sgd", "mode": "eval"})
    assert Case.from_json(json.loads(json.dumps(case.to_json()))).optimizer == "sgd"


@pytest.mark.parametrize(
    ("axis", "value", "says"),
    [
        ("width", [1, 2], r"'width': \[1, 2\] is a list; use text, a number"),
        ("width", {"a": 1}, "'width'.*dict"),
        ("width", float("nan"), "'width': nan is not a finite number"),
        ("learning_rate", float("inf"), "'learning_rate': inf is not a finite number"),
        ("mode", "training", "unknown mode 'training'; there are train, eval, no_grad, inference_mode"),
        ("mode", None, "unknown mode None"),
        ("batch_size", 0, "batch_size must be a whole number of at least 1, not 0"),
        ("batch_size", -4, "batch_size.*not -4"),
        ("batch_size", 64.0, r"batch_size must be a whole number.*not 64\.0"),
        ("batch_size", "64", "batch_size must be a whole number.*not '64'"),
        ("batch_size", True, "batch_size must be a whole number.*not True"),
        ("batch_size", None, "batch_size must be a whole number.*not None"),
        ("epochs", 1, r"epochs must be a whole number of at least 2, not 1 \(the first epoch is warm-up"),
        ("epochs", "5", "epochs must be a whole number.*not '5'"),
        ("validate_every", 0, "validate_every must be 'epoch' or a whole number of at least 1, not 0"),
        ("validate_every", "step", "validate_every must be 'epoch' or a whole number.*not 'step'"),
        ("validate_every", None, "validate_every must be 'epoch' or a whole number.*not None"),
        ("learning_rate", 0, "learning_rate must be a number above 0, or .* not 0"),
        ("learning_rate", -0.1, r"learning_rate must be a number above 0, or .* not -0\.1"),
        ("learning_rate", "fast", "learning_rate must be a number above 0, or .* not 'fast'"),
        ("learning_rate", True, "learning_rate must be a number above 0, or .* not True"),
        ("learning_rate", None, "learning_rate must be a number above 0, or .* not None"),
        ("device", None, "device must be text such as 'cpu' or 'cuda:0', not None"),
        ("device", 0, "device must be text such as 'cpu' or 'cuda:0', not 0"),
    ],
)
def test_a_value_that_no_case_can_have_is_named_with_the_remedy(axis, value, says):
    with pytest.raises(UsageError, match=says):
        Case("s", {axis: value})


@pytest.mark.parametrize("axis", DEFAULTS)
def test_every_default_is_a_value_that_a_case_can_have(axis):
    assert Case("s", {axis: DEFAULTS[axis]})[axis] == DEFAULTS[axis]


def test_six_launches_and_no_budget_unless_asked():
    schedule = Schedule()
    assert (schedule.launches, schedule.most, schedule.time_budget) == (6, 6, None)
    assert (schedule.tolerance, schedule.repeats) == (0.02, 6)


def test_a_number_of_launches_alone_is_exact():
    assert Schedule(launches=9).most == 9
    assert Schedule(launches=9, max_launches=9).most == 9
    assert Schedule(launches=9, max_launches=30).most == 30


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(3, 9, 0.01, 2, 60.5, 30.0, 7)])
def test_a_schedule_goes_through_json(schedule):
    assert Schedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"launches": -1}, "launches must be at least 0, not -1"),
        ({"max_launches": 5}, "max-launches must be at least launches, 6, not 5"),
        ({"launches": 9, "max_launches": 0}, "max-launches must be at least launches, 9, not 0"),
        ({"tolerance": 0.0}, "tolerance must be between 0 % and 100 %, not 0"),
        ({"tolerance": -0.02}, r"tolerance must be between.*not -0\.02"),
        ({"tolerance": 1.0}, "tolerance must be between 0 % and 100 %, not 1"),
        ({"tolerance": float("nan")}, "tolerance.*not nan"),
        ({"repeats": -1}, "repeats must be at least 0, not -1"),
        ({"time_budget": 0}, "time-budget must be above 0 seconds, not 0"),
        ({"time_budget": -2.5}, r"time-budget.*not -2\.5"),
        ({"time_budget": float("nan")}, "time-budget.*not nan"),
        ({"timeout": 0}, "timeout must be above 0 seconds, not 0"),
        ({"timeout": float("nan")}, "timeout.*not nan"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(numbers, says):
    with pytest.raises(UsageError, match=says):
        Schedule(**numbers)


@pytest.mark.parametrize(
    "conditions", [Conditions(), Conditions(2, (0, 2), "system", "spawn", "/somewhere/data")]
)
def test_conditions_go_through_json(conditions):
    assert Conditions.from_json(json.loads(json.dumps(conditions.to_json()))) == conditions


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"allocator": "jemalloc"}, "unknown allocator 'jemalloc'; there are pinned, system"),
        ({"start_method": "forkserver"}, "unknown start-method 'forkserver'; there are fork, spawn"),
    ],
)
def test_conditions_that_cannot_be_had_are_refused(settings, says):
    with pytest.raises(UsageError, match=says):
        Conditions(**settings)


def test_the_columns_of_cases_are_their_axes_in_order_each_once():
    cases = [Case("a", {"device": "cpu", "width": 1}), Case("b", {"device": "cpu", "batch_size": 2})]
    assert columns(cases) == ["device", "width", "batch_size"]


def test_text_that_no_file_can_hold_is_refused():
    with pytest.raises(UsageError, match="cannot be written to a file"):
        Case("mine", {"width": "\ud800"})


class TestLargestBatch:
    CASE = Case("s", {"batch_size": "max", "optimizer": "sgd"})

    def test_it_has_a_name_and_no_number(self):
        assert self.CASE.id == "s/batch_size=max/optimizer=sgd"
        assert self.CASE.seeks_largest
        with pytest.raises(
            UsageError, match=r"batch_size is 'max' in s/batch_size=max/optimizer=sgd, a number only"
        ):
            _ = self.CASE.batch_size

    def test_with_another_size_it_is_the_same_case_but_for_that(self):
        sized = self.CASE.sized(7)
        assert (sized.id, sized.batch_size, sized.seeks_largest) == ("s/batch_size=7/optimizer=sgd", 7, False)
        assert sized.sized("max") == self.CASE

    def test_any_other_word_is_refused_with_the_one_there_is(self):
        with pytest.raises(
            UsageError, match=r"whole number of at least 1, not 'maximum' \(or 'max', the largest"
        ):
            Case("s", {"batch_size": "maximum"})
