"""Run folders: made where it is safe, named so that they sort by time, found by what a user types."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import environment, fill

from bench.errors import ResultsError
from bench.results.folder import RunFolder, create, find, git_commit, run_name, runs, shown

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = ["20260101T000000-aaa-host", "20260101T000001-aab-host", "20260201T000000-aaa-host"]


@pytest.fixture
def root(tmp_path):
    """A results folder of three runs, beside what is none."""
    root = tmp_path / "results"
    for name in reversed(NAMES):
        (root / name).mkdir(parents=True)
        (root / name / "journal.jsonl").touch()
    (root / "20260301T000000-not-a-run").mkdir()
    (root / "20260401T000000-a-file").touch()
    (root / "baselines" / "20260501T000000-deeper").mkdir(parents=True)
    (root / "baselines" / "20260501T000000-deeper" / "journal.jsonl").touch()
    return root


@pytest.fixture
def mounted(tmp_path):
    """Makes a place that not even root can write to, by the options of a file system of its own."""
    place = tmp_path / "mounted"

    def mount(options: str) -> Path:
        place.mkdir()
        try:
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            place.rmdir()
            pytest.skip("mounting a file system is not allowed here")
        return place

    yield mount
    if place.exists():
        subprocess.run(["umount", "-l", place], check=True)


class TestCreate:
    def test_a_new_run_lies_below_the_root_and_is_named_by_time_commit_and_host(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        made = create(NOW, root=tmp_path / "results")
        assert made.path == tmp_path / "results" / run_name(NOW, "", socket.gethostname())

    def test_results_are_kept_in_the_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert create(NOW).path.resolve().parent == tmp_path / "results"

    @pytest.mark.parametrize("place", ["new", "new/and/deep", "empty"])
    def test_a_folder_that_is_named_is_taken_where_it_is_new_or_empty(self, tmp_path, place):
        (tmp_path / "empty").mkdir()
        made = create(NOW, tmp_path / place)
        assert made.path == tmp_path / place
        assert [path.name for path in made.path.iterdir()] == ["logs"], "nothing but what the run needs"

    @pytest.mark.parametrize("place", ["full", "full/file"])
    def test_what_is_there_is_never_written_over(self, tmp_path, place):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").write_text("kept")
        with pytest.raises(
            ResultsError, match=f"{place} exists and is not an empty folder; name another with --out"
        ):
            create(NOW, tmp_path / place)
        assert (tmp_path / "full" / "file").read_text() == "kept"
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]

    def test_two_runs_of_one_second_do_not_share_a_folder(self, tmp_path):
        create(NOW, root=tmp_path)
        with pytest.raises(ResultsError, match="exists and is not an empty folder"):
            create(NOW, root=tmp_path)

    @pytest.mark.parametrize("place", ["/dev/null/x", "/proc/nowhere/x", "/" + "x" * 300])
    def test_a_place_that_cannot_be_is_named_with_the_reason_and_the_remedy(self, place):
        with pytest.raises(
            ResultsError, match=rf"^{place} cannot be written: [A-Z][\w ]+; name another folder with --out$"
        ):
            create(NOW, Path(place))

    def test_a_link_to_nowhere_is_in_the_way(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(ResultsError, match="link cannot be written"):
            create(NOW, tmp_path / "link")

    @pytest.mark.parametrize("place", ["", "run"])
    def test_a_read_only_place_is_found_before_anything_is_measured(self, mounted, place):
        with pytest.raises(
            ResultsError, match="cannot be written: Read-only file system; name another folder"
        ):
            create(NOW, mounted("ro") / place)

    def test_a_disk_that_takes_folders_but_no_file_is_found_too(self, mounted):
        disk = mounted("nr_inodes=3")
        with pytest.raises(
            ResultsError, match="cannot be written: No space left on device; name another folder"
        ):
            create(NOW, disk / "run")


class TestRunName:
    def test_it_says_when_of_what_and_where(self):
        assert run_name(NOW, "abc1234+", "bench-01.example.org") == (
            "20260102T030405-abc1234+-bench_01.example.org"
        )

    def test_without_git_it_says_so(self):
        assert run_name(NOW, "", "host") == "20260102T030405-nogit-host"

    def test_names_sort_by_time_whatever_the_commit_and_the_host(self):
        times = [
            datetime(2026, 1, 2, 3, 4, 5),
            datetime(2026, 1, 2, 3, 4, 6),
            datetime(2026, 1, 2, 12, 0, 0),
            datetime(2026, 10, 1, 0, 0, 0),
            datetime(2027, 1, 1, 0, 0, 0),
        ]
        names = [run_name(time, commit, "h") for time, commit in zip(times, "zyxwv", strict=True)]
        assert sorted(names) == names

    @pytest.mark.parametrize("host", ["a/b", "a b", "näme", "../x", "a\nb"])
    def test_no_host_can_lead_out_of_the_results_folder(self, host):
        name = run_name(NOW, "abc", host)
        assert re.fullmatch(r"[A-Za-z0-9.+_-]+", name)
        assert Path("results", name).resolve().parent == Path("results").resolve()


class TestFind:
    def test_by_the_path_of_the_folder_wherever_it_lies(self, root, tmp_path):
        path = root / "baselines" / "20260501T000000-deeper"
        assert find(str(path), root) == RunFolder(path)
        assert find(str(path) + "/", tmp_path / "no-such-root") == RunFolder(path)

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            (NAMES[1], NAMES[1]),
            ("20260101T000000", NAMES[0]),
            ("202602", NAMES[2]),
            ("20260101T000001-a", NAMES[1]),
            ("latest", NAMES[2]),
            ("latest~0", NAMES[2]),
            ("latest~1", NAMES[1]),
            ("latest~2", NAMES[0]),
        ],
    )
    def test_by_name_by_unique_prefix_and_by_age(self, root, text, name):
        assert find(text, root) == RunFolder(root / name)

    def test_in_the_results_folder_of_the_working_directory(self, root, monkeypatch):
        monkeypatch.chdir(root.parent)
        assert find("latest").path == Path("results", NAMES[2])
        assert find(f"results/{NAMES[0]}").path == Path("results", NAMES[0])

    def test_an_ambiguous_prefix_lists_what_it_could_be(self, root):
        with pytest.raises(ResultsError) as caught:
            find("20260101", root)
        assert str(caught.value) == (
            f"'20260101' begins the names of 2 runs: {NAMES[0]}, {NAMES[1]}; give more of it"
        )

    @pytest.mark.parametrize(
        "text",
        [
            *("nosuch", "2026 ", "20260301", "20260401", "LATEST", "*"),
            *("latest~3", "latest~99999", "latest~", "latest~-1", "latest~x"),
            *("x" * 300, "x/" * 3000),
        ],
        ids=lambda text: text[:12],
    )
    def test_what_is_not_there_is_named_beside_what_is(self, root, text):
        with pytest.raises(ResultsError) as caught:
            find(text, root)
        assert str(caught.value) == f"there is no run {text!r}; {root} holds 3, the latest is {NAMES[2]}"

    @pytest.mark.parametrize("text", ["latest", "latest~1", "nosuch"])
    @pytest.mark.parametrize("made", [True, False])
    def test_without_any_run_it_says_how_to_make_one(self, tmp_path, text, made):
        root = tmp_path / "results"
        if made:
            root.mkdir()
        with pytest.raises(
            ResultsError, match=f"no run {text!r}; {root} holds no run; make one with: bench run"
        ):
            find(text, root)

    def test_a_folder_that_is_no_run_is_told_apart_from_a_name_that_is_none(self, root):
        with pytest.raises(ResultsError, match=r"is not the folder of a run: it holds no journal\.jsonl"):
            find(str(root / "20260301T000000-not-a-run"), root)

    def test_runs_are_listed_oldest_first_and_nothing_else_is(self, root, tmp_path):
        assert runs(root) == NAMES
        assert runs(tmp_path / "nowhere") == []


class TestGitCommit:
    @pytest.fixture
    def tree(self, tmp_path, monkeypatch):
        """A repository with one commit, as the working directory; `git` gives it commands."""
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_SYSTEM": "/dev/null",
            **{f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    @staticmethod
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    @pytest.fixture
    def commit(self, tree):
        self.git("init", "--quiet")
        (tree / "file").write_text("one")
        self.git("add", "file")
        self.git("commit", "--quiet", "--message", "first")
        return self.git("rev-parse", "--short", "HEAD")

    def test_a_clean_tree_is_named_by_its_commit(self, commit):
        assert git_commit() == commit

    def test_files_that_git_does_not_know_do_not_count_as_changes(self, tree, commit):
        (tree / "results").mkdir()
        (tree / "results" / "journal.jsonl").touch()
        assert git_commit() == commit

    @pytest.mark.parametrize("staged", [False, True])
    def test_changes_are_marked(self, tree, commit, staged):
        (tree / "file").write_text("two")
        if staged:
            self.git("add", "file")
        assert git_commit() == f"{commit}+"

    def test_a_folder_of_the_tree_tells_of_the_whole_tree(self, tree, commit, monkeypatch):
        (tree / "below").mkdir()
        (tree / "file").write_text("two")
        monkeypatch.chdir(tree / "below")
        assert git_commit() == f"{commit}+"

    def test_a_repository_without_a_commit_has_none(self, tree):
        self.git("init", "--quiet")
        assert git_commit() == ""

    def test_outside_of_git_there_is_none(self, tree):
        assert git_commit() == ""

    def test_without_the_program_there_is_none(self, tree, commit, monkeypatch):
        monkeypatch.setenv("PATH", str(tree / "nothing"))
        assert git_commit() == ""


DAMAGE = {
    "cut off": b'{"host": "a',
    "empty": b"",
    "binary": b"\x00\xff\xfe\x80",
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"NaN",
    "deep": b"[" * 100_000,
}


class TestJsonFiles:
    def test_what_is_written_is_read(self, tmp_path):
        folder = RunFolder(tmp_path)
        data = {"name": "nämé", "cases": [{"suite": "s", "axes": {"width": None}}], "rate": 0.1}
        folder.write_json("plan.json", data)
        assert folder.read_json("plan.json") == data

    def test_what_is_written_anew_replaces_it_and_leaves_nothing_else(self, tmp_path):
        folder = RunFolder(tmp_path)
        folder.write_json("plan.json", {"name": "before" * 1000})
        folder.write_json("plan.json", {"name": "after"})
        assert folder.read_json("plan.json") == {"name": "after"}
        assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]

    def test_it_is_on_the_disk_before_it_has_its_name(self, tmp_path, monkeypatch):
        folder, seen = RunFolder(tmp_path), []
        folder.write_json("plan.json", {"name": "before"})

        def sync(descriptor):
            seen.append((os.fstat(descriptor).st_size > 0, folder.read_json("plan.json")))

        monkeypatch.setattr(os, "fsync", sync)
        folder.write_json("plan.json", {"name": "after"})
        assert seen == [(True, {"name": "before"})]

    @pytest.mark.parametrize("there", [False, True])
    def test_on_a_full_disk_it_is_whole_or_not_at_all(self, disk, there):
        folder = RunFolder(disk)
        if there:
            folder.write_json("plan.json", {"name": "before"})
        fill(disk, room=4096)
        with pytest.raises(ResultsError) as caught:
            folder.write_json("plan.json", {"name": "after" * 10_000})
        assert str(caught.value) == (
            f"{disk}/plan.json cannot be written: No space left on device; free some space, or name "
            "another folder with --out"
        )
        assert folder.read_json("plan.json") == ({"name": "before"} if there else {})
        assert not list(disk.glob(".*")), "no half of a file is left"

    def test_a_place_that_takes_no_file_is_named(self, mounted):
        with pytest.raises(ResultsError, match=r"plan\.json cannot be written: Read-only file system; "):
            RunFolder(mounted("ro")).write_json("plan.json", {})
        with pytest.raises(ResultsError, match=r"^/dev/null/plan\.json cannot be written: Not a directory; "):
            RunFolder(Path("/dev/null")).write_json("plan.json", {})

    def test_what_is_missing_is_empty(self, tmp_path):
        assert RunFolder(tmp_path).read_json("plan.json") == {}
        assert RunFolder(tmp_path).environment() is None

    @pytest.mark.parametrize("what", DAMAGE)
    def test_a_damaged_file_is_named(self, tmp_path, what):
        (tmp_path / "plan.json").write_bytes(DAMAGE[what])
        with pytest.raises(ResultsError, match=rf"^{tmp_path}/plan\.json cannot be read: "):
            RunFolder(tmp_path).read_json("plan.json")

    def test_a_file_that_is_a_folder_is_named(self, tmp_path):
        (tmp_path / "plan.json").mkdir()
        with pytest.raises(ResultsError, match=r"plan\.json cannot be read: .*directory"):
            RunFolder(tmp_path).read_json("plan.json")

    def test_the_environment_comes_back_equal(self, tmp_path):
        RunFolder(tmp_path).write_json("environment.json", environment().to_json())
        assert RunFolder(tmp_path).environment() == environment()

    @pytest.mark.parametrize(
        "change",
        [
            {"threads": ...},
            {"devices": None},
            {"devices": ["abc"]},
            {"devices": [{"name": "x"}]},
            {"cpus": 3},
            {"of_another_version": 1},
        ],
        ids=str,
    )
    def test_an_environment_that_is_none_is_named(self, tmp_path, change):
        data = {**environment().to_json(), **change}
        data = {name: value for name, value in data.items() if value is not ...}
        (tmp_path / "environment.json").write_text(json.dumps(data))
        with pytest.raises(ResultsError, match=r"environment\.json is damaged: "):
            RunFolder(tmp_path).environment()


def test_files_of_a_run_lie_in_its_folder(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.journal == tmp_path / "journal.jsonl"
    assert folder.logs == tmp_path / "logs"
    assert folder.plots == tmp_path / "plots"
    assert folder.table("summary.csv") == tmp_path / "summary.csv"


def test_a_path_is_shown_as_it_would_be_typed_here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown(tmp_path / "here" / "results" / "run") == "results/run"
    assert shown(Path("results/run")) == "results/run"
    assert shown(tmp_path / "elsewhere") == str(tmp_path / "elsewhere")
