"""What of two environments must be equal, and what may differ."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fakes import environment

from bench.analysis.compare.environments import (
    FOR_TIME,
    EnvironmentDifference,
    differences,
    differences_for_counts,
    same_for_counts,
    same_for_machine_counts,
)
from bench.measurement import Bandwidth, Device, Environment, Peak
from bench.report.reason_words import environment_said

HERE = environment()

# Another value of every field of an environment.
OTHER = {
    "host": "elsewhere",
    "system": "Darwin",
    "kernel": "6.2.0",
    "cpu": "Another processor",
    "cpu_capability": "AVX512",
    "cores": 8,
    "cpus": (0, 1),
    "memory": 2**40,
    "governor": "powersave",
    "load": 9.0,
    "threads": 2,
    "interop_threads": 2,
    "openmp": {"OMP_WAIT_POLICY": "ACTIVE"},
    "allocator": "system",
    "start_method": "spawn",
    "loader_start_method": "spawn",
    "python": "3.13.1",
    "torch": "2.10.0",
    "packages": {"numpy": "2.1.0"},
    "cuda": "13.0",
    "cudnn": "91003",
    "driver": "580.1",
    "devices": (Device("Another card", "cuda", 0),),
    "flags": {"cudnn.benchmark": True},
    "seed": 1,
    "cards_at_once": 8,
    "peaks": (Peak("cpu", "float32", 1e12, "measured"),),
    "bandwidths": (Bandwidth("cpu", 3e10, "STREAM triad"),),
}


def test_every_field_is_tried():
    assert list(OTHER) == [field.name for field in dataclasses.fields(Environment)]
    assert set(FOR_TIME) < set(OTHER)


def test_an_environment_can_be_compared_with_itself_and_with_what_a_file_kept_of_it():
    assert differences(HERE, HERE) == []
    assert differences(HERE, Environment.from_json(json.loads(json.dumps(HERE.to_json())))) == []


@pytest.mark.parametrize("field", FOR_TIME)
def test_what_changes_times_is_named_with_both_values(field):
    there = environment(**{field: OTHER[field]})
    assert differences(HERE, there) == [EnvironmentDifference(field, getattr(HERE, field), OTHER[field])]
    assert differences(there, HERE) == [EnvironmentDifference(field, OTHER[field], getattr(HERE, field))]


@pytest.mark.parametrize("field", [name for name in OTHER if name not in FOR_TIME])
def test_what_is_only_recorded_is_never_named(field):
    assert differences(HERE, environment(**{field: OTHER[field]})) == []


@pytest.mark.parametrize("field", ["host", "kernel", "load", "governor"])
def test_the_machine_may_have_another_name_kernel_and_load(field):
    assert field not in FOR_TIME


@pytest.mark.parametrize(
    ("field", "version"),
    [("torch", "2.9.1"), ("torch", "2.9.0+cu128"), ("python", "3.12.9"), ("cuda", "12.8.1")],
)
def test_patch_versions_do_not_matter(field, version):
    assert differences(HERE, environment(**{field: version})) == []


@pytest.mark.parametrize(("field", "version"), [("torch", "2.90.0"), ("python", "3.1.2"), ("cuda", "12.80")])
def test_minor_versions_are_whole_numbers(field, version):
    assert [one.field for one in differences(HERE, environment(**{field: version}))] == [field]


def test_a_machine_without_cuda_differs_from_one_with_it():
    without = environment(cuda=None, cudnn=None, driver=None, devices=())
    assert [one.field for one in differences(HERE, without)] == ["devices", "driver", "cuda", "cudnn"]
    assert differences(without, without) == []


def test_how_many_processors_there_are_matters_and_not_which():
    assert differences(HERE, environment(cpus=(4, 5, 6, 7))) == []
    assert [one.field for one in differences(HERE, environment(cpus=(4, 5, 6)))] == ["cpus"]


@pytest.mark.parametrize("change", [{"power_limit": 350.0}, {"memory": 40 * 2**30}, {"name": "B"}])
def test_a_card_at_another_limit_is_another_card(change):
    (card,) = HERE.devices
    there = environment(devices=(dataclasses.replace(card, **change),))
    assert [one.field for one in differences(HERE, there)] == ["devices"]


def test_a_setting_that_an_earlier_version_did_not_record_is_not_a_difference():
    more = environment(flags={**HERE.flags, "cudnn.conv.fp32_precision": "tf32"})
    assert differences(HERE, more) == []
    other = environment(flags={**more.flags, "cudnn.conv.fp32_precision": "ieee"})
    assert [one.field for one in differences(more, other)] == ["flags"]


def test_which_of_several_equal_cards_it_is_does_not_matter():
    (card,) = HERE.devices
    there = environment(devices=(dataclasses.replace(card, uuid="4711", pci="0000:1b:00.0"),))
    assert differences(HERE, there) == []


def test_all_differences_come_in_one_order():
    assert [one.field for one in differences(HERE, environment(**OTHER))] == list(FOR_TIME)


class TestCounts:
    @pytest.mark.parametrize(
        ("changes", "same"),
        [
            ({}, True),
            ({"torch": "2.9.7+cpu"}, True),
            ({"torch": "2.10.0"}, False),
            ({"devices": ()}, False),
            ({"devices": (Device("Another card", "cuda", 1),)}, True),
            ({"devices": (Device("Another card", "mps", 0),)}, False),
            ({"cpu_capability": "AVX512", "python": "3.13.1", "allocator": "system"}, True),
        ],
    )
    def test_they_need_one_torch_and_the_same_kinds_of_device(self, changes, same):
        assert same_for_counts(HERE, environment(**changes)) is same

    @pytest.mark.parametrize(
        ("changes", "same"),
        [
            ({}, True),
            ({"cpu": "Another", "threads": 9}, True),
            ({"cpu_capability": "NEON"}, False),
            ({"cudnn": "91900"}, False),
            ({"devices": (Device("another card", "cuda", 0),)}, False),
            ({"devices": HERE.devices * 2}, True),
        ],
    )
    def test_those_of_a_machine_need_its_instructions_and_its_kind_of_card_too(self, changes, same):
        assert same_for_machine_counts(HERE, environment(**changes)) is same


class TestExactCounts:
    def test_a_difference_has_both_values(self):
        (torch,) = differences_for_counts(HERE, environment(torch="2.10.0"))
        assert (torch.first, torch.second) == (HERE.torch, "2.10.0")
        (kinds,) = differences_for_counts(HERE, environment(devices=()))
        assert (kinds.first, kinds.second) == (["cuda"], ["cpu"])
        assert environment_said(kinds) == "kinds of device: cuda and cpu"
        assert environment_said(torch) == f"torch: {HERE.torch} and 2.10.0"

    """They need less to be alike than times do."""

    def test_another_machine_of_the_same_kinds_of_device_counts_alike(self):
        other = environment(cpu="Another", cpus=(0,), threads=1, cpu_capability="AVX512", allocator="system")
        assert differences_for_counts(environment(), other) == []

    @pytest.mark.parametrize(
        ("changes", "field"), [({"torch": "2.10.0"}, "torch"), ({"devices": ()}, "device_kinds")]
    )
    def test_another_torch_or_kind_of_device_does_not(self, changes, field):
        assert [one.field for one in differences_for_counts(environment(), environment(**changes))] == [field]
