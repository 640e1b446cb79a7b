"""The commit that made a case worse, found by git's own bisection with the paired test as the judge of each step.

Each commit is compared with the good one. It is bad if it is slower by more than half of the slowdown of the bad one: a
commit with the whole effect is then as far from the threshold as one without it. A commit that cannot be decided is
skipped (`git bisect skip`). Exact metrics need no test: one launch of each case is enough, since another would give the
same values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.verdict import Row
from ..analysis.launch.values import launch_values
from ..errors import UsageError
from ..measurement import COUNTED, METRICS, TIMED, Failure
from ..running.launching import launch
from ..running.plan import Job
from ..system.git import git, run_git
from .session import Session
from .trees import Repository

_FIRST_BAD = re.compile(r"^([0-9a-f]{40,64}) is the first '?bad'? commit", re.MULTILINE)
_ONLY_SKIPPED = 2  # exit code of git bisect if only skipped commits remain (git-bisect(1))
_ANSWERS = {"regressed": "bad", "equivalent": "good", "improved": "good"}


@dataclass(frozen=True)
class Culprit:
    """The first bad commit; where commits were skipped, all candidates for it."""

    commits: Sequence[str]
    subjects: Sequence[str]
    parent: str = ""


def slowest(rows: Sequence[Row], asked: Sequence[str] = ()) -> Row | None:
    """The gated time that regressed most, or the metric in `asked`; None where nothing regressed."""
    worse = [
        row
        for row in rows
        if row.gates and row.verdict == "regressed" and (row.metric.kind == "time" or asked)
    ]
    return max(worse, key=lambda row: row.ratio or 0.0, default=None)


def halfway(row: Row, asked: ComparisonOptions) -> ComparisonOptions:
    """How each commit is judged: only by this metric, with half of its change as the threshold."""
    assert row.ratio is not None
    half = (row.ratio - 1) / 2
    return dataclasses.replace(
        asked, metrics=[row.metric.name], rules=(), standards={**asked.standards, row.metric.kind: half}
    )


def answer(row: Row | None) -> str:
    """The answer to git for a commit: good, bad or skip."""
    return _ANSWERS.get(row.verdict, "skip") if row is not None else "skip"


@contextlib.contextmanager
def history(repository: Repository, good: str, bad: str) -> Iterator[History]:
    """A git bisection in a temporary worktree without files.

    Raises UsageError where the good commit is not an ancestor of the bad one.
    """
    first, last = repository.commit(good), repository.commit(bad)
    if first == last:
        raise UsageError(f"{good} and {bad} are the same commit; name a good one and a later bad one")
    try:
        git(repository.top, "merge-base", "--is-ancestor", first, last)
    except UsageError:
        raise UsageError(
            f"{good} is not an ancestor of {bad}; name the good one first, then the bad one"
        ) from None
    with repository.worktree(last, "--no-checkout", prefix="epochbench-bisect-") as place:
        git(place, "bisect", "start", "--no-checkout", last, first)
        yield History(place)


class History:
    """The commits between good and bad: the next one to judge, and in the end the culprit."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.culprit: Culprit | None = None
        # If the bad commit directly follows the good one there is nothing to judge.
        if git(place, "rev-parse", "BISECT_HEAD") == git(place, "rev-parse", "refs/bisect/bad"):
            self._end([git(place, "rev-parse", "BISECT_HEAD")])

    @property
    def commit(self) -> str:
        return git(self._place, "rev-parse", "BISECT_HEAD")

    def subject(self, commit: str) -> str:
        return git(self._place, "show", "--no-patch", "--format=%h %s", commit)

    def tell(self, answer: str) -> None:
        """Gives git the answer for the current commit; afterwards there is another, or the culprit."""
        done = run_git(self._place, "bisect", answer, self.commit)
        if first := _FIRST_BAD.search(done.stdout):
            self._end([first[1]])
        elif done.returncode == _ONLY_SKIPPED:
            self._end(self.suspects())
        elif done.returncode:
            raise UsageError(f"git bisect {answer}: {done.stderr.strip() or done.stdout.strip()}")

    def suspects(self) -> list[str]:
        """The commits that may still be the first bad one."""
        refs = git(self._place, "for-each-ref", "--format=%(refname)", "refs/bisect/").splitlines()
        good = [f"^{ref}" for ref in refs if ref.startswith("refs/bisect/good-")]
        return git(self._place, "rev-list", "refs/bisect/bad", *good).splitlines()

    def _end(self, commits: Sequence[str]) -> None:
        parent = git(self._place, "rev-parse", f"{commits[0]}^") if len(commits) == 1 else ""
        self.culprit = Culprit(commits, [self.subject(commit) for commit in commits], parent)


Key = tuple[str, str]  # case and metric


@dataclass
class Values:
    """The values by case and metric; `failed` maps cases without any to the reason."""

    values: dict[Key, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rise:
    """A metric of a case that is larger in the bad commit than in the good one."""

    case: str
    metric: str
    good: float
    bad: float

    def answer(self, value: float | None) -> str:
        """The answer to git for a commit with this value: bad above halfway; skip without a value."""
        if value is None:
            return "skip"
        share = (value - self.good) / (self.bad - self.good)
        return "bad" if share > 1 / 2 else "good"


def named(pattern: str) -> list[str]:
    """The metrics that a name or pattern matches."""
    return [name for name in METRICS if fnmatch.fnmatchcase(name, pattern)]


def measured_values(session: Session, patterns: Sequence[str], case: str = "") -> Values:
    """These metrics in the code of the first side, of all cases or of this one, from one launch each.

    Exact counts come from a counts launch, other metrics from a timed one.
    """
    side, values = session.sides[0], Values()
    names = [name for pattern in patterns for name in named(pattern)]
    needed = {COUNTED if name.startswith("count.") else TIMED for name in names}
    kinds = [kind for kind in (COUNTED, TIMED) if kind in needed]
    chosen = [name for name in session.matching.pairs if case in ("", name)]
    for place, name in enumerate(chosen, start=1):
        for kind in kinds:
            record = launch(side.workers, side.plan, Job(session.matching.pairs[name][0], kind, 1, place))
            if isinstance(record, Failure):
                values.failed.setdefault(name, record.summary)
                continue
            measured_here = launch_values(record)
            values.values |= {
                (name, metric): measured_here[metric] for metric in names if metric in measured_here
            }
    return values


def largest_rise(good: Values, bad: Values) -> Rise | None:
    """The metric with the largest relative rise from good to bad; None where none rose."""
    worse = [
        Rise(*key, good.values[key], value)
        for key, value in bad.values.items()
        if key in good.values and value > good.values[key]
    ]
    # A rise from 0 is larger than any other.
    return max(worse, key=lambda rise: (not rise.good, rise.good and rise.bad / rise.good), default=None)


def falls(good: Values, bad: Values) -> Mapping[Key, tuple[float, float]]:
    """The metrics that are smaller in the bad commit, with both values."""
    return {
        key: (good.values[key], value)
        for key, value in bad.values.items()
        if key in good.values and value < good.values[key]
    }
