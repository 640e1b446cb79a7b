"""Digests of the code: what changed, went or came since a run began, and what of Epochbench may change."""

from __future__ import annotations

import shutil

import pytest

import bench
from bench.results.sources import changed, digests, harness


@pytest.fixture
def files(tmp_path):
    """Two files of the user's code."""
    paths = [tmp_path / "suite.py", tmp_path / "model.py"]
    for path in paths:
        path.write_text(f"NAME = {path.name!r}\n")
    return [str(path) for path in paths]


class TestFiles:
    def test_what_stayed_is_not_named(self, files):
        assert changed(digests(files), digests(reversed(files))) == []

    @pytest.mark.parametrize("text", ["NAME = 'suite.py' \n", "", "NAME = 'model.py'\n"])
    def test_what_changed_is_named(self, files, text):
        before = digests(files)
        with open(files[0], "w") as file:
            file.write(text)
        assert changed(before, digests(files)) == [files[0]]

    def test_what_was_only_written_anew_did_not_change(self, files, tmp_path):
        before = digests(files)
        shutil.copy(files[0], tmp_path / "copy")
        (tmp_path / "copy").replace(files[0])
        assert changed(before, digests(files)) == []

    def test_what_is_gone_is_named(self, files, tmp_path):
        before = digests(files)
        (tmp_path / "suite.py").unlink()
        assert changed(before, digests(files)) == [files[0]]

    def test_what_came_or_is_no_longer_used_is_named(self, files):
        assert changed(digests(files[:1]), digests(files)) == [files[1]]
        assert changed(digests(files), digests(files[:1])) == [files[1]]

    def test_a_file_that_was_never_there_comes_as_a_change(self, files, tmp_path):
        absent = str(tmp_path / "absent.py")
        assert changed(digests(files), digests([*files, absent])) == [absent]
        assert changed(digests([*files, absent]), digests([*files, absent])) == []

    def test_all_are_named_in_order(self, files):
        assert changed({}, digests(files)) == sorted(files)


class TestEpochbench:
    @pytest.fixture
    def package(self, tmp_path):
        """A small package in the shape of ours."""
        package = tmp_path / "here" / "bench"
        for name in (
            "training.py",
            "worker/meters.py",
            "cli/run.py",
            "report/table.py",
            "report/plots/rows.py",
        ):
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(f"# {name}\n")
        return package

    @pytest.mark.parametrize("name", ["training.py", "worker/meters.py"])
    def test_it_changes_with_a_file_that_measures(self, package, name):
        before = harness(package)
        (package / name).write_text("# other\n")
        assert harness(package) != before

    @pytest.mark.parametrize("name", ["cli/run.py", "report/table.py", "report/plots/rows.py"])
    def test_it_does_not_change_with_one_that_prints_or_draws(self, package, name):
        before = harness(package)
        (package / name).write_text("# other\n")
        assert harness(package) == before

    def test_it_changes_with_a_file_that_comes_goes_or_moves(self, package):
        before = harness(package)
        (package / "worker" / "guards.py").write_text("# new\n")
        assert (came := harness(package)) != before
        (package / "worker" / "guards.py").replace(package / "guards.py")
        assert harness(package) not in (before, came)
        (package / "guards.py").unlink()
        assert harness(package) == before

    def test_what_is_no_source_is_no_matter(self, package):
        before = harness(package)
        (package / "__pycache__").mkdir()
        (package / "__pycache__" / "training.pyc").write_bytes(b"x")
        assert harness(package) == before

    def test_it_is_the_same_wherever_it_is_installed(self, package, tmp_path):
        shutil.copytree(package, tmp_path / "there" / "bench")
        assert harness(tmp_path / "there" / "bench") == harness(package)

    def test_without_a_folder_it_is_that_of_epochbench_itself(self, tmp_path):
        assert harness() == harness() != harness(tmp_path)
        (folder,) = bench.__path__
        shutil.copytree(
            folder, tmp_path / "bench", ignore=shutil.ignore_patterns("cli", "report", "__pycache__")
        )
        assert harness(tmp_path / "bench") == harness()
