from __future__ import annotations

import os
from dataclasses import replace

import pytest
from scenes import look

from bench.machine.doctor import cards
from bench.system.gpu import GpuState

CARD = GpuState(
    index=0,
    name="NVIDIA H100",
    uuid="GPU-1a2b",
    persistence=True,
    processes=frozenset(),
    throttle_reasons=frozenset(),
    temperature=40.0,
    slowdown_temperature=87.0,
    power_limit=700.0,
    default_power_limit=700.0,
)


def found(tmp_path, *given):
    return look(cards.gpus, tmp_path, cards=given)


def test_without_a_card_there_is_nothing_to_say(tmp_path):
    assert found(tmp_path) == []


def test_a_card_that_nothing_disturbs_is_one_row(tmp_path):
    (finding,) = found(tmp_path, CARD)
    assert (finding.name, finding.state) == ("GPU 0", "ok")
    assert finding.found == "NVIDIA H100, 40 °C, 47 °C below where it slows down, power limit 700 W"


@pytest.mark.parametrize("name", ["NVIDIA T4", None])
def test_a_card_that_tells_nothing_disturbs_nothing(tmp_path, name):
    (finding,) = found(tmp_path, GpuState(3, name))
    assert (finding.name, finding.state) == ("GPU 3", "ok")
    assert finding.found == (name or "of an unknown make")


@pytest.mark.parametrize(
    ("change", "state", "told", "remedy"),
    [
        ({"persistence": False}, "notice", "persistence off", "`sudo nvidia-smi -pm 1`"),
        ({"processes": {7}}, "warning", "1 other process on the card (pid 7)", "`nvidia-smi`"),
        (
            {"processes": {16, 9, 8, 7, 6}},
            "warning",
            "5 other processes on the card (pid 6, 7, 8, 9, ...)",
            "`nvidia-smi`",
        ),
        (
            {"throttle_reasons": {"thermal", "power_cap"}},
            "warning",
            "slowed down now: power cap, thermal",
            "`nvidia-smi -q -d PERFORMANCE`",
        ),
        ({"temperature": 80.0}, "warning", "80 °C, 7 °C below where it slows down", "cool"),
        (
            {"power_limit": 500.0},
            "notice",
            "power limit 500 W, 200 W below its default",
            "`sudo nvidia-smi -i GPU-1a2b -pl 700`",
        ),
        (
            {"power_limit": 500.0, "uuid": None},
            "notice",
            "power limit 500 W, 200 W below its default",
            "`sudo nvidia-smi -i 0 -pl 700`",
        ),
    ],
)
def test_what_disturbs(tmp_path, change, state, told, remedy):
    (finding,) = found(tmp_path, replace(CARD, **change))
    assert (finding.name, finding.state) == ("GPU 0", state)
    assert told in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "change",
    [
        {"processes": {os.getpid()}},  # our own
        {"power_limit": 750.0},  # above its default
    ],
)
def test_what_does_not_matter(tmp_path, change):
    (finding,) = found(tmp_path, replace(CARD, **change))
    assert finding.state == "ok"


def test_each_card_has_its_number_on_each_finding(tmp_path):
    warm = replace(CARD, index=5, temperature=85.0, persistence=False)
    assert [finding.name for finding in found(tmp_path, CARD, warm)] == ["GPU 0", "GPU 5", "GPU 5"]
