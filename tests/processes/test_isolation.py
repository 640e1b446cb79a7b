"""The folders of a script as one launch has them, seen by a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.worker.script import isolation
from bench.worker.script.isolation import clear, folders_of, isolate

ROOT = Path(__file__).parents[2]

# Isolates its folder, does what the last argument says, and tells what it sees then.
LAUNCH = """
import json, os, shutil, subprocess, sys
from bench.worker.script import isolation
folders, shared, scratch, before, behaviour = json.loads(sys.argv[1])
os.chdir(folders[0])
exec(before)
try:
    written = isolation.isolate(folders, shared, scratch)
except OSError as problem:
    print(json.dumps({"refused": str(problem)}))
    sys.exit()
exec(behaviour)
print(json.dumps({"written": written, "here": os.getcwd(), "there": sorted(os.listdir("."))}))
"""


def launch(folders, scratch, behaviour="", shared=(), before=""):
    arguments = json.dumps(
        [[str(one) for one in folders], [str(one) for one in shared], str(scratch), before, behaviour]
    )
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    if "refused" in seen:
        pytest.skip(f"this system does not allow it: {seen['refused']}")
    return seen


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with a checkpoint in it."""
    made = tmp_path / "a folder, with:signs"
    (made / "data").mkdir(parents=True)
    (made / "checkpoint.pt").write_text("days of training")
    (made / "data" / "images").write_text("many")
    return made


class TestIsolate:
    @pytest.mark.parametrize(
        ("behaviour", "there"),
        [
            ("open('checkpoint.pt', 'w').write('three steps')", ["checkpoint.pt", "data"]),
            ("os.remove('checkpoint.pt')", ["data"]),
            ("os.replace('checkpoint.pt', 'old.pt')", ["data", "old.pt"]),
            ("shutil.rmtree('data')", ["checkpoint.pt"]),
            (
                "subprocess.run('echo x > checkpoint.pt; touch new', shell=True)",
                ["checkpoint.pt", "data", "new"],
            ),
            ("open(os.path.abspath('data/more'), 'w').close()", ["checkpoint.pt", "data"]),
        ],
    )
    def test_whatever_writes_there_nothing_of_the_users_changes(self, folder, tmp_path, behaviour, there):
        seen = launch([folder], tmp_path / "scratch", behaviour)
        assert seen["there"] == there
        assert seen["here"] == str(folder)
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
            "checkpoint.pt",
            "data",
            "data/images",
        ]
        assert (folder / "checkpoint.pt").read_text() == "days of training"

    def test_what_was_written_is_in_the_scratch_folder_which_can_be_removed(self, folder, tmp_path):
        (written,) = launch([folder], tmp_path / "scratch", "open('data/new.pt', 'w').close()")["written"]
        assert [str(path.relative_to(written)) for path in Path(written).rglob("*")] == [
            "data",
            "data/new.pt",
        ]
        clear(str(tmp_path / "scratch"))
        shutil.rmtree(tmp_path / "scratch")

    def test_the_users_files_are_at_no_other_path_where_they_would_be_cleared_away(self, folder, tmp_path):
        scratch = tmp_path / "scratch"
        launch([folder], scratch, f"shutil.rmtree({str(scratch)!r}, ignore_errors=True)")
        assert (folder / "data" / "images").read_text() == "many"

    def test_what_is_shared_stays(self, folder, tmp_path):
        launch([folder], tmp_path / "scratch", "open('data/log', 'w').write('x')", shared=[folder / "data"])
        assert (folder / "data" / "log").read_text() == "x"

    def test_another_disk_that_is_mounted_there_is_still_there(self, folder, tmp_path):
        mount = "\n".join(
            [
                "isolation._enter_namespaces()",
                "isolation._mount('none', '/', '', isolation._RECURSIVE | isolation._PRIVATE)",
                f"isolation._mount('tmpfs', {str(folder / 'data')!r}, 'tmpfs', 0)",
                "open('data/images', 'w').write('others')",
            ]
        )
        look = "os.chdir('data'); assert open('images').read() == 'others'"
        assert launch([folder], tmp_path / "scratch", look, before=mount)["there"] == ["images"]

    def test_two_folders_are_two_overlays(self, folder, tmp_path):
        other = tmp_path / "scripts"
        other.mkdir()
        seen = launch([folder, other], tmp_path / "scratch", f"open({str(other / 'x')!r}, 'w').close()")
        assert [os.listdir(written) for written in seen["written"]] == [[], ["x"]]
        assert list(other.iterdir()) == []

    def test_a_folder_that_temporary_files_lie_in_cannot_be(self, tmp_path):
        with pytest.raises(OSError, match="set TMPDIR to another place"):
            isolate([str(tmp_path)], [], str(tmp_path / "scratch"))

    def test_nor_can_any_where_there_are_no_overlays(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(OSError, match="darwin has no overlays"):
            isolate([str(tmp_path)], [], "/scratch")


class TestFolders:
    def test_they_are_where_it_runs_and_where_its_file_lies(self, tmp_path):
        (tmp_path / "here").mkdir()
        (tmp_path / "there").mkdir()
        found = folders_of(str(tmp_path / "here"), str(tmp_path / "there" / "train.py"))
        assert found == [str(tmp_path / "here"), str(tmp_path / "there")]
        assert folders_of(str(tmp_path), str(tmp_path / "there" / "train.py")) == [str(tmp_path)]

    def test_of_a_repository_it_is_all(self, tmp_path):
        (tmp_path / "repo" / "src").mkdir(parents=True)
        (tmp_path / "repo" / ".git").write_text("gitdir: elsewhere")  # as in a worktree
        assert folders_of(str(tmp_path / "repo" / "src"), str(tmp_path / "repo" / "t.py")) == [
            str(tmp_path / "repo")
        ]

    def test_a_home_that_is_one_is_not_taken_for_it(self, tmp_path, monkeypatch):
        (tmp_path / "work").mkdir()
        (tmp_path / ".git").mkdir()
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        assert folders_of(str(tmp_path / "work"), str(tmp_path / "work" / "t.py")) == [str(tmp_path / "work")]


def test_caches_are_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(tmp_path) in isolation.caches()
