"""The verb that finds the commit: `bisect`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..case import MOST_PAIRS, Schedule
from ..counting import counted
from ..signals import stoppable
from .ab import measured, page_of, side_by_side
from .measuring import Wishes, command, lock
from .options import (
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
from .screen import say

if TYPE_CHECKING:
    from ..analysis.compare import Row
    from ..analysis.comparing import Asked
    from ..gate.session import Request
    from ..report.comparison import Page

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
    """Find the commit that made a case slower: exit 0 where it is found, 3 where that cannot be decided."""
    from ..gate import bisect as bisection
    from ..gate.session import Request
    from ..gate.trees import Repository

    request = Request(
        suites=suites or [],
        keyword=keyword,
        overrides=overrides(axis),
        schedule=Schedule(timeout=seconds(timeout), seed=seed),
        conditions=conditions(threads, allocator, None, data),
        build=build_command,
        pairs=pairs,
        labels={"command": command()},
    )
    asked = side_by_side(metric or [], ())
    wishes = Wishes({}, wait=not no_wait, quiet=quiet, began=time.monotonic(), debug=debug)
    with stoppable(), lock(wishes), bisection.history(Repository(), good, bad) as history:
        page = compared(good, bad, request, asked, wishes)
        whole = bisection.slowest(page.rows)
        if whole is None:
            say(f"undecided: no time of {bad} is known to be slower than that of {good}")
            return UNDECIDED
        say(f"{bad} against {good}: {said(whole)}")
        asked = bisection.halfway(whole, asked)
        while history.found is None:
            commit, subject, left = history.commit, history.subject(history.commit), history.left
            row = row_of(compared(good, commit, request, asked, wishes), whole)
            answer = bisection.answer(row)
            say(f"{left} left: {subject}: {answer}, {said(row)}")
            history.tell(answer)
        found = history.found
        if not found.parent:
            say(f"undecided: one of {counted(len(found.commits), 'commit')}, the others were skipped")
            for subject in found.subjects:
                say(f"  {subject}")
            return UNDECIDED
        page = compared(
            found.parent, found.commits[0], request, side_by_side([whole.metric.name], ()), wishes
        )
    row = row_of(page, whole)
    say(f"the first slow commit is {found.subjects[0]}")
    say(f"against its parent: {said(row)}")
    if row is not None and page.phase(row):
        say(f"most of it in {page.phase(row)}")
    return 0


def compared(base: str, candidate: str, request: Request, asked: Asked, wishes: Wishes) -> Page:
    """The page of two commits. What was measured for it is not kept: a bisection answers one question."""
    from ..gate.session import opened
    from ..gate.versions import Version

    versions = Version(f"ref={base}", ref=base), Version(f"ref={candidate}", ref=candidate)
    with tempfile.TemporaryDirectory(prefix="epochbench-bisect-") as folder:
        with opened(versions, request, Path(folder) / "ab") as session:
            judge, stop = measured(session, asked, wishes)
        if stop:
            sys.exit(stop)
        return page_of(session, judge, allow_inconclusive=False)


def row_of(page: Page, like: Row) -> Row | None:
    """The row of the same case and metric; None where the two sides do not have it."""
    return next(
        (row for row in page.rows if (row.case, row.metric.name) == (like.case, like.metric.name)), None
    )


def said(row: Row | None) -> str:
    from .pairing import said_of

    return "the case is not there" if row is None else f"{row.case}: {said_of(row)}"
