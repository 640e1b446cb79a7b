"""The code of each side: the user's own tree, which is never changed, or a commit in a temporary git worktree."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..measurement.messages import CodeTree
from ..system.git import environment, git
from ..system.paths import is_in

_PREFIX = "epochbench-tree-"
_POINTER = b"version https://git-lfs.github.com/spec/"  # the begin of a file that git-lfs puts in place of a large one
_MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Tree:
    """The folder with the code of a side.

    `home` is the top of the user's own tree, `root` that of this one, `place` the folder below it where the command
    runs; `commit` is its short name, followed by `+` if there is uncommitted work.
    """

    home: Path
    root: Path
    place: str = "."
    commit: str = ""

    def path(self, file: str) -> str:
        """The path of a file of the user's tree in this one; a file outside of it is the same on both sides."""
        real = os.path.realpath(file)
        if not is_in(real, [str(self.home)]):
            return file
        return os.path.normpath(self.root / os.path.relpath(real, self.home))

    def code(self, other: Tree) -> CodeTree:
        """The tree as sent to a worker, which must load no code from the `other` side or from the user's tree."""
        others = {self.home, other.root} - {self.root}
        return CodeTree(self.root, self.home, Path(self.place), tuple(sorted(others)))


class Repository:
    """The git repository of the working directory. Raises UsageError where there is none."""

    def __init__(self, here: Path | None = None) -> None:
        self._here = (here or Path.cwd()).resolve()
        self.top = Path(self._git("rev-parse", "--show-toplevel")).resolve()
        self._place = os.path.relpath(self._here, self.top)

    def _git(self, *arguments: str) -> str:
        return git(self._here, *arguments)

    def own(self) -> Tree:
        """The user's tree as it is."""
        changed = self._git("status", "--porcelain", "--untracked-files=no")
        commit = self._commit_of("HEAD")
        return Tree(self.top, self.top, self._place, commit[:9] + ("+" if changed else "") if commit else "")

    def _commit_of(self, ref: str) -> str:
        """The commit of a ref; empty if it does not exist."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except UsageError:
            return ""

    def commit(self, ref: str) -> str:
        """The full hash of a commit. Raises UsageError, with the remedy, where it does not exist."""
        commit = self._commit_of(ref)
        if not commit:
            if not self._commit_of("HEAD") and not self._git("for-each-ref", "--count=1"):
                raise UsageError(
                    f"ref={ref}: the repository {self.top} has no commit yet; make one: git commit"
                )
            raise UsageError(f"ref={ref}: git knows no such commit, branch or tag{self._fetch_remedy()}")
        return commit

    def _fetch_remedy(self) -> str:
        """The remedy where something is missing because the clone is shallow; else empty."""
        shallow = self._git("rev-parse", "--is-shallow-repository") == "true"
        return "; this clone is shallow, fetch all of it: git fetch --unshallow" if shallow else ""

    def merge_base(self) -> str:
        """The merge base with the main branch; on the main branch itself the commit before HEAD.

        With uncommitted work on the main branch it is HEAD. Raises UsageError where there is no such commit.
        """
        target = os.environ.get("GITHUB_BASE_REF")  # of a pull request on Actions
        names = (f"origin/{target}", target, *_MAIN) if target else _MAIN
        head = self.commit("HEAD")
        main = next((name for name in names if self._commit_of(name)), None)
        if main is None:
            raise UsageError(
                f"there is no main branch ({', '.join(names)}); name a side, such as ref=HEAD~1{self._fetch_remedy()}"
            )
        try:
            base = self._git("merge-base", main, "HEAD")
        except UsageError:
            raise UsageError(
                f"HEAD and {main} have no commit in common; fetch the history (git fetch --unshallow), or name a side"
            ) from None
        if base == head and not self._git("status", "--porcelain", "--untracked-files=no"):
            base = self._commit_of("HEAD~1")
            if not base:
                raise UsageError(
                    f"HEAD has no commit before it; name a side, such as ref=v1.0{self._fetch_remedy()}"
                )
        return base

    def _remove_stale(self) -> None:
        """Removes git's entries for worktrees that a killed command left registered; never the user's own worktrees,
        which may be on a disk that is not mounted.
        """
        for entry in self._git("worktree", "list", "--porcelain").splitlines():
            place = entry.removeprefix("worktree ")
            if place != entry and f"/{_PREFIX}" in place and not os.path.exists(place):
                with contextlib.suppress(UsageError):
                    self._git("worktree", "remove", "--force", "--force", place)

    def _with_submodules(self, root: Path) -> None:
        """Checks out the submodules that the user has: fetching others would write to the user's configuration."""
        if not (root / ".gitmodules").is_file():
            return
        # A line is a mark, the commit, the path, and perhaps a name in parentheses; '-' marks those not checked out.
        lines = git(self.top, "submodule", "status").splitlines()
        present = [
            re.sub(r" \([^()]*\)$", "", line[1:]).partition(" ")[2] for line in lines if line[0] != "-"
        ]
        paths = [path for path in present if (root / path).is_dir()]
        if paths:
            git(root, "submodule", "update", "--init", "--recursive", "--", *paths)

    def _check_large_files(self, root: Path, ref: str) -> None:
        """Raises UsageError for a git-lfs pointer in place of a file that the user's tree has in full."""
        names = git(root, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")
        for name in filter(None, names):
            own = self.top / name
            if _is_pointer(root / name) and own.is_file() and not _is_pointer(own):
                raise UsageError(
                    f"ref={ref}: {name} is a git-lfs pointer there, and a full file in your tree; "
                    f"fetch it: git lfs fetch origin {ref}"
                )

    @contextlib.contextmanager
    def checked_out(self, ref: str) -> Iterator[Tree]:
        """A commit in a temporary worktree, which is removed on exit. Raises UsageError where git cannot create it."""
        commit = self.commit(ref)
        self._remove_stale()
        with self.worktree(commit) as root:
            self._with_submodules(root)
            self._check_large_files(root, ref)
            if not (root / self._place).is_dir():
                raise UsageError(f"ref={ref}: it has no folder {self._place}, where the command was started")
            yield Tree(self.top, root, self._place, commit[:9])

    @contextlib.contextmanager
    def worktree(self, commit: str, *options: str, prefix: str = _PREFIX) -> Iterator[Path]:
        """The folder of a temporary worktree, which is removed on exit. `options` are those of git."""
        folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        root = folder / "tree"
        try:
            self._git("worktree", "add", "--detach", *options, str(root), commit)
            yield root
        finally:
            with contextlib.suppress(UsageError):
                self._git("worktree", "remove", "--force", "--force", str(root))
            shutil.rmtree(folder, ignore_errors=True)


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False  # a dangling link, or a folder


def without_git() -> Tree:
    """The working directory, for two sides that have the same code."""
    here = Path.cwd().resolve()
    return Tree(here, here)


def build(command: str, tree: Tree) -> None:
    """Runs the build command in a tree. Raises UsageError with the end of its output."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=tree.root,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        output = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UsageError(
            f"--build {command!r} ended with exit code {done.returncode} in {tree.root}: "
            f"{output[-1] if output else 'it printed nothing'}",
            "\n".join(output),
        )
