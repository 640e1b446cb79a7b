"""The code of each side: the user's own tree, which is never touched, or a commit in a temporary worktree of git."""

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
_POINTER = (
    b"version https://git-lfs.github.com/spec/"  # how what git-lfs puts in the place of a large file begins
)
_MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Tree:
    """Where the code of a side lies.

    `home` is the top of the user's own tree, `root` that of this one, `place` where below it the command runs;
    `commit` is its short name, with `+` behind it where there is uncommitted work.
    """

    home: Path
    root: Path
    place: str = "."
    commit: str = ""

    def path(self, file: str) -> str:
        """A file of the user's tree as this one has it; what lies elsewhere is the same on both sides."""
        real = os.path.realpath(file)
        if not is_in(real, [str(self.home)]):
            return file
        return os.path.normpath(self.root / os.path.relpath(real, self.home))

    def code(self, other: Tree) -> CodeTree:
        """The tree for a worker: code of the `other` side, or of the user's tree, must not be loaded."""
        others = {self.home, other.root} - {self.root}
        return CodeTree(self.root, self.home, Path(self.place), tuple(sorted(others)))


class Repository:
    """The repository of git that the working directory lies in. Raises UsageError where there is none."""

    def __init__(self, here: Path | None = None) -> None:
        self._here = (here or Path.cwd()).resolve()
        self.top = Path(self._git("rev-parse", "--show-toplevel")).resolve()

    def _git(self, *arguments: str) -> str:
        return git(self._here, *arguments)

    def own(self) -> Tree:
        """The user's tree as it lies there."""
        changed = self._git("status", "--porcelain", "--untracked-files=no")
        commit = self._has("HEAD")
        return Tree(self.top, self.top, self._place, commit[:9] + ("+" if changed else "") if commit else "")

    @property
    def _place(self) -> str:
        return os.path.relpath(self._here, self.top)

    def _has(self, ref: str) -> str:
        """The commit of a ref; empty where there is none."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except UsageError:
            return ""

    def commit(self, ref: str) -> str:
        """The whole name of a commit. Raises UsageError, with what to do, where there is none."""
        found = self._has(ref)
        if not found:
            if not self._has("HEAD") and not self._git("for-each-ref", "--count=1"):
                raise UsageError(
                    f"ref={ref}: the repository {self.top} has no commit yet; make one: git commit"
                )
            raise UsageError(f"ref={ref}: git knows no such commit, branch or tag{self._fetch()}")
        return found

    def _fetch(self) -> str:
        """What to do where something is missing because the clone has no history; empty where it has."""
        shallow = self._git("rev-parse", "--is-shallow-repository") == "true"
        return "; this clone is shallow, fetch all of it: git fetch --unshallow" if shallow else ""

    def merge_base(self) -> str:
        """Where the work at hand left the main branch; on the main branch itself, the commit before.

        That is the last commit for work that is not committed. Raises UsageError where there is no such commit.
        """
        asked = os.environ.get("GITHUB_BASE_REF")  # of a pull request on Actions
        names = (f"origin/{asked}", asked, *_MAIN) if asked else _MAIN
        head = self.commit("HEAD")
        main = next((name for name in names if self._has(name)), None)
        if main is None:
            raise UsageError(
                f"there is no main branch ({', '.join(names)}); name a side, such as ref=HEAD~1{self._fetch()}"
            )
        try:
            base = self._git("merge-base", main, "HEAD")
        except UsageError:
            raise UsageError(
                f"HEAD and {main} have no commit in common; fetch the history (git fetch --unshallow), or name a side"
            ) from None
        if base == head and not self._git("status", "--porcelain", "--untracked-files=no"):
            base = self._has("HEAD~1")
            if not base:
                raise UsageError(
                    f"HEAD has no commit before it; name a side, such as ref=v1.0{self._fetch()}"
                )
        return base

    def _forget_gone(self) -> None:
        """Forgets what a killed command of ours has left behind; a worktree of the user's may be on a disk that comes
        back.
        """
        for entry in self._git("worktree", "list", "--porcelain").splitlines():
            place = entry.removeprefix("worktree ")
            if place != entry and f"/{_PREFIX}" in place and not os.path.exists(place):
                with contextlib.suppress(UsageError):
                    self._git("worktree", "remove", "--force", "--force", place)

    def _with_submodules(self, root: Path) -> None:
        """Checks out the submodules that the user has: to fetch another would write to the user's configuration."""
        if not (root / ".gitmodules").is_file():
            return
        # A line is a mark, the commit, the path, and perhaps a name in parentheses; '-' marks what is not there.
        lines = git(self.top, "submodule", "status").splitlines()
        there = [re.sub(r" \([^()]*\)$", "", line[1:]).partition(" ")[2] for line in lines if line[0] != "-"]
        wanted = [path for path in there if (root / path).is_dir()]
        if wanted:
            git(root, "submodule", "update", "--init", "--recursive", "--", *wanted)

    def _with_large_files(self, root: Path, ref: str) -> None:
        """Raises UsageError where git-lfs has put a pointer in the place of what the user has whole."""
        names = git(root, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")
        pointers = [name for name in names if name and _is_pointer(root / name)]
        for name in pointers:
            if (self.top / name).is_file() and not _is_pointer(self.top / name):
                raise UsageError(
                    f"ref={ref}: {name} is a pointer of git-lfs there, where your tree has what it stands for; "
                    f"fetch it: git lfs fetch origin {ref}"
                )

    @contextlib.contextmanager
    def checked_out(self, ref: str) -> Iterator[Tree]:
        """A commit in a worktree of its own, as long as it is wanted. Raises UsageError where git cannot."""
        commit = self.commit(ref)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        root = folder / "tree"
        try:
            self._forget_gone()
            self._git("worktree", "add", "--detach", str(root), commit)
            self._with_submodules(root)
            self._with_large_files(root, ref)
            if not (root / self._place).is_dir():
                raise UsageError(f"ref={ref}: it has no folder {self._place}, where the command was started")
            yield Tree(self.top, root, self._place, commit[:9])
        finally:
            with contextlib.suppress(UsageError):
                self._git("worktree", "remove", "--force", "--force", str(root))
            shutil.rmtree(folder, ignore_errors=True)


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False  # a link that leads nowhere, or a folder


def without_git() -> Tree:
    """The working directory, for sides that do not differ in their code."""
    here = Path.cwd().resolve()
    return Tree(here, here)


def build(command: str, tree: Tree) -> None:
    """Runs the command that builds a tree, in it. Raises UsageError with the end of what it said."""
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
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UsageError(
            f"--build {command!r} ended with exit code {done.returncode} in {tree.root}: "
            f"{said[-1] if said else 'it said nothing'}",
            "\n".join(said),
        )
