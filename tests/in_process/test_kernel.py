from __future__ import annotations

from pathlib import Path

import pytest

from bench.system.kernel import control_groups, expand_ranges, read_file


def test_a_file_that_cannot_be_read_is_empty(tmp_path):
    (tmp_path / "file").write_bytes(b"\xff text \n")
    assert read_file(tmp_path / "file") == "\ufffd text"
    assert read_file(tmp_path / "none") == read_file(tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", []), ("3", [3]), ("0-2,5", [0, 1, 2, 5]), ("0, 4-4,", [0, 4]), ("10-11,2", [10, 11, 2])],
)
def test_a_list_of_numbers(text, numbers):
    assert expand_ranges(text) == numbers


@pytest.mark.parametrize(
    ("own", "groups"),
    [
        ("0::/a/b", ["a/b", "a"]),
        ("0::/", []),
        ("0::/../..", []),
        ("4:cpu,cpuacct:/a\n3:memory:/b\n1:name=systemd:/c\n0::/d", ["cpu/a", "d"]),
        ("3:cpuset:/a", []),
        ("no such line\n:", []),
        ("", []),
    ],
)
def test_the_groups_around_us_are_the_innermost_first_and_end_with_the_mount(tmp_path, own, groups):
    (tmp_path / "own").write_text(f"{own}\n")
    found = control_groups("cpu", Path("/mount"), tmp_path / "own")
    assert [str(group.relative_to("/mount")) for group in found] == [*groups, ".", "cpu"]
