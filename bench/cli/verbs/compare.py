"""The verbs of the gate on tables: `compare` and `baseline`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ...errors import UsageError
from ...plurals import counted
from ...report.reason_words import environment_said
from ...report.units import plain
from ...suite.matrix import column
from ..comparison_options import check_asked, phases, rules_of
from ..ignore_lines import about_baseline
from ..options import (
    FORMATS,
    AllowInconclusive,
    Debug,
    Everything,
    Form,
    Junit,
    Keyword,
    Metrics,
    Run,
    Thresholds,
    Verb,
)
from ..screen import print_pages

if TYPE_CHECKING:
    from ...analysis.compare.environments import EnvironmentDifference
    from ...analysis.compare.policy import ThresholdRule
    from ...analysis.compare.sides import Side
    from ...report.comparison import ComparisonPage

NOT_COMPARABLE = 4
NOTHING_GATES = (
    "across machines no row gates here: times never do, counts only under the same torch and kinds of device"
)

AnySide = Annotated[
    str,
    typer.Argument(
        metavar="BASE",
        help="What to compare with: a run, a baseline, a summary.csv or .parquet, or JSON of pytest-benchmark or "
        "pyperf; or alone, the folder that bench ab kept.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("compare", cls=Verb)(compare)
    baseline = typer.Typer(help="Keep runs to compare with later.", no_args_is_help=True)
    baseline.command("save", cls=Verb)(save)
    baseline.command("list", cls=Verb)(list_baselines)
    app.add_typer(baseline, name="baseline")


def compare(
    base: AnySide,
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="CAND",
            help="What is new, named in the same ways. Left out with --by, and for what bench ab kept.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="AXIS", help="Compare the values of an axis within one run, such as optimizer."),
    ] = None,
    metric: Metrics = None,
    keyword: Keyword = None,
    thresholds: Thresholds = None,
    across: Annotated[
        str | None,
        typer.Option(metavar="machines", help="Compare runs of unlike machines or software anyway."),
    ] = None,
    allow_inconclusive: AllowInconclusive = False,
    everything: Everything = False,
    form: Form = "table",
    junit: Junit = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Also draw the changes with their intervals, into this folder."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Compare two runs, or the values of an axis within one; exit 1 where something regressed."""
    log = sys.stdout if form == "table" else sys.stderr
    try:
        check_flags(base, candidate, by, across, allow_inconclusive, form, plot)
        page = page_of(base, candidate, by, metric or [], keyword, thresholds, across, allow_inconclusive)
        if not isinstance(page, NotComparable):
            say(page, form, everything)
            if plot is not None:
                draw(page, Path(plot))
    except UsageError as problem:
        if junit is not None:
            write_error(junit, "usage", str(problem))
        raise
    if isinstance(page, NotComparable):
        return say_not_comparable(page, junit, log)
    ci(page, junit, log)
    return page.exit_code


def check_flags(
    base: str,
    candidate: str | None,
    by: str | None,
    across: str | None,
    allow_inconclusive: bool,
    form: str,
    plot: str | None,
) -> None:
    """Raises UsageError for what cannot be meant, whatever the sides are."""
    if form not in FORMATS:
        raise UsageError(f"unknown format {form!r}; there are {', '.join(FORMATS)}")
    if across not in (None, "machines"):
        raise UsageError(f"--across {across!r} is unknown; there is --across machines")
    if candidate is not None and by is not None:
        raise UsageError("name two sides to compare, or one and --by AXIS")
    session = candidate is None and by is None
    if session and session_of(base) is None:
        raise UsageError(
            f"name two sides to compare, or one and --by AXIS; {base} is nothing that bench ab has kept"
        )
    if session and across is not None:
        raise UsageError(
            "--across has no meaning for what bench ab has kept: both sides are of one machine; leave it out"
        )
    for flag, given in (("--across", across), ("--allow-inconclusive", allow_inconclusive)):
        if by is not None and given:
            raise UsageError(
                f"{flag} has no meaning with --by, which answers and fails no build; leave it out"
            )
    if plot == "":
        raise UsageError("--plot names no folder; name one, such as plots")


def session_of(text: str) -> Path | None:
    """The folder of what `bench ab` has kept that a user means; None for anything else."""
    from ...results.folder import find, is_session
    from ...results.table_files import is_foreign, is_table

    if is_foreign(text) or is_table(text):
        return None
    try:
        folder = find(text, sessions=True).path
    except UsageError:
        return None
    return folder if is_session(folder) else None


@dataclass(frozen=True)
class NotComparable:
    """Two sides, and in what they differ."""

    first: Side
    second: Side
    different: Sequence[EnvironmentDifference]


def page_of(
    base: str,
    candidate: str | None,
    by: str | None,
    metrics: Sequence[str],
    keyword: str | None,
    thresholds: Path | None,
    across: str | None,
    allow_inconclusive: bool,
) -> ComparisonPage | NotComparable:
    """What came of comparing what these words name."""
    from ...analysis.compare.sides import aligned
    from ...results.sides import read_side

    session = session_of(base) if candidate is None and by is None else None
    if session is not None:
        from ..stored_session import page_of_session

        return page_of_session(session, metrics, keyword, thresholds, allow_inconclusive)
    whole = read_side(base, sessions=by is not None)
    first = selected(whole, keyword)
    rules, file = rules_of(thresholds)
    if by is not None:
        return within(first, by, metrics, rules, file)
    assert candidate is not None
    second = selected(aligned(whole, read_side(candidate)), keyword, may_be_empty=True)
    check_common(first, second)
    different = not_alike(first, second, metrics)
    if different and across is None:
        return NotComparable(first, second, different)
    return between(first, second, metrics, rules, file, bool(different), allow_inconclusive)


@dataclass(frozen=True)
class _Case:
    """A case of a side, as -k looks at it."""

    id: str
    used: Mapping[str, Any]


def selected(side: Side, keyword: str | None, may_be_empty: bool = False) -> Side:
    """The side with the cases that -k takes. Raises UsageError where there is none."""
    if keyword is None:
        return side
    from ...suite.selection import parse

    takes = parse(keyword)
    cases = {name: case for name, case in side.cases.items() if takes(_Case(name, side.axes.get(name, {})))}
    if not cases and not may_be_empty:
        raise UsageError(
            f"-k {keyword!r} matches none of the {counted(len(side.cases), 'case')} of {side.name}"
        )
    axes = {name: values for name, values in side.axes.items() if name in cases}
    return dataclasses.replace(side, cases=cases, axes=axes)


def within(
    side: Side, axis: str, metrics: Sequence[str], rules: Sequence[ThresholdRule], file: Path | None
) -> ComparisonPage:
    """The page of the values of an axis. Nothing of it fails a build: it is an answer, no gate."""
    from ...analysis.compare.by_axis import by_axis
    from ...analysis.compare.comparable import ComparisonOptions
    from ...report.comparison import ComparisonPage

    there = sorted({name for axes in side.axes.values() for name in axes})
    if axis not in there:
        axis = column(axis)  # as --axis gave it
    if axis not in there:
        raise UsageError(f"{side.name} has no axis {axis!r}; it has {', '.join(there) or 'none'}")
    asked = ComparisonOptions(metrics, rules)
    check_asked(side, asked, file)
    compared = by_axis(side, axis, asked)
    if not compared.rows:
        raise UsageError(f"no two cases of {side.name} differ in {axis!r} alone; there is nothing to compare")
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


def between(
    first: Side,
    second: Side,
    metrics: Sequence[str],
    rules: Sequence[ThresholdRule],
    file: Path | None,
    across: bool,
    allow_inconclusive: bool,
) -> ComparisonPage:
    """The page of two sides that were measured at different times."""
    from ...analysis.compare.comparable import ComparisonOptions
    from ...analysis.compare.rows import compare as compare_sides
    from ...analysis.compare.verdict import outcome
    from ...report.comparison import ComparisonPage
    from ...results.history import between_runs_of

    asked = ComparisonOptions(metrics, rules, across, between_runs_of(first, second))
    compared = compare_sides(first, second, asked)
    check_asked(first, asked, file)
    notes = [*first.notes, *second.notes, *unread(first, second)]
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
        places=places_of(second) if on_actions() else {},
    )


def unread(first: Side, second: Side) -> Iterator[str]:
    """Why there is nothing of a case in a file, where no row of the comparison says it."""
    from ...results.table_grid import MOST_NOTES

    for side, other in ((first, None), (second, first)):
        found = {
            name: case.failure
            for name, case in side.cases.items()
            if not side.folder  # failures of a run have rows of their own
            and case.failure
            and not (other is not None and name in other.cases and other.cases[name].observed)
        }
        yield from (
            f"not measured in {side.name}: {name}: {why}" for name, why in [*found.items()][:MOST_NOTES]
        )
        if len(found) > MOST_NOTES:
            yield f"not measured in {side.name}: {counted(len(found) - MOST_NOTES, 'other case')}"


def places_of(side: Side) -> Mapping[str, tuple[str, int]]:
    """By suite of a run where in the repository at hand it is declared."""
    from ...ab.source_lines import places
    from ...results.folder import RunFolder
    from ...system.git import git

    files = RunFolder(Path(side.folder)).plan().get("files") if side.folder else None
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        return {}
    try:
        return places(files, Path(git(Path.cwd(), "rev-parse", "--show-toplevel")))
    except UsageError:
        return {}


def check_common(first: Side, second: Side) -> None:
    """Raises UsageError where the sides have no case in common."""
    if first.cases.keys() & second.cases.keys():
        return
    there = [
        f"{len(side.cases)}, such as {next(iter(side.cases))}" if side.cases else "none taken by -k"
        for side in (first, second)
    ]
    raise UsageError(
        f"{first.name} and {second.name} have no case in common: the first has {there[0]}, the second {there[1]}; "
        f"compare runs of the same suites"
    )


def not_alike(first: Side, second: Side, metrics: Sequence[str]) -> list[EnvironmentDifference]:
    """In what the two sides' machines and software differ that matters to these metrics, as far as both are known."""
    from ...analysis.compare.comparable import are_exact
    from ...analysis.compare.environments import differences, differences_for_counts

    if first.environment is None or second.environment is None:
        return []
    observed = {name for case in first.cases.values() for name in case.observed}
    matters = differences_for_counts if are_exact(metrics, observed) else differences
    return matters(first.environment, second.environment)


def say_not_comparable(sides: NotComparable, junit: Path | None, log: TextIO) -> int:
    from ...report.formats import github, markdown

    first, second = sides.first, sides.second
    what = f"{first.name} and {second.name} are not comparable:"
    facts = [environment_said(one) for one in sides.different]
    remedy = "measure both alike, or compare anyway with --across machines"
    if first.kind == "baseline":
        remedy = f"renew the baseline here with: bench baseline save {first.name} RUN; or --across machines"
    print(plain(f"bench: {what}"), *(f"  {fact}" for fact in facts), sep="\n", file=sys.stderr)
    print(plain(f"bench: {remedy}"), file=sys.stderr)
    message = f"{what} {'; '.join(facts)}"
    if junit is not None:
        write_error(junit, "not_comparable", message)
    tell_github([github.annotation("error", "not comparable", message)], markdown.error(message), log)
    return NOT_COMPARABLE


def say(page: ComparisonPage, form: str, everything: bool) -> None:
    """Prints the page in the format that was asked for."""
    from ...report.formats import render
    from ...report.terminal.comparison import table

    if form == "table":
        print_pages(table(page, everything))
        return
    print(render(page, form), end="")
    if form == "csv":
        for note in page.remarks:
            print(plain(f"bench: {note}"), file=sys.stderr)


def ci(page: ComparisonPage, junit: Path | None, log: TextIO) -> None:
    """What CI servers read: JUnit XML where it is asked for, annotations and the step summary on GitHub Actions."""
    from ...report.formats import github, markdown
    from ...report.formats import junit as junit_xml

    if junit is not None:
        write(junit, junit_xml.render(page), "--junit")
    tell_github(github.workflow_commands(page), markdown.render(page), log)


def tell_github(annotations: Iterable[str], markdown: str, log: TextIO) -> None:
    """Annotations and the step summary, where this is a step of GitHub Actions.

    Actions reads annotations from both streams: they go to the `log`, which is not the one that a program reads.
    """
    if not on_actions():
        return
    for line in annotations:
        print(line, file=log)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(f"\n{markdown}\n")  # blank lines keep it apart from what others write there
        except OSError as problem:
            line = f"bench: the step summary {summary} cannot be written: {problem.strerror}"
            print(plain(line), file=sys.stderr)


def on_actions() -> bool:
    """Whether this is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def write_error(junit: Path, kind: str, message: str) -> None:
    """In the place of an older report, so that nobody reads that for this comparison."""
    from ...report.formats import junit as junit_xml

    write(junit, junit_xml.error(kind, message), "--junit")


def draw(page: ComparisonPage, folder: Path) -> None:
    """The forest plot of the rows, as PNG and SVG."""
    from ...report.plots import draw_comparison
    from ...results.folder import shown

    for path in draw_comparison(page, folder):
        if path.suffix == ".png":
            print(shown(path), file=sys.stderr)


def write(path: Path, text: str, flag: str) -> None:
    """Raises UsageError where a file that was asked for cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{flag} {path} cannot be written: {problem.strerror}; name another file") from None


def save(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    run: Run = "latest",
    debug: Debug = False,
) -> int:
    """Keep a run as a baseline in results/baselines/: summary, counts and environment."""
    from ...results import baselines
    from ...results.folder import shown

    print(f"kept: {shown(baselines.save(name, run))}")
    if ignored := about_baseline(Path.cwd(), name):
        print(plain(ignored))
    return 0


def list_baselines(debug: Debug = False) -> int:
    """List the baselines."""
    from ...results import baselines

    for name in baselines.names():
        print(name)
    return 0
