"""The code of each side in real repositories: checked out, taken away again, and the user's own never touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.ab.trees import Repository, Tree, build, without_git
from bench.errors import UsageError
from bench.measurement.messages import CodeTree

IDENTITY = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "A tester"), ("EMAIL", "tester@example.org"))
}


@pytest.fixture(autouse=True)
def own_git(monkeypatch, tmp_path):
    """Git as nobody has configured it, and temporary files where they can be counted."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    for name, text in {**IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def git(place, *arguments):
    done = subprocess.run(["git", *arguments], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(place, text, file="code.py"):
    """Another commit, of a file with this text; its name."""
    (place / file).parent.mkdir(parents=True, exist_ok=True)
    (place / file).write_text(text)
    git(place, "add", "-A")
    git(place, "commit", "-qm", text)
    return git(place, "rev-parse", "HEAD")


@pytest.fixture
def home(tmp_path):
    """A repository with two commits on main."""
    home = tmp_path / "home"
    home.mkdir()
    git(home, "init", "-q", "-b", "main")
    commit(home, "first")
    commit(home, "second", "sub/more.py")
    return home.resolve()


def state(home):
    """Every byte of the user's tree, and what git says of it."""
    files = {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }
    asked = ("status --porcelain", "for-each-ref", "symbolic-ref -q HEAD", "stash list", "worktree list")
    return files, [git(home, *words.split()) for words in asked]


def left(tmp_path):
    return list((tmp_path / "temporary").iterdir())


class TestTheUsersTree:
    def test_it_is_named_by_its_commit(self, home):
        own = Repository(home).own()
        assert own == Tree(home, home, ".", git(home, "rev-parse", "HEAD")[:9])

    def test_uncommitted_work_is_marked_and_what_git_does_not_know_is_none(self, home):
        (home / "notes.txt").write_text("mine")
        assert not Repository(home).own().commit.endswith("+")
        (home / "code.py").write_text("changed")
        assert Repository(home).own().commit.endswith("+")

    def test_without_a_commit_it_has_no_name(self, tmp_path):
        git(tmp_path, "init", "-q")
        assert Repository(tmp_path).own().commit == ""

    def test_a_folder_below_it_is_the_place(self, home):
        own = Repository(home / "sub").own()
        assert (own.root, own.place) == (home, "sub")

    def test_it_is_found_through_a_link(self, home, tmp_path):
        (tmp_path / "link").symlink_to(home)
        assert Repository(tmp_path / "link" / "sub").own().root == home

    def test_outside_a_repository_there_is_none(self, tmp_path):
        with pytest.raises(UsageError, match=r"git rev-parse: .*not a git repository"):
            Repository(tmp_path)

    def test_without_git_it_is_the_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert without_git() == Tree(tmp_path.resolve(), tmp_path.resolve())

    def test_where_git_is_not_installed_that_is_said(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match="git cannot be run: No such file or directory; install it"):
            Repository(home)


class TestFiles:
    def test_those_of_the_users_tree_are_looked_for_in_the_other(self, tmp_path):
        tree = Tree(tmp_path / "home", tmp_path / "other")
        assert tree.path(str(tmp_path / "home/suites/a.py")) == str(tmp_path / "other/suites/a.py")

    def test_those_that_lie_elsewhere_are_the_same(self, tmp_path):
        tree = Tree(tmp_path / "home", tmp_path / "other")
        assert tree.path(str(tmp_path / "suites/a.py")) == str(tmp_path / "suites/a.py")

    def test_a_link_is_followed(self, home, tmp_path):
        (tmp_path / "a.py").symlink_to(home / "code.py")
        assert Tree(home, tmp_path / "other").path(str(tmp_path / "a.py")) == str(tmp_path / "other/code.py")

    def test_code_of_the_users_tree_and_of_the_other_side_must_not_come_in(self):
        home, first, second = (
            Tree(Path("/home"), Path(root), "sub") for root in ("/home", "/first", "/second")
        )
        assert first.code(second) == CodeTree(
            Path("/first"), Path("/home"), Path("sub"), (Path("/home"), Path("/second"))
        )
        assert home.code(first).others == (Path("/first"),)
        assert first.code(home).others == (Path("/home"),)
        assert home.code(home).others == ()


class TestNames:
    def test_of_commits_branches_and_tags_are_known(self, home):
        first, second = git(home, "rev-list", "--reverse", "HEAD").splitlines()
        git(home, "tag", "-a", "v1", "-m", "annotated", first)
        found = [
            Repository(home).commit(name) for name in ("main", "HEAD", second[:7], "HEAD~1", "v1", "v1^{}")
        ]
        assert found == [second, second, second, first, first, first]

    @pytest.mark.parametrize("name", ["nothing", "HEAD~9", "v1^", "-h", "--all", "HEAD:code.py", "a b"])
    def test_that_git_does_not_know_are_said(self, home, name):
        with pytest.raises(UsageError) as refused:
            Repository(home).commit(name)
        assert str(refused.value) == f"ref={name}: git knows no such commit, branch or tag"

    def test_in_a_shallow_clone_the_remedy_is_to_fetch(self, home, tmp_path):
        old = git(home, "rev-parse", "HEAD~1")
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{home}", "shallow")
        with pytest.raises(UsageError, match="this clone is shallow, fetch all of it: git fetch --unshallow"):
            Repository(tmp_path / "shallow").commit(old)


class TestWhereWorkLeft:
    def test_on_a_branch_it_is_where_that_left_main(self, home):
        left = git(home, "rev-parse", "HEAD")
        git(home, "checkout", "-qb", "work")
        commit(home, "one")
        commit(home, "two")
        git(home, "checkout", "-q", "main")
        commit(home, "meanwhile")
        git(home, "checkout", "-q", "work")
        assert Repository(home).merge_base() == left

    def test_on_main_it_is_the_commit_before(self, home):
        assert Repository(home).merge_base() == git(home, "rev-parse", "HEAD~1")

    def test_on_main_with_uncommitted_work_it_is_the_last_commit(self, home):
        (home / "code.py").write_text("changed")
        assert Repository(home).merge_base() == git(home, "rev-parse", "HEAD")

    def test_what_git_does_not_know_is_no_work(self, home):
        (home / "notes.txt").write_text("mine")
        assert Repository(home).merge_base() == git(home, "rev-parse", "HEAD~1")

    def test_a_branch_without_a_commit_of_its_own_is_as_main(self, home):
        git(home, "checkout", "-qb", "work")
        assert Repository(home).merge_base() == git(home, "rev-parse", "HEAD~1")

    def test_the_branch_of_the_server_goes_before_the_own(self, home, tmp_path):
        git(tmp_path, "clone", "-q", str(home), "clone")
        clone = tmp_path / "clone"
        theirs = git(clone, "rev-parse", "HEAD")
        commit(clone, "not pushed yet")
        assert Repository(clone).merge_base() == theirs

    def test_the_branch_of_a_pull_request_goes_before_all(self, home, monkeypatch):
        git(home, "branch", "release", "HEAD~1")
        monkeypatch.setenv("GITHUB_BASE_REF", "release")
        commit(home, "more")
        assert Repository(home).merge_base() == git(home, "rev-parse", "release")

    def test_one_that_is_called_master_is_main(self, home):
        git(home, "branch", "-m", "master")
        git(home, "checkout", "-qb", "work")
        commit(home, "more")
        assert Repository(home).merge_base() == git(home, "rev-parse", "master")

    def test_without_a_commit_there_is_none(self, tmp_path):
        git(tmp_path, "init", "-q")
        with pytest.raises(UsageError, match=r"the repository .* has no commit yet; make one: git commit"):
            Repository(tmp_path).merge_base()

    def test_without_a_main_branch_a_side_is_to_be_named(self, home):
        git(home, "branch", "-m", "trunk")
        with pytest.raises(UsageError, match=r"there is no main branch \(origin/HEAD, .*\); name a side"):
            Repository(home).merge_base()

    def test_the_first_commit_has_none_before_it(self, tmp_path):
        git(tmp_path, "init", "-q", "-b", "main")
        commit(tmp_path, "first")
        with pytest.raises(UsageError, match="HEAD has no commit before it; name a side"):
            Repository(tmp_path).merge_base()

    def test_nor_is_there_a_main_branch_in_a_checkout_of_one_commit(self, home, tmp_path):
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{home}", "shallow")
        git(tmp_path / "shallow", "checkout", "-q", "--detach")
        git(tmp_path / "shallow", "branch", "-D", "main")
        git(tmp_path / "shallow", "remote", "remove", "origin")
        with pytest.raises(
            UsageError, match=r"there is no main branch .*; this clone is shallow, fetch all of it"
        ):
            Repository(tmp_path / "shallow").merge_base()

    def test_nor_has_that_of_a_shallow_clone(self, home, tmp_path):
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{home}", "shallow")
        with pytest.raises(
            UsageError,
            match=r"HEAD has no commit before it; .*; this clone is shallow, fetch all",
        ):
            Repository(tmp_path / "shallow").merge_base()

    def test_without_a_commit_in_common_the_remedy_is_said(self, home):
        git(home, "checkout", "-q", "--orphan", "other")
        git(home, "commit", "-qm", "begun anew")
        with pytest.raises(UsageError, match="HEAD and main have no commit in common; fetch the history"):
            Repository(home).merge_base()


class TestCheckedOut:
    def test_it_is_the_commit_and_goes_with_the_block(self, home, tmp_path):
        with Repository(home).checked_out("HEAD~1") as tree:
            assert (tree.root / "code.py").read_text() == "first"
            assert not (tree.root / "sub").exists()
            assert (tree.home, tree.place) == (home, ".")
            assert git(home, "rev-parse", "HEAD~1").startswith(tree.commit)
            assert len(tree.commit) == 9
        assert left(tmp_path) == []
        assert len(git(home, "worktree", "list").splitlines()) == 1

    @pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit])
    def test_nothing_is_left_after_a_fault(self, home, tmp_path, problem):
        def built_badly():
            with Repository(home).checked_out("HEAD") as tree:
                (tree.root / "code.py").write_text("half built")
                (tree.root / "made").mkdir()
                (tree.root / "made" / "file").write_text("x")
                raise problem

        with pytest.raises(problem):
            built_badly()
        assert left(tmp_path) == []
        assert len(git(home, "worktree", "list").splitlines()) == 1

    def test_nothing_is_left_where_someone_took_it_away_before(self, home, tmp_path):
        with Repository(home).checked_out("HEAD") as tree:
            shutil.rmtree(tree.root)
        assert left(tmp_path) == []
        with Repository(home).checked_out("HEAD"):  # what git still knew of the other is forgotten by now
            assert len(git(home, "worktree", "list").splitlines()) == 2
        assert len(git(home, "worktree", "list").splitlines()) == 1

    def test_the_users_tree_stays_as_it_was_to_the_byte(self, home):
        git(home, "checkout", "-qb", "work")
        (home / "code.py").write_text("changed")
        (home / "sub/more.py").write_text("staged")
        git(home, "add", "sub/more.py")
        (home / "notes.txt").write_text("not known to git")
        before = state(home)
        with Repository(home).checked_out("main") as tree:
            assert (tree.root / "code.py").read_text() == "first"
            assert git(home, "rev-parse", "--abbrev-ref", "HEAD") == "work"
            (tree.root / "code.py").write_text("built over")
        assert state(home) == before

    def test_the_branch_that_is_at_hand_can_be_checked_out_too(self, home):
        with Repository(home).checked_out("main") as tree:
            assert (tree.root / "sub/more.py").read_text() == "second"

    def test_two_at_a_time_do_not_meet(self, home, tmp_path):
        repository = Repository(home)
        with repository.checked_out("HEAD") as one, repository.checked_out("HEAD~1") as other:
            assert one.root != other.root
            assert (one.root / "sub").exists()
            assert not (other.root / "sub").exists()
        assert left(tmp_path) == []

    def test_a_folder_below_is_the_place_there_too(self, home):
        with Repository(home / "sub").checked_out("HEAD") as tree:
            assert tree.place == "sub"
            assert (tree.root / tree.place / "more.py").is_file()

    def test_a_commit_without_that_folder_is_refused(self, home, tmp_path):
        with pytest.raises(UsageError, match="ref=HEAD~1: it has no folder sub, where the command was"):
            Repository(home / "sub").checked_out("HEAD~1").__enter__()
        assert left(tmp_path) == []
        assert len(git(home, "worktree", "list").splitlines()) == 1

    def test_submodules_come_with_it(self, home, tmp_path, monkeypatch):
        for name, text in (("COUNT", "1"), ("KEY_0", "protocol.file.allow"), ("VALUE_0", "always")):
            monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
        library = tmp_path / "library"
        library.mkdir()
        git(library, "init", "-q", "-b", "main")
        commit(library, "a library")
        git(home, "submodule", "--quiet", "add", str(library), "lib")
        git(home, "commit", "-qm", "with a library")
        with Repository(home).checked_out("HEAD") as tree:
            assert (tree.root / "lib" / "code.py").read_text() == "a library"
        assert left(tmp_path) == []
        assert len(git(home, "worktree", "list").splitlines()) == 1

    @pytest.fixture
    def with_library(self, home, tmp_path, monkeypatch):
        """A repository with a submodule."""
        for name, text in (("COUNT", "1"), ("KEY_0", "protocol.file.allow"), ("VALUE_0", "always")):
            monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
        library = tmp_path / "library"
        library.mkdir()
        git(library, "init", "-q", "-b", "main")
        commit(library, "a library")
        git(home, "submodule", "--quiet", "add", str(library), "lib (old) one")
        git(home, "commit", "-qm", "with a library")
        return home

    def test_a_submodule_of_any_name_comes_with_it(self, with_library):
        with Repository(with_library).checked_out("HEAD") as tree:
            assert (tree.root / "lib (old) one" / "code.py").read_text() == "a library"

    def test_a_submodule_that_the_user_does_not_have_is_left_alone(self, with_library, tmp_path):
        """To fetch it would write to the configuration that all worktrees share."""
        git(tmp_path, "clone", "-q", str(with_library), "clone")
        shutil.rmtree(tmp_path / "library")  # nor could it be fetched
        before = (tmp_path / "clone/.git/config").read_bytes()
        with Repository(tmp_path / "clone").checked_out("HEAD") as tree:
            assert list((tree.root / "lib (old) one").iterdir()) == []
        assert (tmp_path / "clone/.git/config").read_bytes() == before

    def test_a_hook_of_the_users_that_fails_does_not_stop_it(self, home):
        hook = home / ".git/hooks/post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        with Repository(home).checked_out("HEAD~1") as tree:
            assert (tree.root / "code.py").read_text() == "first"

    def test_from_within_a_hook_it_is_the_same(self, home, tmp_path, monkeypatch):
        (home / "code.py").write_text("changed")
        monkeypatch.setenv("GIT_DIR", ".git")
        monkeypatch.setenv("GIT_INDEX_FILE", str(home / ".git/next-index-1.lock"))
        monkeypatch.chdir(home / "sub")
        assert Repository().own().commit.endswith("+")
        with Repository().checked_out("HEAD") as tree:
            assert (tree.root / "sub/more.py").read_text() == "second"

    def test_a_worktree_of_the_users_has_its_own(self, home, tmp_path):
        git(home, "worktree", "add", "-q", "-b", "other", str(tmp_path / "their worktree"), "HEAD~1")
        place = (tmp_path / "their worktree").resolve()
        commit(place, "third")
        own = Repository(place)
        assert (own.top, own.own().commit) == (place, git(place, "rev-parse", "HEAD")[:9])
        with own.checked_out("main") as tree:
            assert (tree.root / "code.py").read_text() == "first"
        assert len(git(home, "worktree", "list").splitlines()) == 2

    def test_a_worktree_of_the_users_that_is_not_there_now_is_not_forgotten(self, home, tmp_path):
        git(home, "worktree", "add", "-q", "--detach", str(tmp_path / "on a stick"))
        (tmp_path / "on a stick").rename(tmp_path / "unplugged")
        with Repository(home).checked_out("HEAD"):
            pass
        (tmp_path / "unplugged").rename(tmp_path / "on a stick")
        assert git(tmp_path / "on a stick", "rev-parse", "HEAD") == git(home, "rev-parse", "HEAD")

    def test_what_a_sparse_checkout_leaves_out_is_left_out_there_too(self, home):
        git(home, "sparse-checkout", "set", "--no-cone", "/code.py")
        with Repository(home).checked_out("HEAD") as tree:
            assert sorted(path.name for path in tree.root.iterdir()) == [".git", "code.py"]

    @pytest.mark.parametrize("name", ["a space", "ünïcode ", "two\nlines"])
    def test_the_repository_may_be_called_anything(self, tmp_path, name):
        place = tmp_path / name
        place.mkdir()
        git(place, "init", "-q", "-b", "main")
        commit(place, "first")
        with Repository(place).checked_out("HEAD") as tree:
            assert (tree.home, (tree.root / "code.py").read_text()) == (place.resolve(), "first")

    def test_a_pointer_of_git_lfs_is_no_file_that_the_user_has_whole(self, home, tmp_path):
        (home / ".gitattributes").write_text("*.bin filter=lfs\n")
        commit(home, "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 7\n", "data/weights.bin")
        with Repository(home).checked_out("HEAD"):
            pass  # the user has no more than that
        (home / "data/weights.bin").write_text("weights")
        with pytest.raises(
            UsageError, match=r"data/weights.bin is a git-lfs pointer there, .* git lfs fetch origin HEAD"
        ):
            Repository(home).checked_out("HEAD").__enter__()
        assert left(tmp_path) == []


class TestBuilding:
    def test_it_runs_in_its_own_repository_though_a_hook_started_us(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
        build("git rev-parse --show-toplevel > where", Tree(home, home))
        assert (home / "where").read_text() == f"{home}\n"

    def test_the_command_runs_in_the_tree(self, tmp_path):
        build("pwd > where && echo built", Tree(tmp_path, tmp_path))
        assert Path((tmp_path / "where").read_text().strip()).samefile(tmp_path)

    def test_one_that_fails_says_how(self, tmp_path):
        with pytest.raises(UsageError) as refused:
            build("echo first; echo; echo no compiler >&2; exit 7", Tree(tmp_path, tmp_path))
        assert str(refused.value).startswith("--build 'echo first; ")
        assert str(refused.value).endswith(f"ended with exit code 7 in {tmp_path}: no compiler")
        assert refused.value.detail == "first\nno compiler"

    def test_one_that_fails_in_silence_is_said_too(self, tmp_path):
        with pytest.raises(UsageError, match=r"exit code 1 in .*: it printed nothing"):
            build("exit 1", Tree(tmp_path, tmp_path))

    def test_it_is_asked_nothing(self, tmp_path):
        build("read answer; test -z $answer && touch asked", Tree(tmp_path, tmp_path))
        assert (tmp_path / "asked").exists()
