"""`bench bisect` finds the commit that made a case slower."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from ...ab import bisection
from ...ab.bisection import Culprit, History, Values
from ...ab.cases import AbRequest
from ...ab.session import Session, open_session
from ...ab.trees import Repository
from ...ab.versions import Version
from ...analysis.compare import comparable
from ...analysis.compare.comparable import ComparisonOptions
from ...analysis.compare.verdict import EXACT, Row
from ...errors import UsageError
from ...measurement import METRICS
from ...measurement import metric as metric_of
from ...report.comparison import ComparisonPage
from ...report.units import percent, quantity
from ...system.signals import stoppable
from ..ab_sessions import SuitePairsOptions, asked_of_pairs, measured, page_of_session
from ..command import UNDECIDED, argument
from ..comparison_pages import check_metrics
from ..launching import lock
from ..options import VersionOptions
from ..progress import row_text
from ..screen import print_line


class BisectOptions(SuitePairsOptions, VersionOptions):
    good: str = argument(metavar="GOOD", help="A commit that was fast enough.")
    bad: str = argument(metavar="BAD", help="A later commit that is not.")


def main(options: BisectOptions) -> int:
    one_launch = takes_one_launch(options.metric or [])
    request = dataclasses.replace(options.request, build=options.build)
    with stoppable(), lock(options), bisection.history(Repository(), options.good, options.bad) as history:
        return by_value(history, options, request) if one_launch else by_pairs(history, options, request)


def takes_one_launch(metrics: Sequence[str]) -> bool:
    """Whether one launch per commit is enough. Raises UsageError for metrics that cannot be bisected."""
    for pattern in metrics:
        names = bisection.named(pattern)
        if names and not any(METRICS[name].better for name in names):
            raise UsageError(
                f"--metric {pattern}: it is not known whether more or less is worse, so no commit is bad; name a "
                f"metric with a direction, such as epoch.time or 'count.*'"
            )
    exact = [comparable.are_exact([pattern], METRICS) for pattern in metrics]
    if any(exact) and not all(exact):
        raise UsageError(
            f"--metric {metrics[exact.index(True)]} is exact and needs one launch per commit, --metric "
            f"{metrics[exact.index(False)]} needs pairs of them; bisect one after the other"
        )
    return bool(exact) and all(exact)


def by_pairs(history: History, options: BisectOptions, request: AbRequest) -> int:
    """The bisection of times, which needs pairs of launches."""
    good, bad, metrics = options.good, options.bad, options.metric or []
    asked = asked_of_pairs(metrics, ())
    page = compared(good, bad, request, asked, options)
    whole = bisection.slowest(page.rows, metrics)
    if whole is None:
        return print_not_slower(page, good, bad, metrics)
    print_line(f"{bad} against {good}: {case_text(whole)}")
    line = bisection.halfway(whole, asked)

    def judge(commit: str) -> tuple[str, str]:
        row = row_of(compared(good, commit, request, line, options), whole)
        return bisection.answer(row), case_text(row)

    found = searched(history, judge)
    if not found.parent:
        return print_skipped(found)
    asked = asked_of_pairs([whole.metric.name], ())
    page = compared(found.parent, found.commits[0], request, asked, options)
    row = row_of(page, whole)
    print_line(f"the first {'slow' if whole.metric.kind == 'time' else 'bad'} commit is {found.subjects[0]}")
    print_line(f"against its parent: {case_text(row)}")
    if row is not None and page.phase(row):
        print_line(f"most of it in {page.phase(row)}")
    return 0


def print_not_slower(page: ComparisonPage, good: str, bad: str, metrics: Sequence[str]) -> int:
    what = f"no {' or '.join(metrics)}" if metrics else "no time"
    print_line(
        f"undecided: {what} of {bad} is known to be {'worse' if metrics else 'slower'} than that of {good}"
    )
    worse = (row.metric for row in page.rows if row.verdict == "regressed")
    rose = list(dict.fromkeys(metric.name for metric in worse if metric.kind in EXACT))
    if rose and not metrics:
        print_line(f"exact metrics rose, and can be bisected: --metric {' --metric '.join(rose)}")
    return UNDECIDED


def by_value(history: History, options: BisectOptions, request: AbRequest) -> int:
    """The bisection of exact metrics, which needs one launch per commit."""
    good, bad, metrics = options.good, options.bad, options.metric or []
    ends = {commit: values_of(commit, request, metrics) for commit in (good, bad)}
    for commit, values in ends.items():
        check_values(commit, values, metrics)
    rise = bisection.largest_rise(ends[good], ends[bad])
    if rise is None:
        print_line(f"undecided: no {' or '.join(metrics)} of {bad} is above that of {good}")
        for (case, name), both in list(bisection.falls(ends[good], ends[bad]).items())[:1]:
            print_line(f"it fell: {case}: {name} {' to '.join(value_text(name, value) for value in both)}")
        return UNDECIDED
    print_line(f"{bad} against {good}: {rise.case}: {rise_text(rise.metric, rise.good, rise.bad)}")

    @cache
    def value_of(commit: str) -> tuple[float | None, str]:
        found = values_of(commit, request, [rise.metric], rise.case)
        value = found.values.get((rise.case, rise.metric))
        why = found.failed.get(rise.case, "the case does not exist")
        return value, why if value is None else f"{rise.metric} {value_text(rise.metric, value)}"

    def judge(commit: str) -> tuple[str, str]:
        value, text = value_of(commit)
        return rise.answer(value), f"{rise.case}: {text}"

    found = searched(history, judge)
    if not found.parent:
        return print_skipped(found)
    print_line(f"the first commit with more is {found.subjects[0]}")
    before, after = value_of(found.parent)[0], value_of(found.commits[0])[0]
    if before is not None and after is not None:
        print_line(f"against its parent: {rise.case}: {rise_text(rise.metric, before, after)}")
    return 0


def searched(history: History, judge: Callable[[str], tuple[str, str]]) -> Culprit:
    """The result of git's bisection; `judge` gives the answer to git for a commit, and the reason."""
    while history.culprit is None:
        commit, subject, left = history.commit, history.subject(history.commit), len(history.suspects())
        answer, why = judge(commit)
        print_line(f"{left} left: {subject}: {answer}, {why}")
        history.tell(answer)
    return history.culprit


def print_skipped(found: Culprit) -> int:
    print_line(f"undecided: one of {len(found.commits)} commits, the others were skipped")
    for subject in found.subjects:
        print_line(f"  {subject}")
    return UNDECIDED


@contextlib.contextmanager
def session_of(base: str, candidate: str, request: AbRequest) -> Iterator[Session]:
    """Two commits, ready to be measured. The measurements are not kept."""
    versions = Version(f"ref={base}", ref=base), Version(f"ref={candidate}", ref=candidate)
    with (
        tempfile.TemporaryDirectory(prefix="epochbench-bisect-") as folder,
        open_session(versions, request, Path(folder) / "ab") as session,
    ):
        yield session


def compared(
    base: str, candidate: str, request: AbRequest, asked: ComparisonOptions, options: BisectOptions
) -> ComparisonPage:
    """The page of two commits. Raises UsageError for metrics that neither has."""
    with session_of(base, candidate, request) as session:
        judge, stop = measured(session, asked, options)
        if stop:
            sys.exit(stop)
        page = page_of_session(session, judge, allow_inconclusive=False)
        if all(map(judge.pairs, judge.cases)):
            check_metrics(judge.sides(base, candidate)[0], asked.metrics)
    return page


def values_of(commit: str, request: AbRequest, metrics: Sequence[str], case: str = "") -> Values:
    """These metrics of a commit, from one launch of each case, or of this case."""
    try:
        with session_of(commit, commit, request) as session:
            return bisection.measured_values(session, metrics, case)
    except UsageError as problem:
        if not case:
            raise
        return Values(failed={case: str(problem)})  # a commit that cannot be measured is skipped


def check_values(commit: str, values: Values, metrics: Sequence[str]) -> None:
    """Raises UsageError if an end of the search has none of the metrics."""
    if values.values:
        return
    for case, why in values.failed.items():
        raise UsageError(f"{commit} cannot be measured: {case}: {why}; name another commit")
    raise UsageError(f"{commit} has no metric {' or '.join(metrics)}; bench show --json lists what a run has")


def row_of(page: ComparisonPage, like: Row) -> Row | None:
    """The row of the same case and metric; None if the two sides do not have it."""
    same = (row for row in page.rows if (row.case, row.metric.name) == (like.case, like.metric.name))
    return next(same, None)


def case_text(row: Row | None) -> str:
    return "the case does not exist" if row is None else f"{row.case}: {row_text(row)}"


def value_text(metric: str, value: float) -> str:
    return quantity(value, metric_of(metric).unit)


def rise_text(metric: str, before: float, after: float) -> str:
    """'count.ops 20 to 22 (+10 %)'."""
    share = f" (+{percent(after / before - 1)})" if before else ""
    return f"{metric} {value_text(metric, before)} to {value_text(metric, after)}{share}"
