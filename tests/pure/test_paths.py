"""What lies in a folder, whose code a file is, and names of files that no two texts share."""

from __future__ import annotations

import os
import sysconfig

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.system.paths import HARNESS, file_name, is_in, is_own

LONGEST = 255 - 60  # bytes: what is put in front of it and behind it is short


@pytest.mark.parametrize(
    ("path", "folders", "inside"),
    [
        ("/a/bench/x.py", ["/a/bench"], True),
        ("/a/bench", ["/a/bench"], True),
        ("/a/bench/x.py", ["/a/bench/"], True),
        ("/a/benchmarks/x.py", ["/a/bench"], False),
        ("/a/bench.py", ["/a/bench"], False),
        ("/a/b.py", ["/c", "/a"], True),
        ("/a/b.py", ["/"], True),
        ("", ["/a"], False),
        ("/a", [], False),
    ],
)
def test_a_folder_holds_what_lies_below_it_and_nothing_that_begins_like_it(path, folders, inside):
    assert is_in(path, folders) is inside


@pytest.mark.parametrize("folder", [HARNESS, sysconfig.get_path("stdlib")])
def test_a_folder_beside_one_that_is_not_the_users_is_theirs(folder):
    assert not is_own(os.path.join(folder, "x.py"))
    assert is_own(os.path.join(f"{folder}marks", "workload.py"))


@pytest.mark.parametrize("file", ["", "<string>", "<frozen runpy>", "numpy/random/mtrand.pyx"])
def test_what_has_no_file_is_not_the_users(file):
    assert not is_own(file)


class TestFileName:
    @pytest.mark.parametrize("text", ["small", "a-b_c=1.5", "x" * 100])
    def test_text_that_can_be_a_name_is_one(self, text):
        assert file_name(text) == text

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a/b", "a-b"),
            ("a/b", "a:b"),
            ("x" * 300 + "1", "x" * 300 + "2"),
            ("模" * 60, "模" * 59 + "型"),
            ("optimizer=Adam", "optimizer=adam"),  # one file where capitals are not told apart
            ("caf\u00e9", "cafe\u0301"),  # and where accents are written in one way only
            ("", "-"),
            ("\ud800", "\ud801"),
        ],
    )
    def test_two_texts_never_share_one(self, one, other):
        assert file_name(one).lower() != file_name(other).lower()

    @pytest.mark.parametrize(
        "text", ["模" * 60, "🙂" * 200, "x" * 5000, "../../etc", "a\0b", ".hidden", "", "."]
    )
    def test_it_can_be_made(self, text, tmp_path):
        (tmp_path / f"flame-{file_name(text)}.profile.12.log").write_text("")
        assert not file_name(text).startswith(".")

    def test_letters_of_every_language_can_be_read_in_it(self):
        assert file_name("suite/model=模型").startswith("suite-model=模型-")

    @given(st.text(), st.text())
    def test_of_any_text(self, one, other):
        first, second = file_name(one), file_name(other)
        assert first
        assert len(first.encode()) <= LONGEST
        assert not set(first) & set("/\0\n")
        assert (first.lower() == second.lower()) == (one == other)
