"""The verb that finds the commit: `bisect`."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ...suite.case import MOST_PAIRS, Schedule
from ...system.signals import stoppable
from ..comparison_options import check_metrics
from ..measuring import VerbOptions, command, lock
from ..options import (
    Allocator,
    Axis,
    Build,
    Data,
    Debug,
    Keyword,
    Metrics,
    NoWait,
    Pairs,
    Quiet,
    Seed,
    Suites,
    Threads,
    Timeout,
    Verb,
    conditions,
    overrides,
    seconds,
)
from ..screen import say
from ..stored_session import side_by_side
from .ab import measured, page_of

if TYPE_CHECKING:
    from ...ab.bisection import Found, History
    from ...ab.exact_values import Values
    from ...ab.session import AbRequest, Session
    from ...analysis.compare.comparable import ComparisonOptions
    from ...analysis.compare.verdict import Row
    from ...report.comparison import ComparisonPage

UNDECIDED = 3


def register(app: typer.Typer) -> None:
    app.command("bisect", cls=Verb)(bisect)


def bisect(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A commit that was fast enough.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="A later one that is not.")],
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    metric: Metrics = None,
    pairs: Pairs = MOST_PAIRS,
    build_command: Build = "",
    timeout: Timeout = "10m",
    seed: Seed = 0,
    threads: Threads = None,
    allocator: Allocator = "pinned",
    data: Data = Path("data"),
    no_wait: NoWait = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Find the commit that made a case slower: exit 0 where it is found, 3 where that cannot be decided.

    With exact metrics (--metric 'count.*', 'work.*') one launch a commit decides.
    """
    from ...ab import bisection as bisection
    from ...ab.session import AbRequest
    from ...ab.trees import Repository

    metrics = metric or []
    one_launch = judged_by_one_launch(metrics)
    request = AbRequest(
        suites=suites or [],
        keyword=keyword,
        overrides=overrides(axis),
        schedule=Schedule(timeout=seconds(timeout), seed=seed),
        conditions=conditions(threads, allocator, None, data),
        build=build_command,
        pairs=pairs,
        labels={"command": command()},
    )
    wishes = VerbOptions({}, wait=not no_wait, quiet=quiet, began=time.monotonic())
    with stoppable(), lock(wishes), bisection.history(Repository(), good, bad) as history:
        if one_launch:
            return by_value(history, good, bad, request, metrics)
        return by_pairs(history, good, bad, request, metrics, wishes)


def judged_by_one_launch(metrics: Sequence[str]) -> bool:
    """Whether these metrics are exact. Raises UsageError for what no bisection can be about."""
    from ...ab.exact_values import named
    from ...analysis.compare.comparable import are_exact
    from ...measurement import METRICS

    for pattern in metrics:
        there = named(pattern)
        if there and not any(METRICS[name].better for name in there):
            raise UsageError(
                f"--metric {pattern}: neither more nor less of it is worse, so that no commit is the bad one; name a "
                f"metric with a direction, such as epoch.time or 'count.*'"
            )
    exact = [are_exact([pattern], METRICS) for pattern in metrics]
    if any(exact) and not all(exact):
        raise UsageError(
            f"--metric {metrics[exact.index(True)]} is exact and takes one launch a commit, --metric "
            f"{metrics[exact.index(False)]} takes pairs of them; bisect one after the other"
        )
    return bool(exact) and all(exact)


def by_pairs(
    history: History, good: str, bad: str, request: AbRequest, metrics: Sequence[str], wishes: VerbOptions
) -> int:
    """The bisection of what only pairs of launches tell, as times."""
    from ...ab import bisection as bisection

    asked = side_by_side(metrics, ())
    page = compared(good, bad, request, asked, wishes)
    whole = bisection.slowest(page.rows, metrics)
    if whole is None:
        what = f"no {' or '.join(metrics)}" if metrics else "no time"
        say(
            f"undecided: {what} of {bad} is known to be {'worse' if metrics else 'slower'} than that of {good}"
        )
        if rose := [] if metrics else exactly_worse(page.rows):
            say(f"exact metrics rose, and can be bisected: --metric {' --metric '.join(rose)}")
        return UNDECIDED
    say(f"{bad} against {good}: {said(whole)}")
    line = bisection.halfway(whole, asked)

    def judge(commit: str) -> tuple[str, str]:
        row = row_of(compared(good, commit, request, line, wishes), whole)
        return bisection.answer(row), said(row)

    found = searched(history, judge)
    if not found.parent:
        return say_skipped(found)
    page = compared(found.parent, found.commits[0], request, side_by_side([whole.metric.name], ()), wishes)
    row = row_of(page, whole)
    say(f"the first {'slow' if whole.metric.kind == 'time' else 'bad'} commit is {found.subjects[0]}")
    say(f"against its parent: {said(row)}")
    if row is not None and page.phase(row):
        say(f"most of it in {page.phase(row)}")
    return 0


def by_value(history: History, good: str, bad: str, request: AbRequest, metrics: Sequence[str]) -> int:
    """The bisection of what one launch tells exactly."""
    from ...ab import exact_values as values

    found = {commit: values_of(commit, request, metrics) for commit in (good, bad)}
    for commit, told in found.items():
        check_told(commit, told, metrics)
    rise = values.largest_rise(found[good], found[bad])
    if rise is None:
        say(f"undecided: no {' or '.join(metrics)} of {bad} is above that of {good}")
        for (case, name), both in list(values.falls(found[good], found[bad]).items())[:1]:
            say(f"it fell: {case}: {name} {' to '.join(shown(name, value) for value in both)}")
        return UNDECIDED
    say(f"{bad} against {good}: {rise.case}: {risen(rise.metric, rise.good, rise.bad)}")
    known: dict[str, Values] = {}

    def value_of(commit: str) -> tuple[float | None, str]:
        if commit not in known:
            known[commit] = values_of(commit, request, [rise.metric], rise.case)
        value = known[commit].found.get((rise.case, rise.metric))
        why = known[commit].failed.get(rise.case, "the case is not there")
        return value, why if value is None else f"{rise.metric} {shown(rise.metric, value)}"

    def judge(commit: str) -> tuple[str, str]:
        value, words = value_of(commit)
        return rise.answer(value), f"{rise.case}: {words}"

    first = searched(history, judge)
    if not first.parent:
        return say_skipped(first)
    say(f"the first commit with more is {first.subjects[0]}")
    before, after = value_of(first.parent)[0], value_of(first.commits[0])[0]
    if before is not None and after is not None:
        say(f"against its parent: {rise.case}: {risen(rise.metric, before, after)}")
    return 0


def searched(history: History, judge: Callable[[str], tuple[str, str]]) -> Found:
    """What git's bisection comes to, told of each commit what the judge says of it."""
    while history.found is None:
        commit, subject, left = history.commit, history.subject(history.commit), history.left
        answer, why = judge(commit)
        say(f"{left} left: {subject}: {answer}, {why}")
        history.tell(answer)
    return history.found


def say_skipped(found: Found) -> int:
    say(f"undecided: one of {len(found.commits)} commits, the others were skipped")
    for subject in found.subjects:
        say(f"  {subject}")
    return UNDECIDED


@contextlib.contextmanager
def session_of(base: str, candidate: str, request: AbRequest) -> Iterator[Session]:
    """Two commits, ready to be measured. What is measured is not kept: a bisection answers one question."""
    from ...ab.session import opened
    from ...ab.versions import Version

    versions = Version(f"ref={base}", ref=base), Version(f"ref={candidate}", ref=candidate)
    with (
        tempfile.TemporaryDirectory(prefix="epochbench-bisect-") as folder,
        opened(versions, request, Path(folder) / "ab") as session,
    ):
        yield session


def compared(
    base: str, candidate: str, request: AbRequest, asked: ComparisonOptions, wishes: VerbOptions
) -> ComparisonPage:
    """The page of two commits. Raises UsageError for metrics that neither has."""
    with session_of(base, candidate, request) as session:
        judge, stop = measured(session, asked, wishes)
        if stop:
            sys.exit(stop)
        page = page_of(session, judge, allow_inconclusive=False)
        if all(map(judge.pairs, judge.cases)):
            check_metrics(judge.sides(base, candidate)[0], asked.metrics)
    return page


def values_of(commit: str, request: AbRequest, metrics: Sequence[str], case: str = "") -> Values:
    """What one launch of each case of a commit says of these metrics, or of this case."""
    from ...ab.exact_values import measured as told

    try:
        with session_of(commit, commit, request) as session:
            return told(session, metrics, [case] if case else [])
    except UsageError as problem:
        if not case:
            raise
        from ...ab.exact_values import Values

        return Values(failed={case: str(problem)})  # a commit that cannot be measured is skipped


def check_told(commit: str, told: Values, metrics: Sequence[str]) -> None:
    """Raises UsageError where a commit that is to be searched from says nothing of what was asked for."""
    if told.found:
        return
    for case, why in told.failed.items():
        raise UsageError(f"{commit} cannot be measured: {case}: {why}; name another commit")
    raise UsageError(f"{commit} has no metric {' or '.join(metrics)}; bench show --json lists what a run has")


def exactly_worse(rows: Sequence[Row]) -> list[str]:
    """The exact metrics that regressed, as --metric names them."""
    from ...analysis.compare.verdict import EXACT

    return list(
        dict.fromkeys(
            row.metric.name for row in rows if row.metric.kind in EXACT and row.verdict == "regressed"
        )
    )


def row_of(page: ComparisonPage, like: Row) -> Row | None:
    """The row of the same case and metric; None where the two sides do not have it."""
    return next(
        (row for row in page.rows if (row.case, row.metric.name) == (like.case, like.metric.name)), None
    )


def said(row: Row | None) -> str:
    from ..pairing import said_of

    return "the case is not there" if row is None else f"{row.case}: {said_of(row)}"


def shown(metric: str, value: float) -> str:
    from ...measurement import metric as metric_of
    from ...report.units import quantity

    return quantity(value, metric_of(metric).unit)


def risen(metric: str, before: float, after: float) -> str:
    """'count.ops 20 to 22 (+10 %)'."""
    from ...report.units import percent

    share = f" (+{percent(after / before - 1)})" if before else ""
    return f"{metric} {shown(metric, before)} to {shown(metric, after)}{share}"
