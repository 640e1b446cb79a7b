"""Builds the page of a comparison from two sides, the pairs of an A/B, or the values of an axis.

Its thresholds and metrics are checked against what the sides have.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..ab.error_rates import Decision, error_rates
from ..ab.source_lines import places
from ..analysis.compare.attribution import moved_phase
from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.policy import ThresholdRule
from ..analysis.compare.rows import by_axis, compare
from ..analysis.compare.side_by_side import SideBySide
from ..analysis.compare.sides import Side
from ..analysis.compare.verdict import Row, outcome
from ..analysis.compare.work import Work
from ..errors import UsageError
from ..measurement import STAGES, Environment
from ..plurals import counted
from ..report.comparison import ComparisonPage
from ..report.reason_words import effort_said, phase_said
from ..results.folder import RunFolder
from ..results.history import between_runs_of, latest_selftest
from ..results.table_grid import MOST_NOTES
from ..suite.matrix import column
from ..system.git import git
from ..thresholds.rules import check_used, read_thresholds
from ..thresholds.suggestions import meant, some
from .comparison_output import on_actions

THRESHOLDS = Path("thresholds.toml")
NOTHING_GATES = (
    "across machines no row gates here: times never do, counts only under the same torch and kinds of device"
)


def page_of_sides(
    first: Side,
    second: Side,
    metrics: Sequence[str],
    rules: Sequence[ThresholdRule],
    file: Path | None,
    across: bool,
    allow_inconclusive: bool,
) -> ComparisonPage:
    """The page of two sides that were measured at different times; `file` is the source of the rules."""
    asked = ComparisonOptions(metrics, rules, across, between_runs_of(first, second))
    compared = compare(first, second, asked)
    check_patterns(first, asked, file)
    notes = [*first.notes, *second.notes, *_not_measured(first, second)]
    if across and not any(row.gates for row in compared.rows):
        notes.append(NOTHING_GATES)
    return ComparisonPage(
        base=first.name,
        candidate=second.name,
        rows=compared.rows,
        only_base=compared.only_base,
        only_candidate=compared.only_candidate,
        notes=notes,
        phases=phases(first, second, compared.rows),
        exit_code=outcome(compared.rows, allow_inconclusive),
        paired=False,
        allow_inconclusive=allow_inconclusive,
        by_sample=compared.by_sample,
        places=_places(second) if on_actions() else {},
    )


def page_of_axis(
    side: Side, axis: str, metrics: Sequence[str], rules: Sequence[ThresholdRule], file: Path | None
) -> ComparisonPage:
    """The page of the values of an axis within one side. It never fails a build."""
    there = sorted({name for axes in side.axes.values() for name in axes})
    if axis not in there:
        axis = column(axis)  # as --axis gave it
    if axis not in there:
        raise UsageError(f"{side.name} has no axis {axis!r}; it has {', '.join(there) or 'none'}")
    asked = ComparisonOptions(metrics, rules)
    check_patterns(side, asked, file)
    compared = by_axis(side, axis, asked)
    if not compared.rows:
        raise UsageError(f"no two cases of {side.name} differ only in {axis!r}; there is nothing to compare")
    return ComparisonPage(
        base=f"{side.name}, {axis}",
        candidate=side.name,
        rows=compared.rows,
        only_base=[],
        only_candidate=[],
        notes=side.notes,
        phases={},
        exit_code=0,
        paired=True,
        by_sample=compared.by_sample,
    )


def page_of_pairs(
    judge: SideBySide,
    labels: tuple[str, str],
    only: tuple[Sequence[str], Sequence[str]],
    notes: Sequence[str],
    allow_inconclusive: bool,
) -> ComparisonPage:
    """The page of the pairs of an A/B; `only` are the cases that only one side has."""
    rows = judge.end()
    base, candidate = judge.sides(*labels)
    return ComparisonPage(
        base=base.name,
        candidate=candidate.name,
        rows=rows,
        only_base=only[0],
        only_candidate=only[1],
        notes=[*effort_said(judge.effort), *notes],
        phases=phases(base, candidate, rows),
        exit_code=outcome(rows, allow_inconclusive),
        paired=True,
        allow_inconclusive=allow_inconclusive,
        by_sample=judge.by_sample,
    )


def phases(first: Side, second: Side, rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """For each time that changed, the phase that changed most; not if the steps of a case differ in their work."""
    moved = {}
    for row in rows:
        if row.case not in first.cases or row.case not in second.cases:
            continue
        work = Work(first.cases[row.case].observed, second.cases[row.case].observed)
        if any(map(work.steps_differ, STAGES)):
            continue
        if row.verdict in ("regressed", "improved") and row.metric.kind == "time":
            change = moved_phase(first.cases[row.case], second.cases[row.case], row.metric.name)
            if change is not None:
                moved[row.case, row.metric.name] = phase_said(change)
    return moved


def error_rate_notes(environment: Environment | None) -> list[str]:
    """The error rates of the gate on this machine, if a self-test has measured them."""
    try:
        decisions = [] if environment is None else [Decision(**one) for one in latest_selftest(environment)]
    except TypeError:  # damaged, or of another version
        return []
    rates = [f"{one.arm}: {one.found} of {one.decisions} found" for one in error_rates(decisions)]
    return [f"the gate on this machine, by bench selftest: {'; '.join(rates)}"] if rates else []


def _not_measured(first: Side, second: Side) -> Iterator[str]:
    """Why cases of a file were not measured, if no row of the comparison shows it."""
    for side, other in ((first, None), (second, first)):
        failures = {
            name: case.failure
            for name, case in side.cases.items()
            if not side.folder  # failures of a run have rows of their own
            and case.failure
            and not (other is not None and name in other.cases and other.cases[name].observed)
        }
        yield from (
            f"not measured in {side.name}: {name}: {why}" for name, why in [*failures.items()][:MOST_NOTES]
        )
        if len(failures) > MOST_NOTES:
            yield f"not measured in {side.name}: {counted(len(failures) - MOST_NOTES, 'other case')}"


def _places(side: Side) -> Mapping[str, tuple[str, int]]:
    """For each suite of a run, the file and line in this repository that declare it."""
    files = RunFolder(Path(side.folder)).plan().get("files") if side.folder else None
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        return {}
    try:
        return places(files, Path(git(Path.cwd(), "rev-parse", "--show-toplevel")))
    except UsageError:
        return {}


def threshold_rules(path: Path | None) -> tuple[Sequence[ThresholdRule], Path | None]:
    """The thresholds in the named file, or in the one in the working directory; and the file."""
    file = path if path is not None else THRESHOLDS if THRESHOLDS.is_file() else None
    return ([], None) if file is None else (read_thresholds(file), file)


def check_metrics(side: Side, patterns: Sequence[str]) -> None:
    """Raises UsageError for a pattern that matches no metric of a side."""
    there = sorted({name for case in side.cases.values() for name in {**case.observed, **case.withheld}})
    for pattern in patterns:
        if pattern not in there and not fnmatch.filter(there, pattern):
            remedy = meant(pattern, there, f"it has {some(there)}")
            raise UsageError(f"{side.name} has no metric {pattern!r}; {remedy}")


def check_patterns(first: Side, asked: ComparisonOptions, file: Path | None) -> None:
    """Raises UsageError for a pattern, on the command line or in the thresholds, that matches nothing."""
    check_metrics(first, asked.metrics)
    if file is not None:
        rows = [
            (name, case.suite, case_id, case.device)
            for case_id, case in first.cases.items()
            for name in {**case.observed, **case.withheld}
        ]
        check_used(asked.rules, rows, file)
