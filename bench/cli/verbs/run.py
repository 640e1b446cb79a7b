"""`bench run` measures."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection
from contextlib import nullcontext

from ...errors import UsageError
from ...plurals import counted
from ...report.safe_text import plain, plain_json
from ...results import folder as folders
from ...results import tables as run_tables
from ...results.history import launch_seconds
from ...results.tables import Tables
from ...running.plan import Plan
from ...running.workers import Workers
from ...suite.case import UntimedLaunches
from ...system.signals import stoppable
from ..command import FAILED, UNDECIDED
from ..launching import lock
from ..measuring import Measuring, finish, measured, planned
from ..options import RunOptions
from ..run_output import print_places, print_tables
from ..run_request import Earlier, RunRequest, check_cases, check_options, earlier
from ..screen import print_remark


def main(options: RunOptions) -> int:
    before = None if options.resume is None else earlier(options.resume)
    request = new_request(options) if before is None else resumed_request(options, before)
    waits = nullcontext() if options.dry_run else lock(options)
    with stoppable(), waits, Workers(request.conditions) as workers:
        plan = planned(workers, request, options.quiet)
        if before is not None:
            check_cases(plan.cases, before)
        if options.dry_run:
            return print_plan(plan, options.as_json)
        measuring = measured(workers, plan, request, options, before)
    tables = finish(measuring.folder)
    if options.as_json:
        print(plain_json(run_tables.as_json(tables)))
    elif not options.quiet:
        print_results(measuring, tables, len(plan.cases))
    return measuring.stop or outcome(measuring.plan, tables)  # in which each batch_size=max is a number


def new_request(options: RunOptions) -> RunRequest:
    untimed = UntimedLaunches(counts=not options.no_counts, profile=not options.no_profile)
    if options.launches == 0 and not untimed.counts and not untimed.profile:
        raise UsageError("--launches 0 --no-counts --no-profile leaves nothing to measure; omit one of them")
    return RunRequest.of(options, options.schedule, untimed)


def resumed_request(options: RunOptions, before: Earlier) -> RunRequest:
    """The plan of the earlier part, with the time budget of this part of the run."""
    check_options(options, before)
    for note in before.notes:
        print_remark(note)
    if options.time_budget is None:
        return before.request
    schedule = dataclasses.replace(before.request.schedule, time_budget=options.time_budget)
    return dataclasses.replace(before.request, schedule=schedule)


def print_results(measuring: Measuring, tables: Tables, cases: int) -> None:
    printed = {(one.case.id, one.failure, one.message) for one in measuring.failures}
    print_tables(without_failures(tables, printed))
    place = folders.shown(measuring.folder.path)
    if printed:
        print(
            f"{counted(len(printed), 'failure')}, shown above on standard error: {place}/failures.csv, {place}/logs/"
        )
    if measuring.untimed_seconds:
        print(
            f"counts and profiles took {measuring.untimed_seconds / cases:.2f} s per case, in addition to timing"
        )
    print_places(measuring.folder, tables)
    if measuring.stop:
        print(
            f"stopped early; what was measured is kept, resume with: bench run --resume {place}",
            file=sys.stderr,
        )


def without_failures(tables: Tables, printed: Collection[tuple[str, str, str]]) -> Tables:
    """The tables without the failures that were printed already (the same case, failure and message)."""
    rows = tables.failures
    if rows.empty:
        return tables
    keys = zip(rows["case"], rows["failure"], rows["message"], strict=True)
    return dataclasses.replace(tables, failures=rows[[key not in printed for key in keys]])


def outcome(plan: Plan, tables: Tables) -> int:
    """The exit code of a run that was not stopped."""
    if len(tables.failures):
        return FAILED
    measured = set(tables.summary["case"])
    missing = [case.id for case in plan.cases if case.id not in measured]
    if missing:
        print_remark(
            f"the time budget ended before {len(missing)} of {counted(len(plan.cases), 'case')} had a launch; "
            f"continue with --resume, or give a longer --time-budget, or fewer cases with -k"
        )
        return UNDECIDED
    return 0


# Seconds assumed for a launch of a case that was never measured here, and for the start of a round.
_UNKNOWN_LAUNCH, _FORK_SERVER = 1.0, 3.0


def print_plan(plan: Plan, as_json: bool) -> int:
    """The dry run: cases, launches, and minutes, estimated from earlier runs."""
    known = launch_seconds()
    round_seconds = sum(known.get(case.id, _UNKNOWN_LAUNCH) for case in plan.cases) + _FORK_SERVER
    expected = round_seconds * plan.schedule.launches
    if plan.schedule.time_budget is not None:
        expected = min(expected, plan.schedule.time_budget)
    measured_before = sum(case.id in known for case in plan.cases)
    if as_json:
        facts = {
            "cases": [case.id for case in plan.cases],
            "expected_launches": plan.launches,
            "expected_seconds": expected,
            "cases_measured_before": measured_before,
            **dataclasses.asdict(plan.schedule),
        }
        print(plain_json(facts))
        return 0
    for case in plan.cases:
        print(plain(case.id))
    if any(case.seeks_largest for case in plan.cases):
        print("batch_size=max is found first, by launches of its own that are not counted here")
    most = plan.schedule.most
    more = f" (up to {most} a case until it is settled)" if most > plan.schedule.launches else ""
    print(
        f"{counted(len(plan.cases), 'case')}, {counted(plan.launches, 'launch', 'launches')}{more}, "
        f"about {expected / 60:.1f} minutes ({measured_before} of them measured here before; "
        f"others are assumed to take {_UNKNOWN_LAUNCH:g} s)"
    )
    return 0
