"""Git as it is called: without hooks, without what a hook was told, and with the remedy where it refuses."""

from __future__ import annotations

import os
import subprocess

import pytest

from bench.errors import UsageError
from bench.system import git as ours
from bench.system.git import Untrusted, distrust, git, run_git

IDENTITY = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "A tester"), ("EMAIL", "tester@example.org"))
}


@pytest.fixture(autouse=True)
def own_git(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    for name, text in {**IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, text)


def theirs(place, *arguments):
    return subprocess.run(["git", *arguments], cwd=place, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=["home", "a space", "ünïcode ", "two\nlines", "-b"])
def home(request, tmp_path):
    """A repository with a commit, in a folder of any name."""
    home = tmp_path / request.param
    home.mkdir()
    theirs(home, "init", "-q", "-b", "main")
    (home / "file").write_text("one")
    theirs(home, "add", "file")
    theirs(home, "commit", "-qm", "first")
    return home


def test_the_top_of_a_repository_is_found_whatever_it_is_called(home):
    assert git(home, "rev-parse", "--show-toplevel") == str(home)


def test_a_name_that_is_no_utf_8_is_kept(tmp_path):
    home = os.fsencode(tmp_path) + b"/latin-\xe9"
    os.mkdir(home)
    subprocess.run(["git", "init", "-q"], cwd=home, check=True)
    assert git(os.fsdecode(home), "rev-parse", "--show-toplevel") == os.fsdecode(home)


def test_what_a_hook_is_told_of_its_repository_is_not_believed(home, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    theirs(other, "init", "-q")
    for name in ("GIT_DIR", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert git(home, "rev-parse", "--show-toplevel") == str(home)
    assert git(home, "status", "--porcelain") == ""
    assert not {"GIT_DIR", "GIT_INDEX_FILE"} & ours.environment().keys()


def test_a_hook_of_the_user_does_not_run(home, tmp_path):
    for place in (home / ".git" / "hooks", home / "own"):
        place.mkdir(exist_ok=True)
        (place / "post-checkout").write_text("#!/bin/sh\nexit 1\n")
        (place / "post-checkout").chmod(0o755)
    assert run_git(home, "worktree", "add", "--detach", str(tmp_path / "one"), "HEAD").returncode == 0
    theirs(home, "config", "core.hooksPath", str(home / "own"))
    assert run_git(home, "worktree", "add", "--detach", str(tmp_path / "two"), "HEAD").returncode == 0


def test_to_ask_for_the_state_writes_no_index(home):
    index = home / ".git" / "index"
    os.utime(home / "file", (1, 1))  # git would note that it has looked
    before = index.read_bytes()
    assert git(home, "status", "--porcelain") == ""
    assert index.read_bytes() == before


class TestDubiousOwnership:
    @pytest.fixture
    def foreign(self, home, monkeypatch):
        """Git's own switch for its tests: it takes every repository for another user's."""
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        return home

    def test_the_remedy_is_the_one_that_git_names(self, foreign):
        with pytest.raises(Untrusted) as refused:
            git(foreign, "rev-parse", "HEAD")
        assert "belongs to another user; if you trust it: git config --global --add safe.directory" in str(
            refused.value
        )
        assert distrust(foreign) == str(refused.value)

    def test_one_that_is_trusted_is_read(self, foreign, monkeypatch):
        for name, text in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "*")):
            monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
        assert distrust(foreign) == ""


def test_without_a_repository_or_without_git_nobody_is_distrusted(tmp_path, monkeypatch):
    assert distrust(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert distrust(tmp_path) == ""
    with pytest.raises(UsageError, match="git cannot be run: No such file or directory; install it"):
        git(tmp_path, "status")


def test_a_bare_repository_has_no_files_to_measure(tmp_path):
    theirs(tmp_path, "init", "-q", "--bare")
    with pytest.raises(UsageError, match=r"is in a repository without files .*git worktree add"):
        git(tmp_path, "rev-parse", "--show-toplevel")


def test_what_takes_too_long_is_said(home, monkeypatch, tmp_path):
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match=r"git status gave no answer within 0.1 s"):
        git(home, "status", timeout=0.1)
