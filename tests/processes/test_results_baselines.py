"""Baselines: what is kept of a run, small enough for git, and fit to be seen by anybody."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from fakes import counts, environment, failure, measurement

from bench.errors import ResultsError
from bench.measurement import COUNTED
from bench.results import baselines
from bench.results.folder import RunFolder
from bench.results.journal import Journal

RUN = "20260101T000000-abc-workbench"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here):
    """A run of some launches and a launch for counts; it can be given another number of them."""

    def make(launches=6, name=RUN):
        folder = RunFolder(Path("results") / name)
        folder.path.mkdir(parents=True)
        journal = Journal(folder.journal)
        for round in range(1, launches + 1):
            journal.append(measurement(round=round))
        journal.append(measurement(kind=COUNTED, counts=counts()) if launches else failure())
        journal.close()
        folder.write_json("environment.json", environment().to_json())
        return folder

    return make


def kept(name="main"):
    return sorted(path.name for path in (baselines.BASELINES / name).iterdir())


def refused(name="main", run="latest"):
    with pytest.raises(ResultsError) as caught:
        baselines.save(name, run)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestWhatIsKept:
    def test_the_summary_the_counts_and_the_machine_and_nothing_else(self, run):
        run()
        assert baselines.save("main", "latest") == Path("results/baselines/main")
        assert kept() == ["counts.csv", "environment.json", "summary.csv"]

    def test_nothing_tells_whose_machine_it_was_nor_where_on_it(self, run, here):
        folder = run()
        baselines.save("main", str(folder.path.resolve()))
        for path in (baselines.BASELINES / "main").iterdir():
            text = path.read_text()
            assert "workbench" not in text
            assert str(here) not in text
        assert json.loads((baselines.BASELINES / "main" / "environment.json").read_text())["host"] == ""

    def test_a_run_without_an_environment_is_kept_without_one(self, run):
        (run().path / "environment.json").unlink()
        baselines.save("main", "latest")
        assert kept() == ["counts.csv", "summary.csv"]
        assert baselines.find_baseline("main").environment() is None


class TestSaving:
    def test_one_of_the_same_name_is_replaced_with_all_that_was_in_it(self, run):
        first = run()
        place = baselines.save("main", first.path.name)
        (place / "notes.txt").write_text("mine")
        run(launches=8, name="20260102T000000-abc-workbench")
        baselines.save("main", "latest")
        assert kept() == ["counts.csv", "environment.json", "summary.csv"]
        assert ",8," in (place / "summary.csv").read_text()
        assert [path.name for path in baselines.BASELINES.iterdir()] == ["main"]

    @pytest.mark.parametrize("left", [".main.new", ".main.old"])
    def test_what_a_save_left_that_was_cut_off_is_no_baseline_and_in_no_way(self, run, left):
        run()
        half = baselines.BASELINES / left
        half.mkdir(parents=True)
        (half / "summary.csv").write_text("half")
        assert baselines.names() == []
        baselines.save("main", "latest")
        assert [path.name for path in baselines.BASELINES.iterdir()] == ["main"]

    def test_until_the_new_one_is_whole_the_old_one_stands(self, run, monkeypatch):
        run()
        place = baselines.save("main", "latest")
        before = (place / "summary.csv").read_bytes()

        def full(*_, **__):
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr("pandas.DataFrame.to_csv", full)
        assert (
            refused() == "results/baselines/main cannot be written: No space left on device; "
            "free some space, or fix its permissions"
        )
        assert (place / "summary.csv").read_bytes() == before
        assert [path.name for path in baselines.BASELINES.iterdir()] == ["main"]

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".hidden", "a/b", "../up", "a b", "-flag", "ä", "a\n", "a\0"]
    )
    def test_what_is_no_name_is_refused_before_anything_is_written(self, run, name):
        run()
        assert "cannot be the name of a baseline; use letters" in refused(name)
        assert not baselines.BASELINES.exists()

    @pytest.mark.parametrize("name", ["main", "v1.2_3-rc", "7"])
    def test_names_are_made_of_letters_digits_and_a_few_signs(self, run, name):
        run()
        baselines.save(name, "latest")
        assert baselines.names() == [name]

    def test_without_a_run_it_says_how_to_make_one(self, here):
        assert refused() == "there is no run 'latest'; results holds no run; make one with: bench run"

    def test_a_run_that_measured_nothing_is_not_kept(self, run):
        run(launches=0)
        assert refused() == "latest has measured nothing; save a run that has"
        assert not baselines.BASELINES.exists()

    def test_a_file_in_the_place_of_the_baselines_is_named(self, run):
        run()
        baselines.BASELINES.touch()
        assert refused().startswith("results/baselines/main cannot be written: ")

    def test_a_place_that_nobody_may_write_to_is_named(self, run):
        run()
        baselines.BASELINES.mkdir()
        try:
            command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(baselines.BASELINES)]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a file system is not allowed here")
        try:
            assert refused().startswith("results/baselines/main cannot be written: Read-only file system")
        finally:
            subprocess.run(["umount", "-l", str(baselines.BASELINES)], check=True)


class TestFinding:
    def test_they_are_listed_by_name(self, run):
        run()
        for name in ("b", "a"):
            baselines.save(name, "latest")
        (baselines.BASELINES / "no-baseline").mkdir()
        (baselines.BASELINES / "a-file").touch()
        assert baselines.names() == ["a", "b"]

    def test_where_there_are_none_there_are_none(self, here):
        assert baselines.names() == []
        assert baselines.find_baseline("main") is None

    def test_a_run_is_none_though_it_has_a_summary(self, run):
        folder = run()
        (folder.path / "summary.csv").touch()
        assert baselines.find_baseline(str(folder.path)) is None

    def test_by_the_path_of_its_folder_wherever_that_is(self, run, tmp_path):
        run()
        place = baselines.save("main", "latest", tmp_path / "kept")
        assert baselines.find_baseline(str(place)).path == place
        assert baselines.find_baseline("main", tmp_path / "kept").path == place
        assert baselines.find_baseline("main") is None


class TestNamesThatMeanARun:
    def test_the_latest_is_none_of_a_baseline(self, run):
        run()
        said = "'latest' already means the last run; give the baseline another name, such as main"
        assert refused("latest") == said
        assert "cannot be the name of a baseline" in refused("latest~1")

    @pytest.mark.parametrize("name", [RUN, RUN[:8]])
    def test_nor_what_a_run_is_called_or_begins_with(self, run, name):
        run()
        assert refused(name).startswith(
            f"'{name}' already means the run {RUN}; give the baseline another name"
        )
        assert baselines.names() == []
