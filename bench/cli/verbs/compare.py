"""`bench compare`, the gate on tables."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...analysis.compare.comparable import are_exact
from ...analysis.compare.environments import EnvironmentDifference, differences, differences_for_counts
from ...analysis.compare.sides import Side, aligned
from ...errors import UsageError
from ...plurals import counted
from ...report.comparison import ComparisonPage
from ...report.plots import draw_comparison
from ...report.reason_words import environment_said
from ...results.folder import find, is_session, shown
from ...results.sides import read_side
from ...results.table_files import is_foreign, is_table
from ...suite.selection import parse
from ..ab_sessions import page_of_stored_session
from ..command import NOT_COMPARABLE, argument, option
from ..comparison_output import print_page, report_not_comparable, report_page, report_usage_error
from ..comparison_pages import page_of_axis, page_of_sides, threshold_rules
from ..options import KeywordOptions, MetricOptions, VerdictOptions
from ..screen import print_remark


class CompareOptions(MetricOptions, KeywordOptions, VerdictOptions):
    base: str = argument(
        metavar="BASE",
        help="The base: a run, a baseline, a summary.csv or .parquet, or JSON of pytest-benchmark or "
        "pyperf. Without CAND, also the folder of a stored bench ab session.",
    )
    candidate: str | None = argument(
        None,
        metavar="CAND",
        help="The candidate, named in the same ways. Not given with --by, nor for a bench ab session.",
    )
    by: str | None = option(
        None, metavar="AXIS", help="Compare the values of an axis within one run, such as optimizer."
    )
    across: str | None = option(
        None,
        metavar="machines",
        help="Compare runs of different machines or software; their times never gate.",
    )
    plot: str | None = option(
        None, metavar="DIR", help="Also draw the changes with their intervals, into this folder."
    )


@dataclass(eq=False)
class NotComparable(Exception):
    """Two sides, and the differences of their environments."""

    first: Side
    second: Side
    different: Sequence[EnvironmentDifference]


def main(options: CompareOptions) -> int:
    try:
        check(options)
        page = page_of(options)
        print_page(page, options)
        if options.plot is not None:
            for path in draw_comparison(page, Path(options.plot)):
                if path.suffix == ".png":
                    print(shown(path), file=sys.stderr)
    except NotComparable as sides:
        return refuse(sides, options)
    except UsageError as problem:
        report_usage_error(problem, options)
        raise
    report_page(page, options)
    return page.exit_code


def check(options: CompareOptions) -> None:
    """Raises UsageError for options that conflict, independent of the sides."""
    options.check_format()
    if options.across not in (None, "machines"):
        raise UsageError(f"--across {options.across!r} is unknown; there is --across machines")
    if options.candidate is not None and options.by is not None:
        raise UsageError("name two sides to compare, or one and --by AXIS")
    one_side = options.candidate is None and options.by is None
    if one_side and session_of(options.base) is None:
        raise UsageError(
            f"name two sides to compare, or one and --by AXIS; {options.base} is not a session of bench ab"
        )
    if one_side and options.across is not None:
        raise UsageError(
            "--across has no meaning for a session of bench ab: both sides are from one machine; omit it"
        )
    for flag, given in (("--across", options.across), ("--allow-inconclusive", options.allow_inconclusive)):
        if options.by is not None and given:
            raise UsageError(f"{flag} has no meaning with --by, which never fails a build; omit it")
    if options.plot == "":
        raise UsageError("--plot names no folder; name one, such as plots")


def session_of(text: str) -> Path | None:
    """The folder of a `bench ab` session that a user names; None for anything else."""
    if is_foreign(text) or is_table(text):
        return None
    try:
        folder = find(text, sessions=True).path
    except UsageError:
        return None
    return folder if is_session(folder) else None


def page_of(options: CompareOptions) -> ComparisonPage:
    """The page of the comparison that the options name. Raises NotComparable."""
    metrics, keyword, permissive = options.metric or [], options.keyword, options.allow_inconclusive
    if options.candidate is None and options.by is None and (session := session_of(options.base)) is not None:
        return page_of_stored_session(session, metrics, keyword, options.thresholds, permissive)
    whole = read_side(options.base, sessions=options.by is not None)
    first = select_side(whole, keyword)
    rules, file = threshold_rules(options.thresholds)
    if options.by is not None:
        return page_of_axis(first, options.by, metrics, rules, file)
    assert options.candidate is not None
    second = select_side(aligned(whole, read_side(options.candidate)), keyword, may_be_empty=True)
    check_common(first, second)
    different = differences_that_matter(first, second, metrics)
    if different and options.across is None:
        raise NotComparable(first, second, different)
    return page_of_sides(first, second, metrics, rules, file, bool(different), permissive)


@dataclass(frozen=True)
class _SideCase:
    """A case of a side, in the form that -k needs."""

    id: str
    used: Mapping[str, Any]


def select_side(side: Side, keyword: str | None, may_be_empty: bool = False) -> Side:
    """The side with the cases that -k selects. Raises UsageError if it selects none."""
    if keyword is None:
        return side
    takes = parse(keyword)
    cases = {
        name: case for name, case in side.cases.items() if takes(_SideCase(name, side.axes.get(name, {})))
    }
    if not cases and not may_be_empty:
        raise UsageError(
            f"-k {keyword!r} matches none of the {counted(len(side.cases), 'case')} of {side.name}"
        )
    axes = {name: values for name, values in side.axes.items() if name in cases}
    return dataclasses.replace(side, cases=cases, axes=axes)


def check_common(first: Side, second: Side) -> None:
    """Raises UsageError if the sides have no case in common."""
    if first.cases.keys() & second.cases.keys():
        return
    there = [
        f"{len(side.cases)}, such as {next(iter(side.cases))}" if side.cases else "none that -k selects"
        for side in (first, second)
    ]
    raise UsageError(
        f"{first.name} and {second.name} have no case in common: the first has {there[0]}, the second {there[1]}; "
        f"compare runs of the same suites"
    )


def differences_that_matter(first: Side, second: Side, metrics: Sequence[str]) -> list[EnvironmentDifference]:
    """The differences of machine and software that change these metrics, if both environments are known."""
    if first.environment is None or second.environment is None:
        return []
    observed = {name for case in first.cases.values() for name in case.observed}
    of = differences_for_counts if are_exact(metrics, observed) else differences
    return of(first.environment, second.environment)


def refuse(sides: NotComparable, options: CompareOptions) -> int:
    """Prints the differences of the sides, with the remedy."""
    first, second = sides.first, sides.second
    what = f"{first.name} and {second.name} are not comparable:"
    facts = [environment_said(one) for one in sides.different]
    remedy = "measure both alike, or compare anyway with --across machines"
    if first.kind == "baseline":
        remedy = f"renew the baseline here with: bench baseline save {first.name} RUN; or --across machines"
    print_remark(what)
    print(*(f"  {fact}" for fact in facts), sep="\n", file=sys.stderr)
    print_remark(remedy)
    report_not_comparable(f"{what} {'; '.join(facts)}", options)
    return NOT_COMPARABLE
