from __future__ import annotations

import enum
import json
import runpy
from pathlib import Path

import pytest

from bench.errors import SuiteError, UsageError
from bench.suite.case import RESERVED, spell
from bench.suite.matrix import Expansion, Suite, parse_axis, parse_value

SUITES = Path(__file__).parents[2] / "suites"


def build(case):
    raise AssertionError("expanding builds nothing")


def suite(**parts):
    axes = {"batch_size": [32, 64], "optimizer": ["sgd", "adam"]}
    return Suite(**{"name": "mine", "build": build, "axes": axes, **parts})


def ids(expansion):
    return [case.id for case in expansion.cases]


def test_a_matrix_expands_in_the_order_of_its_axes_the_last_one_fastest():
    assert ids(suite().expand()) == [
        "mine/device=cpu/batch_size=32/optimizer=sgd",
        "mine/device=cpu/batch_size=32/optimizer=adam",
        "mine/device=cpu/batch_size=64/optimizer=sgd",
        "mine/device=cpu/batch_size=64/optimizer=adam",
    ]


def test_a_suite_without_axes_is_one_case_a_device():
    assert ids(suite(axes={}).expand(["cpu", "cuda:0"])) == ["mine/device=cpu", "mine/device=cuda:0"]


def test_an_axis_of_ones_own_multiplies_like_the_others():
    expansion = suite(axes={"width": [128, 512], "amp": [True, False]}).expand()
    assert [(case["width"], case["amp"]) for case in expansion.cases] == [
        (128, True),
        (128, False),
        (512, True),
        (512, False),
    ]


def test_the_vision_suite_is_24_cases_on_a_cpu_and_says_what_collapsed():
    expansion = runpy.run_path(str(SUITES / "vision.py"))["suite"].expand(["cpu"])
    assert len(expansion.cases) == len(set(ids(expansion))) == 24
    assert sum(case.mode == "train" for case in expansion.cases) == 12
    # Three optimizers at each of four batch sizes are one case under an evaluation mode: two of three drop.
    assert expansion.collapsed == {
        ("eval", ("optimizer",)): 8,
        ("no_grad", ("optimizer",)): 8,
        ("inference_mode", ("optimizer",)): 8,
    }
    assert expansion.excluded == []


def test_the_vision_suite_has_every_case_on_every_device():
    expansion = runpy.run_path(str(SUITES / "vision.py"))["suite"].expand(["cpu", "cuda:0"])
    assert [case.device for case in expansion.cases] == ["cpu"] * 24 + ["cuda:0"] * 24


@pytest.mark.parametrize("axis", ["optimizer", "learning_rate", "scheduler", "validate_every"])
def test_each_axis_of_training_collapses_under_an_evaluation_mode(axis):
    values = {
        "optimizer": ["sgd", "adam"],
        "learning_rate": [0.1, 0.2],
        "scheduler": [None, "reduce-on-plateau"],
        "validate_every": ["epoch", 2],
    }
    expansion = suite(axes={axis: values[axis], "mode": ["train", "no_grad"]}).expand()
    assert [case.mode for case in expansion.cases].count("train") == 2
    assert [case.mode for case in expansion.cases].count("no_grad") == 1
    assert expansion.collapsed == {("no_grad", (axis,)): 1}


def test_a_combination_that_comes_twice_is_kept_once():
    expansion = suite(axes={"batch_size": [32, 64, 32]}).expand()
    assert ids(expansion) == ["mine/device=cpu/batch_size=32", "mine/device=cpu/batch_size=64"]
    assert expansion.collapsed == {("train", ()): 1}


def test_learning_rates_that_differ_in_the_seventh_digit_are_two_cases():
    assert len(suite(axes={"learning_rate": [0.1234567, 0.1234568]}).expand().cases) == 2


def test_an_exclusion_says_why():
    def exclude(case):
        return "sgd needs larger batches" if case.optimizer == "sgd" and case.batch_size < 64 else None

    expansion = suite(exclude=exclude).expand()
    assert expansion.excluded == [("mine/device=cpu/batch_size=32/optimizer=sgd", "sgd needs larger batches")]
    assert len(expansion.cases) == 3


@pytest.mark.parametrize("order", [["sgd", "adam"], ["adam", "sgd"]])
def test_an_optimizer_that_is_excluded_takes_no_evaluation_case_with_it(order):
    # Under no_grad both optimizers are one case, and that one has nothing to do with sgd.
    expansion = suite(
        axes={"optimizer": order, "mode": ["train", "no_grad"]},
        exclude=lambda case: "no sgd here" if case.optimizer == "sgd" else None,
    ).expand()
    assert sorted(ids(expansion)) == [
        "mine/device=cpu/mode=no_grad",
        "mine/device=cpu/optimizer=adam/mode=train",
    ]
    assert expansion.excluded == [("mine/device=cpu/optimizer=sgd/mode=train", "no sgd here")]


@pytest.mark.parametrize(
    ("exclude", "says"),
    [
        (lambda case: 1 / 0, "exclude raised ZeroDivisionError: division by zero at"),
        (lambda case: case["nothing"], "exclude raised KeyError"),
        (lambda case: exit(3), "exclude raised SystemExit: 3 at"),
        (lambda case: case.batch_size > 16, "exclude gave True for mine/device=cpu/batch_size=32/"),
        (lambda case: 0, "exclude gave 0 for"),
    ],
)
def test_an_exclude_that_fails_is_named_with_its_line_and_the_case(exclude, says):
    with pytest.raises(SuiteError) as found:
        suite(exclude=exclude).expand()
    assert "suite 'mine': " in str(found.value)
    assert says in str(found.value)
    assert "mine/device=cpu/batch_size=32/optimizer=sgd" in str(found.value)
    if "raised" in says:
        assert f"{__file__}:{exclude.__code__.co_firstlineno}" in str(found.value)
        assert "Traceback" in found.value.detail


def test_an_exclude_that_says_what_it_means_in_its_own_words_is_left_alone():
    def exclude(case):
        raise UsageError("torch is too old")

    with pytest.raises(UsageError, match=r"^torch is too old$"):
        suite(exclude=exclude).expand()


@pytest.mark.parametrize("nothing", [None, False])
def test_no_reason_excludes_nothing(nothing):
    """`case.batch_size > 512 and "too large"` gives False."""
    assert len(suite(exclude=lambda case: nothing).expand().cases) == 4


def test_values_are_read_once_and_kept():
    """A generator is over after the first look; a list of the user's may change later."""
    rates = [0.1, 0.2]
    once = suite(axes={"learning_rate": rates, "width": (n for n in (1, 2))}, columns=(c for c in ["x"]))
    rates.clear()
    assert len(once.expand().cases) == len(once.expand().cases) == 4
    assert list(once.columns) == ["x"]


class Colour(enum.StrEnum):
    RED = "red"


class Width(enum.IntEnum):
    WIDE = 512


def test_a_value_of_a_type_of_its_own_is_the_plain_one_from_the_beginning():
    """A launch gets what JSON has made of it: `exclude` must not see anything else, and no method of it runs."""
    seen = []
    expansion = suite(
        axes={"colour": [Colour.RED], "width": [Width.WIDE]},
        exclude=lambda case: seen.append([type(value) for value in case.axes.values()]),
    ).expand()
    assert ids(expansion) == ["mine/device=cpu/colour=red/width=512"]
    assert seen == [[str, str, int]]


def test_no_combination_is_lost_without_a_word():
    expansion = suite(
        axes={"optimizer": ["sgd", "adam", "sgd"], "device": ["cpu", "tpu:0"], "mode": ["train", "eval"]},
        exclude=lambda case: "no sgd here" if case.optimizer == "sgd" else None,
    ).expand()
    dropped = sum(expansion.collapsed.values()) + len(expansion.excluded)
    assert len(expansion.cases) + dropped == 3 * 2 * 2


def test_a_device_that_is_not_there_is_excluded_where_the_suite_declares_it():
    expansion = suite(axes={"device": ["cpu", "cuda:0"]}).expand(["cpu"])
    assert ids(expansion) == ["mine/device=cpu"]
    assert expansion.excluded == [("mine/device=cuda:0", "this machine has no device 'cuda:0', it has cpu")]


def test_a_device_that_is_not_there_is_an_error_where_a_flag_asks_for_it():
    with pytest.raises(UsageError, match="no device 'cuda:0', it has cpu"):
        suite().expand(["cpu"], {"device": ["cuda:0"]})


def test_available_means_every_device_of_the_machine():
    declared = suite(axes={"device": "available"}).expand(["cpu", "cuda:0", "cuda:1"])
    assert [case.device for case in declared.cases] == ["cpu", "cuda:0", "cuda:1"]


def test_available_as_a_flag_widens_a_suite_that_declares_one_device():
    widened = suite(axes={"device": ["cpu"]}).expand(["cpu", "cuda:0"], {"device": ["available"]})
    assert [case.device for case in widened.cases] == ["cpu", "cuda:0"]


def test_a_device_without_a_number_is_the_first_of_its_kind():
    expansion = suite(axes={"device": ["cuda"]}).expand(["cpu", "cuda:0", "cuda:1"])
    assert ids(expansion) == ["mine/device=cuda:0"]


DEVICES = ["cpu", *(f"cuda:{number}" for number in range(4))]
EQUAL = {"cuda:0": ["cuda:0", "cuda:1", "cuda:3"]}  # and cuda:2 is another model


@pytest.mark.parametrize(
    ("requested", "devices", "spread"),
    [
        ("available", ["cpu", "cuda:0", "cuda:2"], EQUAL),
        (["available"], ["cpu", "cuda:0", "cuda:2"], EQUAL),
        (["cpu", "cuda"], ["cpu", "cuda:0"], EQUAL),
        ("all", DEVICES, {}),
        (["all"], DEVICES, {}),
        (["cuda:0"], ["cuda:0"], {}),
        (["cuda:1", "cuda:0"], ["cuda:1", "cuda:0"], {}),
        (["cuda", "cuda:0"], ["cuda:0"], {}),
        (["cuda", "cuda:1"], ["cuda:0", "cuda:1"], EQUAL),
        (["cuda:2"], ["cuda:2"], {}),
        (["cpu"], ["cpu"], {}),
    ],
)
@pytest.mark.parametrize("by_flag", [False, True])
def test_equal_cards_are_one_device_unless_it_is_named_by_its_number(requested, devices, spread, by_flag):
    if by_flag and isinstance(requested, str):
        requested = [requested]
    declared = suite(axes={} if by_flag else {"device": requested})
    expansion = declared.expand(DEVICES, {"device": requested} if by_flag else {}, equal=EQUAL)
    assert [case.device for case in expansion.cases] == devices
    assert expansion.spread == spread
    assert Expansion.from_json(json.loads(json.dumps(expansion.to_json()))) == expansion


@pytest.mark.parametrize(
    ("axes", "overrides", "needed"),
    [
        ({"device": ["cpu"]}, {}, False),
        ({"device": "available"}, {}, True),
        ({}, {}, True),
        ({"device": ["cpu", "cuda:0"]}, {}, True),
        ({"device": "available"}, {"device": ["cpu"]}, False),
        ({"device": ["cpu"]}, {"device": ["cuda:0"]}, True),
        ({"device": ["cpu"]}, {"device": ["available"]}, True),
    ],
)
def test_the_devices_are_asked_for_only_where_an_axis_needs_them(axes, overrides, needed):
    assert suite(axes=axes).needs_devices(overrides) is needed


def test_a_flag_replaces_the_values_of_an_axis():
    expansion = suite().expand(overrides={"batch_size": [128]})
    assert ids(expansion) == [
        "mine/device=cpu/batch_size=128/optimizer=sgd",
        "mine/device=cpu/batch_size=128/optimizer=adam",
    ]


def test_a_flag_may_name_a_standard_axis_that_the_suite_does_not_declare():
    expansion = suite(axes={}).expand(overrides={"epochs": [2, 3]})
    assert [case.epochs for case in expansion.cases] == [2, 3]


def test_a_flag_for_an_axis_that_is_none_names_those_there_are():
    with pytest.raises(
        UsageError, match="suite 'mine' has no axis 'bach_size'; it has device, batch_size, opt"
    ):
        suite().expand(overrides={"bach_size": [1]})


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"batch_size": [0]}, "batch_size must be a whole number of at least 1"),
        ({"mode": ["test"]}, "unknown mode 'test'"),
        ({"optimizer": ["adan"]}, "unknown optimizer 'adan'; there are sgd, adam"),
        ({"scheduler": ["cosine"]}, "unknown scheduler 'cosine'; there are reduce-on-plateau, none"),
    ],
)
def test_a_flag_with_a_value_that_no_case_can_have_is_refused(overrides, says):
    choices = {"optimizer": ["sgd", "adam"], "scheduler": ["reduce-on-plateau", None]}
    with pytest.raises(UsageError, match=says):
        suite(choices=choices).expand(overrides=overrides)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"name": ""}, "suite name '': use letters, digits"),
        ({"name": "my suite"}, "suite name 'my suite'"),
        ({"name": "a/b"}, "suite name 'a/b'"),
        ({"name": 3}, "suite name 3"),
        ({"build": "model"}, "suite 'mine': build must be a function of a case"),
        ({"axes": {"batch size": [1]}}, "axis 'batch size': an axis is named like a Python variable"),
        ({"axes": {"a=b": [1]}}, "axis 'a=b'"),
        ({"axes": {"optimizer": "adam"}}, r"axis 'optimizer': give a list of values, such as \['adam'\]"),
        ({"axes": {"device": "cpu"}}, r"axis 'device': give a list of values, such as \['cpu'\]"),
        ({"axes": {"batch_size": []}}, "axis 'batch_size': give a list with at least one value"),
        ({"axes": {"batch_size": 64}}, "axis 'batch_size': give a list with at least one value"),
        ({"axes": {"batch_size": [64, 0]}}, "suite 'mine': batch_size must be a whole number"),
        ({"axes": {"mode": ["evaluate"]}}, "suite 'mine': unknown mode 'evaluate'"),
        (
            {"axes": {"optimizer": ["adan"]}, "choices": {"optimizer": ["sgd", "adam"]}},
            "suite 'mine': unknown optimizer 'adan'; there are sgd, adam",
        ),
        (
            {"axes": {"scheduler": ["cosine"]}, "choices": {"scheduler": ["reduce-on-plateau", None]}},
            "suite 'mine': unknown scheduler 'cosine'; there are reduce-on-plateau, none",
        ),
    ],
)
def test_a_declaration_that_cannot_be_expanded_is_refused_where_it_is_made(parts, says):
    with pytest.raises(SuiteError, match=says):
        suite(**parts)


def test_an_expansion_goes_through_json():
    expansion = suite(
        axes={"device": ["cpu", "cuda:0"], "optimizer": ["sgd", "adam"], "mode": ["train", "eval"]}
    ).expand(["cpu"])
    assert expansion.cases
    assert expansion.collapsed
    assert expansion.excluded
    assert Expansion.from_json(json.loads(json.dumps(expansion.to_json()))) == expansion


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("batch_size=64", "batch_size", [64]),
        ("batch_size=32,64", "batch_size", [32, 64]),
        ("learning_rate=1e-3,0.1", "learning_rate", [0.001, 0.1]),
        ("scheduler=none", "scheduler", [None]),
        ("scheduler=None,reduce-on-plateau", "scheduler", [None, "reduce-on-plateau"]),
        ("amp=true,False", "amp", [True, False]),
        ("device=cuda:0", "device", ["cuda:0"]),
        ("note=a=b", "note", ["a=b"]),
        (" width = 1 , 2 ", "width", [1, 2]),
    ],
)
def test_an_axis_flag_reads_values_as_what_they_spell(text, name, values):
    parsed, found = parse_axis(text)
    assert (parsed, found) == (name, values)
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text", ["batch_size", "=64", " =64", "batch_size=", "batch_size=32,,64", "a=1,", ""]
)
def test_an_axis_flag_that_is_none_shows_how_it_is_written(text):
    with pytest.raises(UsageError, match="write it as name=value or name=value,value") as problem:
        parse_axis(text)
    assert repr(text) in str(problem.value)


def test_a_flag_cannot_bring_in_what_is_no_number():
    name, values = parse_axis("learning_rate=nan")
    with pytest.raises(UsageError, match="not a finite number"):
        suite().expand(overrides={name: values})


@pytest.mark.parametrize("value", [None, True, False, 64, -3, 0.001, 1e-5, 0.1234567, 1e20, "adam", "cuda:0"])
def test_reading_is_the_inverse_of_spelling(value):
    assert parse_value(spell(value)) == value


@pytest.mark.parametrize("name", RESERVED)
def test_an_axis_may_not_be_called_like_a_column_that_identifies_a_row(name):
    with pytest.raises(SuiteError, match="every table has a column of this name"):
        Suite(name="mine", build=print, axes={name: [1]})


def test_an_axis_may_be_called_like_any_other_column():
    axes = {"stage": ["deep"], "step": [1, 2], "phase": [0.5], "share": [True], "launches": [3]}
    cases = Suite(name="mine", build=print, axes=axes).expand().cases
    assert [case.id for case in cases] == [
        "mine/device=cpu/stage=deep/step=1/phase=0.5/share=true/launches=3",
        "mine/device=cpu/stage=deep/step=2/phase=0.5/share=true/launches=3",
    ]


def test_a_value_asked_for_by_a_flag_that_no_case_can_have_is_refused_with_the_reason():
    """Where the suite declares it, the same value is excluded and said."""

    def exclude(case):
        return "closures are not for digits" if case.optimizer == "lbfgs" else None

    declared = suite(axes={"optimizer": ["sgd", "lbfgs"]}, exclude=exclude)
    assert [reason for _, reason in declared.expand().excluded] == ["closures are not for digits"]
    with pytest.raises(UsageError) as caught:
        suite(exclude=exclude).expand(overrides={"optimizer": ["sgd", "lbfgs"]})
    assert str(caught.value) == "suite 'mine' has no case of optimizer=lbfgs: closures are not for digits"


def test_a_value_asked_for_by_a_flag_that_some_case_can_have_is_excluded_where_it_cannot():
    def exclude(case):
        return "too large for adam" if (case.optimizer, case.batch_size) == ("adam", 256) else None

    expansion = suite(exclude=exclude).expand(overrides={"batch_size": [32, 256]})
    assert len(expansion.cases) == 3
    assert len(expansion.excluded) == 1


def test_a_flag_may_name_an_axis_that_the_suite_has_choices_for():
    expansion = suite(choices={"workers": [0, 2]}).expand(overrides={"workers": [2]})
    assert all(case["workers"] == 2 for case in expansion.cases)
    with pytest.raises(UsageError, match="no axis 'wrokers'"):
        suite(choices={"workers": [0, 2]}).expand(overrides={"wrokers": [2]})
