"""`bench ab`, the gate on time."""

from __future__ import annotations

import sys

from ...ab.cases import AbRequest
from ...ab.session import Session, open_session
from ...ab.sides import base_and_candidate
from ...ab.versions import Version, sides_and_suites
from ...errors import UsageError
from ...report.comparison import ComparisonPage
from ...report.plots import draw_comparison
from ...results import folder as folders
from ...results import tables
from ...suite.case import Schedule
from ...system.signals import stoppable
from ..ab_sessions import asked_of_pairs, measured, page_of_session
from ..command import argument
from ..comparison_output import print_page, report_page, report_usage_error, write_page
from ..comparison_pages import check_patterns, threshold_rules
from ..launching import command_line, lock, print_distrust
from ..options import (
    BudgetOptions,
    LaunchOptions,
    RunFolderOptions,
    ScriptOptions,
    VerdictOptions,
    VersionOptions,
)


class AbOptions(
    ScriptOptions, VersionOptions, BudgetOptions, LaunchOptions, RunFolderOptions, VerdictOptions
):
    arguments: list[str] | None = argument(
        None,
        metavar="SIDE|SUITE",
        help="Two sides, the base first: ref=REV (a commit or branch), worktree (your files as they are), "
        "python=PATH, env:NAME=VALUE or set:AXIS=VALUE. With one side only, worktree is the other; with none, the "
        "base is the merge base with the main branch. Then suites, as for run.",
    )


def main(options: AbOptions) -> int:
    try:
        page, stop = compared(options)
    except UsageError as problem:
        report_usage_error(problem, options)
        raise
    report_page(page, options)
    return stop or page.exit_code


def compared(options: AbOptions) -> tuple[ComparisonPage, int]:
    """Measures both sides and prints the page. Returns the exit code of a signal that ended it early, else 0."""
    options.check_format()
    if options.pairs < 1:
        raise UsageError(f"pairs must be at least 1, not {options.pairs}")
    rules, file = threshold_rules(options.thresholds)
    asked = asked_of_pairs(options.metric or [], rules)
    versions, request = request_of(options)
    with (
        stoppable(),
        lock(options, [version.variables for version in versions]),
        open_session(base_and_candidate(versions), request, options.out) as session,
    ):
        print_distrust()
        judge, stop = measured(session, asked, options)
    page = page_of_session(session, judge, options.allow_inconclusive)
    keep(session, page)
    print_page(page, options)
    # Checked last, since only launches show which metrics exist; what was measured is kept in any case.
    if all(map(judge.pairs, judge.cases)):
        check_patterns(judge.sides(*(side.label for side in session.sides))[0], asked, file)
    return page, stop


def request_of(options: AbOptions) -> tuple[list[Version], AbRequest]:
    """The named versions, and what is measured of each. Raises UsageError."""
    versions, suites = sides_and_suites(options.arguments or [])
    axes, script = options.axes_and_script(suites)
    return versions, AbRequest(
        suites=suites,
        keyword=options.keyword,
        overrides=axes,
        schedule=Schedule(time_budget=options.time_budget, timeout=options.timeout, seed=options.seed),
        conditions=options.conditions,
        build=options.build,
        download=options.download,
        pairs=options.pairs,
        labels={**options.labels, "command": command_line()},
        script=script,
    )


def keep(session: Session, page: ComparisonPage) -> None:
    """Writes the tables of each side, the verdicts and their picture into the folder of the A/B."""
    for name in folders.SIDES:
        folder = folders.RunFolder(session.place / name)
        tables.write(folder, tables.read(folder.path))
    write_page(page, session.place)
    draw_comparison(page, session.place / "plots")
    print(f"kept: {folders.shown(session.place)}/", file=sys.stderr)
