"""The commit that made a case worse, found by git's own bisection with the paired test as the judge of each step.

Each commit is held against the good one. It is bad if it is slower by more than half of what the bad one is: halfway
between the two, so that an effect as large as the whole is as far from the line as none. What cannot be decided is
skipped, as git skips it. Exact metrics need no test: `values.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.verdict import Row
from ..errors import UsageError
from ..system.git import git, run_git
from .trees import Repository

_FOUND = re.compile(r"^([0-9a-f]{40,64}) is the first '?bad'? commit", re.MULTILINE)
_ONLY_SKIPPED = 2  # how git bisect ends where all that is left was skipped (git-bisect(1))
_ANSWERS = {"regressed": "bad", "equivalent": "good", "improved": "good"}


@dataclass(frozen=True)
class Found:
    """The end: the first bad commit, or, where skipped ones are in the way, all that it may be."""

    commits: Sequence[str]
    subjects: Sequence[str]
    parent: str = ""


def slowest(rows: Sequence[Row], asked: Sequence[str] = ()) -> Row | None:
    """Of the gated times that regressed the one that did most, or of what was asked for; None where none did."""
    worse = [
        row
        for row in rows
        if row.gates and row.verdict == "regressed" and (row.metric.kind == "time" or asked)
    ]
    return max(worse, key=lambda row: row.ratio or 0.0, default=None)


def halfway(row: Row, asked: ComparisonOptions) -> ComparisonOptions:
    """How the steps are judged: by this metric alone, the line drawn at half of its change."""
    assert row.ratio is not None
    half = (row.ratio - 1) / 2
    return dataclasses.replace(
        asked, metrics=[row.metric.name], rules=(), standards={**asked.standards, row.metric.kind: half}
    )


def answer(row: Row | None) -> str:
    """What git is told of a commit: good, bad or skip."""
    return _ANSWERS.get(row.verdict, "skip") if row is not None else "skip"


@contextlib.contextmanager
def history(repository: Repository, good: str, bad: str) -> Iterator[History]:
    """A bisection of git in a worktree of its own, which no file is checked out into.

    Raises UsageError where the good commit is none before the bad one.
    """
    first, last = repository.commit(good), repository.commit(bad)
    if first == last:
        raise UsageError(f"{good} and {bad} are the same commit; name a good one and a bad one behind it")
    try:
        git(repository.top, "merge-base", "--is-ancestor", first, last)
    except UsageError:
        raise UsageError(
            f"{good} is no commit before {bad}; name the good one first, then the bad one"
        ) from None
    folder = Path(tempfile.mkdtemp(prefix="epochbench-bisect-")).resolve()
    place = folder / "tree"
    try:
        git(repository.top, "worktree", "add", "--detach", "--no-checkout", str(place), last)
        git(place, "bisect", "start", "--no-checkout", last, first)
        yield History(place)
    finally:
        with contextlib.suppress(UsageError):
            git(repository.top, "worktree", "remove", "--force", "--force", str(place))
        shutil.rmtree(folder, ignore_errors=True)


class History:
    """The commits between good and bad: which is to be judged next, and what the end is."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.found: Found | None = None
        # Where the bad commit follows the good one at once there is nothing to judge.
        if git(place, "rev-parse", "BISECT_HEAD") == git(place, "rev-parse", "refs/bisect/bad"):
            self._end([git(place, "rev-parse", "BISECT_HEAD")])

    @property
    def commit(self) -> str:
        return git(self._place, "rev-parse", "BISECT_HEAD")

    @property
    def left(self) -> int:
        """How many commits may still be the first bad one."""
        return len(self._suspects())

    def subject(self, commit: str) -> str:
        return git(self._place, "show", "--no-patch", "--format=%h %s", commit)

    def tell(self, answer: str) -> None:
        """Tells git of the present commit; afterwards there is another, or the end is found."""
        done = run_git(self._place, "bisect", answer, self.commit)
        if first := _FOUND.search(done.stdout):
            self._end([first[1]])
        elif done.returncode == _ONLY_SKIPPED:
            self._end(self._suspects())
        elif done.returncode:
            raise UsageError(f"git bisect {answer}: {done.stderr.strip() or done.stdout.strip()}")

    def _suspects(self) -> list[str]:
        refs = git(self._place, "for-each-ref", "--format=%(refname)", "refs/bisect/").splitlines()
        good = [f"^{ref}" for ref in refs if ref.startswith("refs/bisect/good-")]
        return git(self._place, "rev-list", "refs/bisect/bad", *good).splitlines()

    def _end(self, commits: Sequence[str]) -> None:
        parent = git(self._place, "rev-parse", f"{commits[0]}^") if len(commits) == 1 else ""
        self.found = Found(commits, [self.subject(one) for one in commits], parent)
