"""What is known of the gate on a machine, kept beside the runs and found again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fakes import environment

from bench.results.history import latest_selftest, write_selftest


@dataclass
class Decision:
    arm: str


@pytest.fixture
def keep(tmp_path):
    def make(name, arm, where):
        place = tmp_path / name
        place.mkdir()
        write_selftest(place, [Decision(arm)], where)
        return place

    return make


HERE = environment()


def test_the_latest_of_this_machine_is_found(tmp_path, keep):
    keep("20260101T000000-a-host-selftest", "old", HERE)
    keep("20260102T000000-a-host-selftest", "new", HERE)
    assert latest_selftest(HERE, tmp_path) == [{"arm": "new"}]


@pytest.mark.parametrize("other", [{"cpu": "Another"}, {"allocator": "system"}, {"threads": 7}])
def test_another_machine_or_setting_tells_nothing(tmp_path, keep, other):
    keep("20260102T000000-a-host-selftest", "new", environment(**other))
    assert latest_selftest(HERE, tmp_path) == []


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"environment": {}}', '{"environment": 1, "decisions": []}']
)
def test_a_damaged_one_is_passed_over(tmp_path, keep, damage):
    keep("20260101T000000-a-host-selftest", "old", HERE)
    (keep("20260102T000000-a-host-selftest", "new", HERE) / "selftest.json").write_text(damage)
    assert latest_selftest(HERE, tmp_path) == [{"arm": "old"}]


def test_without_any_nothing_is_known(tmp_path):
    assert latest_selftest(HERE, tmp_path / "nowhere") == []
