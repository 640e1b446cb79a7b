"""Where in the user's code a verdict belongs: found in source and by git, in real repositories."""

from __future__ import annotations

import pytest
from test_gate_trees import commit, git, home, own_git  # noqa: F401  # the same repositories

from bench.ab.source_lines import below, changed_in, declared, places

SUITE = '''"""Two suites."""

from bench import Suite


def build(case):
    raise NotImplementedError


first = Suite(
    name="first",
    build=build,
)
second = Suite("second", build)
'''


class TestWhereASuiteIsDeclared:
    @pytest.fixture
    def file(self, tmp_path):
        (tmp_path / "suite.py").write_text(SUITE)
        return tmp_path / "suite.py"

    @pytest.mark.parametrize(("suite", "line"), [("first", 10), ("second", 14), ("named elsewhere", 6)])
    def test_is_its_own_line_or_that_of_what_builds_it(self, file, suite, line):
        assert declared(file, suite) == line

    def test_a_single_one_may_be_named_by_anything(self, file):
        file.write_text('import bench\n\nNAME = "x"\nsuite = bench.Suite(name=NAME, build=print)\n')
        assert declared(file, "x") == 4

    @pytest.mark.parametrize("text", ["", "import torch\n", "def (", "\0", "\xff\xfe"])
    def test_what_cannot_be_read_is_its_first_line(self, file, text):
        file.write_text(text, encoding="latin-1")
        assert declared(file, "first") == 1
        assert declared(file.with_name("gone.py"), "first") == 1


def test_a_path_is_relative_to_the_repository(tmp_path):
    assert below(str(tmp_path / "a" / "b.py"), tmp_path) == "a/b.py"
    assert below(str(tmp_path / "b.py"), tmp_path / "a") == ""


class TestWhatChanged:
    def test_a_single_file_that_the_task_loads_is_marked_at_its_first_change(self, home):  # noqa: F811
        commit(home, "one\ntwo\nthree\n", "model.py")
        commit(home, "one\ntwo\nTHREE\n", "model.py")
        commit(home, "not loaded", "README")
        assert changed_in(home, "HEAD~2", "HEAD", ["model.py", "code.py"]) == ("model.py", 3)

    def test_uncommitted_work_counts(self, home):  # noqa: F811
        (home / "sub/more.py").write_text("new\nsecond")
        assert changed_in(home, "HEAD", "", ["sub/more.py"]) == ("sub/more.py", 1)

    def test_of_several_none_is_to_blame(self, home):  # noqa: F811
        commit(home, "a", "a.py")
        commit(home, "b", "b.py")
        assert changed_in(home, "HEAD~2", "HEAD", ["a.py", "b.py"]) is None
        assert changed_in(home, "HEAD~1", "HEAD", ["a.py"]) is None
        assert changed_in(home, "nowhere", "HEAD", ["a.py"]) is None

    def test_a_line_that_was_taken_away_is_marked_where_it_stood(self, home):  # noqa: F811
        commit(home, "one\ntwo\n", "größe [1].py")
        commit(home, "two\n", "größe [1].py")
        assert changed_in(home, "HEAD~1", "HEAD", ["größe [1].py"]) == ("größe [1].py", 1)


def test_what_changed_goes_before_where_the_suite_is(tmp_path):
    file = tmp_path / "suites.py"
    file.write_text(SUITE)
    files = {"first": str(file), "away": "/elsewhere/suite.py"}
    assert places(files, tmp_path) == {"first": ("suites.py", 10)}
    assert places(files, tmp_path, ("model.py", 3)) == dict.fromkeys(files, ("model.py", 3))
