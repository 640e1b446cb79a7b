"""What the user types for a side of an A/B, and how it is told apart from a suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.ab.versions import NOW, Version, interpreter, parse, sides_and_suites
from bench.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestOneSide:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("worktree", {}),
            ("ref=HEAD~1", {"ref": "HEAD~1"}),
            ("ref=feature/a=b", {"ref": "feature/a=b"}),
            ("env:OMP_WAIT_POLICY=PASSIVE", {"variables": {"OMP_WAIT_POLICY": "PASSIVE"}}),
            ("env:FLAGS=--a=1 --b=2", {"variables": {"FLAGS": "--a=1 --b=2"}}),
            ("env:EMPTY=", {"variables": {"EMPTY": ""}}),
            ("env:LINES=a\nb", {"variables": {"LINES": "a\nb"}}),
            ("set:batch_size=8", {"axes": {"batch_size": 8}}),
            ("set:learning_rate=0.5", {"axes": {"learning_rate": 0.5}}),
            ("set:scheduler=none", {"axes": {"scheduler": None}}),
            ("set:compile=true", {"axes": {"compile": True}}),
            ("set:model=a=b", {"axes": {"model": "a=b"}}),
            ("set:batch-size=8", {"axes": {"batch-size": 8}}),
            ("set:arg:-b=8", {"axes": {"arg:-b": 8}}),
            ("set:arg:model.width=8", {"axes": {"arg:model.width": 8}}),
            ("set:env:WORKERS=2", {"axes": {"env:WORKERS": 2}}),
        ],
    )
    def test_is_what_its_kind_says_and_keeps_its_text(self, text, parts):
        assert parse(text) == Version(text, **parts)

    def test_an_axis_is_called_in_a_table_as_a_run_calls_it(self):
        columns = [
            parse(f"set:{name}=8").columns
            for name in ("batch-size", "arg:-b", "arg:model.width", "env:WORKERS")
        ]
        assert columns == [{"batch_size": 8}, {"b": 8}, {"model_width": 8}, {"WORKERS": 8}]

    def test_a_value_is_checked_however_its_axis_is_spelled(self):
        with pytest.raises(UsageError, match="batch_size must be a whole number"):
            parse("set:batch-size=0")

    @pytest.mark.parametrize(
        "text", ["suites", "suites/mine.py", "./worktree", "refs.py", "a=b.py", "env.py", "set"]
    )
    def test_is_no_suite(self, text):
        assert parse(text) is None

    def test_a_program_is_found_as_a_shell_finds_it(self, here, monkeypatch):
        program = here / "bin" / "python9"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("HOME", str(here))
        monkeypatch.setenv("PATH", str(here / "bin"))
        for text in ("python9", "bin/python9", "~/bin/python9", str(program)):
            assert parse(f"python={text}") == Version(f"python={text}", python=str(program))

    def test_a_virtual_environment_is_told_by_the_path_of_its_link(self, here):
        link = here / "old" / "bin" / "python"
        link.parent.mkdir(parents=True)
        link.symlink_to(sys.executable)
        assert interpreter("old/bin/python") == str(link)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("ref=", "'ref=' has no value; write ref=REV"),
            ("python=", "'python=' has no value; write python=PATH"),
            ("set:width=", "'set:width=' has no value; write set:AXIS=VALUE"),
            ("env:=1", "'env:=1': an environment variable needs a name; write env:NAME=VALUE"),
            ("set:=1", "'set:=1': '' is not a name for an axis; write set:AXIS=VALUE"),
            ("set:a b=1", "'set:a b=1': 'a b' is not a name for an axis; write set:AXIS=VALUE"),
            ("set:8=1", "'set:8=1': '8' is not a name for an axis; write set:AXIS=VALUE"),
            ("set:mode=fly", "unknown mode 'fly'; there are train, eval, no_grad, inference_mode"),
            ("set:batch_size=0", "batch_size must be a whole number of at least 1, not 0"),
            ("set:epochs=1", "epochs must be a whole number of at least 2, not 1"),
            ("python=no/such", "python=no/such: there is no such program; name an interpreter, such as"),
        ],
    )
    def test_that_cannot_be_is_refused(self, text, said):
        with pytest.raises(UsageError) as refused:
            parse(text)
        assert str(refused.value).startswith(said)

    def test_a_file_that_cannot_be_run_is_no_program(self, here):
        (here / "python9").write_text("")
        with pytest.raises(UsageError, match="there is no such program"):
            parse("python=./python9")


class TestSidesAndSuites:
    @pytest.mark.parametrize(
        ("arguments", "sides", "suites"),
        [
            ([], [], []),
            (["suites"], [], ["suites"]),
            (["ref=main"], ["ref=main"], []),
            (["ref=main", "worktree", "a.py", "b.py"], ["ref=main", "worktree"], ["a.py", "b.py"]),
            (
                ["a.py", "set:width=8", "b.py", "set:width=9"],
                ["set:width=8", "set:width=9"],
                ["a.py", "b.py"],
            ),
        ],
    )
    def test_come_in_any_order(self, arguments, sides, suites):
        found, files = sides_and_suites(arguments)
        assert [one.text for one in found] == sides
        assert files == [Path(name) for name in suites]

    def test_a_file_that_is_there_is_a_suite_whatever_it_looks_like(self, here):
        (here / "commit=1.py").write_text("")
        assert sides_and_suites(["commit=1.py"]) == ([], [Path("commit=1.py")])

    def test_the_code_as_it_lies_there_may_be_both_sides(self):
        found, _ = sides_and_suites([NOW, NOW])
        assert found == [Version(NOW), Version(NOW)]

    @pytest.mark.parametrize("text", ["commit=abc", "rev=1", "envs:A=1", "axis:width=8", "var:A=1"])
    def test_what_looks_like_a_side_and_is_none_is_refused(self, text):
        with pytest.raises(UsageError) as refused:
            sides_and_suites([text])
        assert str(refused.value) == (
            f"{text!r} is neither a side nor a suite; a side is ref=REV, worktree, python=PATH, env:NAME=VALUE "
            f"or set:AXIS=VALUE"
        )

    def test_three_sides_are_one_too_many(self):
        with pytest.raises(UsageError) as refused:
            sides_and_suites(["ref=a", "ref=b", "worktree"])
        assert str(refused.value) == "two sides can be compared, not 3: ref=a, ref=b, worktree"

    @pytest.mark.parametrize("text", ["ref=main", "env:A=1", "set:width=8"])
    def test_a_side_is_held_against_another(self, text):
        with pytest.raises(UsageError) as refused:
            sides_and_suites([text, text])
        assert str(refused.value).startswith(f"both sides are {text}; name two that differ")
