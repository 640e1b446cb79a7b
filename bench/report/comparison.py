"""A comparison on the terminal, and the words of its rows that every other surface takes from here.

A row is judged by r, of which more is worse; it is said as the change of the metric itself, as its users expect:
a throughput that fell reads -3 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType

from ..analysis.compare.comparable import BySample
from ..analysis.compare.verdict import EXACT, Row, undecided
from ..measurement import STAGES
from ..plurals import counted as things
from .layout import KEPT, LIST, TEXT, Column, Grid, Words, shortened
from .quality_words import as_before, fell_or_moved, spreads
from .reasons import reason_said
from .safe_lines import SafeLines
from .units import NOTHING, counts, digits, exactly, percent, quantity, scale
from .work_words import REMEDY, by_the_sample, different_work, remedy, speaks

# What matters first stands first.
ORDER = ("different_work", "regressed", "moved", "improved", "not_measured", "inconclusive", "equivalent")
_WEIGHTS = ("fail", "warn", "")
_UNLIKE = frozenset({"other_machine", "other_software", "other_cpu"})

_STYLES = {
    "regressed": "bold red",
    "moved": "bold yellow",
    "improved": "green",
    "different_work": "bold red",
    "not_measured": "yellow",
    "inconclusive": "yellow",
    "equivalent": "dim",
}
_OUTCOMES = {0: "Passed", 1: "Failed", 3: "Undecided", 4: "Not comparable"}
_NOT_KNOWN = "not known"
_FROM_ZERO = "was zero"
_NO_LIMIT = "no limit"
_HUGE = 1e4  # as a share; percents of more digits say nothing
_LONGEST = 200  # characters of a text in a table


@dataclass(frozen=True)
class ComparisonPage:
    """What all surfaces say of one comparison. Every text in it may be the user's own.

    `phases` has, by case and metric, a short sentence on the phase that moved; `notes` are remarks of one line;
    `by_sample` the cases whose sides are meant to do other work; `places` has by suite the file, as the repository
    has it, and the line that its rows are about, where that is known.
    """

    base: str
    candidate: str
    rows: Sequence[Row]
    only_base: Sequence[str]
    only_candidate: Sequence[str]
    notes: Sequence[str]
    phases: Mapping[tuple[str, str], str]
    exit_code: int
    paired: bool
    allow_inconclusive: bool = False
    by_sample: Sequence[BySample] = ()
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """All notes, the cases that are compared by the sample before the others."""
        return [*by_the_sample(self.by_sample), *self.notes]

    @property
    def is_gate(self) -> bool:
        """False where the page only answers a question, such as which optimizer is the faster."""
        return self.exit_code != 0 or not self.rows or any(row.gates for row in self.rows)

    def is_gone(self, row: Row) -> bool:
        """Whether the row only stands for a case that the candidate does not have."""
        return row.verdict == "not_measured" and row.case in self.only_base

    def phase(self, row: Row) -> str:
        return self.phases.get((row.case, row.metric.name), "")


def table(page: ComparisonPage, everything: bool) -> Iterator[RenderableType]:
    """The verdict, the rows, then all that is to be said beside them. Equivalent rows are a line, or all shown."""
    return map(SafeLines, _table(page, everything))


def _table(page: ComparisonPage, everything: bool) -> Iterator[RenderableType]:
    rows = [row for row in ordered(page.rows) if not page.is_gone(row)]
    shown = [row for row in rows if everything or not (row.folded or row.verdict == "equivalent")]
    same, names = told_apart(rows)
    head = [
        Words(verdict(page), "bold"),
        Words(f"base {page.base}, candidate {page.candidate}: {how(page)}", "dim"),
        *(Words(f"{whose}: {parts}", "dim") for whose, parts in same.items() if shown),
    ]
    if shown:
        yield _rows(shown, names, page.is_gate, head)
    else:
        yield from head
    yield from map(Words, _below(page, rows, everything))


def verdict(page: ComparisonPage) -> str:
    """One line: 'Passed; quality fell (quality.test_accuracy 0.767 to 0.198): 1 regressed (1 warn), 10 equivalent'."""
    quality = fell_or_moved(page.rows)
    if not page.is_gate:
        return ": ".join(filter(None, (quality, counted(page.rows, gate=False))))
    outcome = _OUTCOMES.get(page.exit_code, f"Exit code {page.exit_code}")
    said = "; ".join(filter(None, (outcome, quality)))
    return f"{said}: {counted(page.rows) or 'nothing to compare'}"


def counted(rows: Iterable[Row], gate: bool = True) -> str:
    """How many rows of each verdict, and in a gate how many of these do not do what one expects of it.

    Of a case that did different work there is one.
    """
    by_verdict: dict[str, list[Row]] = {name: [] for name in ORDER}
    for row in rows:
        if row.folded:
            continue
        by_verdict.setdefault(row.verdict, []).append(row)
    return ", ".join(
        f"{len(of)} {word(name)}{_but(of) if gate else ''}" for name, of in by_verdict.items() if of
    )


def _but(rows: Sequence[Row]) -> str:
    """What rows do against their verdict: '2 regressed' under a passed build is a riddle."""
    found: dict[str, int] = {}
    for row in rows:
        if remark := _against_the_verdict(row):
            found[remark] = found.get(remark, 0) + 1
    return f" ({', '.join(f'{number} {remark}' for remark, number in found.items())})" if found else ""


def _against_the_verdict(row: Row) -> str:
    """One expects that what regressed, or did different work, fails a build, and that nothing else does."""
    does = weight(row)
    if row.verdict in ("regressed", "different_work") and not row.folded:
        return {"fail": "", "warn": "warn"}.get(does, "not gated")
    return does


def how(page: ComparisonPage) -> str:
    return "measured side by side" if page.paired else "measured at different times"


def word(name: str) -> str:
    """The name of a verdict or of a caveat, as words."""
    return name.replace("_", " ")


def weight(row: Row) -> str:
    """What the row does to a build: 'fail', 'warn' or nothing.

    The policy of a row that does not gate may still read 'fail', which then means nothing.
    """
    if row.folded:
        return ""
    action = row.policy.regression if row.verdict == "different_work" else row.action
    if action == "warn":
        return "warn"
    return "fail" if action == "fail" and row.gates else ""


def decides(page: ComparisonPage, row: Row) -> bool:
    """Whether an undecided row is why the comparison as a whole is: the exit code is 3 for its sake."""
    return page.exit_code == 3 and any(row is one for one in undecided(page.rows, page.allow_inconclusive))


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Regressed first, of these what fails a build, and of that the largest; what has no ratio comes last.

    What machines that are not alike tell nothing of comes behind all that they do tell of.
    """
    return sorted(
        rows,
        key=lambda row: (
            *(not _UNLIKE.isdisjoint(row.caveats), _place(row.verdict)),
            *(_WEIGHTS.index(weight(row)), -_size(row)),
        ),
    )


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _size(row: Row) -> float:
    """How far r is from 1, the same for twice and for half."""
    if row.ratio is None or math.isnan(row.ratio) or row.ratio < 0:
        return -1.0
    return abs(math.log(row.ratio)) if 0 < row.ratio < math.inf else math.inf


def told_apart(rows: Iterable[Row]) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """What all cases have in common, and those of each suite besides, spelt out; by suite and case what tells apart.

    A single case is all in common, and is told apart by nothing.
    """
    cases = {(row.suite, row.case): _parts(row.suite, row.case) for row in rows}
    suites: dict[str, list[list[str]]] = {}
    for (suite, _), parts in cases.items():
        suites.setdefault(suite, []).append(parts)
    everywhere = _common(cases.values())
    common = {suite: _common(of) for suite, of in suites.items()}
    same = {"every case": ", ".join(everywhere)}
    for suite, parts in common.items():
        beside = [part for part in parts if part not in (*everywhere, suite)]
        same[f"every case of {suite}"] = ", ".join(beside)
    names = {}
    for (suite, case), parts in cases.items():
        own = [part for part in parts if part not in common[suite]]
        if not own and len(suites[suite]) > 1:
            own = [case]
        names[suite, case] = ", ".join([suite, *own] if len(suites) > 1 else own)
    return {whose: parts for whose, parts in same.items() if parts}, names


def _common(cases: Iterable[Sequence[str]]) -> list[str]:
    """The parts that all of these cases have, in the order of the first."""
    first, *others = [*cases] or [[]]
    return [part for part in first if all(part in other for other in others)]


def _parts(suite: str, case: str) -> list[str]:
    """The suite, then each axis with its value, in which there may be slashes too."""
    axes = case[len(suite) + 1 :] if case.startswith(f"{suite}/") else "" if case == suite else case
    return [part for part in (suite, *re.split(r"/(?=[^\W\d]\w*=)", axes)) if part]


def sides(row: Row) -> tuple[str, str]:
    """Both values with their unit, under one prefix, so that they compare at a glance."""
    unit = row.metric.unit
    factor, label = scale((row.base, row.candidate), unit)
    return _value(row.base, unit, factor, label), _value(row.candidate, unit, factor, label)


def _value(value: float | None, unit: str, factor: float, label: str) -> str:
    if value is None or math.isnan(value):
        return NOTHING
    if not math.isfinite(value):
        return "infinite"
    if exact := exactly(float(value), unit):
        return exact
    return f"{digits(value * factor)} {label}".rstrip()


def change(row: Row) -> str:
    """Of the metric itself: '+3.1 % (+1.0 to +5.2 %)', or a difference: '+12 operators', '-0.569' of an accuracy."""
    if row.work and not speaks(row):
        return "not compared"
    if row.metric.kind in EXACT or row.metric.kind == "quality":
        return _difference(row)
    ratio, low, high = (_of_the_metric(row, end) for end in (row.ratio, row.low, row.high))
    if row.metric.better == "more":
        low, high = high, low
    said = signed(ratio)
    if ratio is None or not math.isfinite(ratio) or low is None or high is None:
        return said
    return f"{said} ({_span(low, high)})"


def _of_the_metric(row: Row, ratio: float | None) -> float | None:
    """Candidate over base, from r."""
    if ratio is None or row.metric.better != "more":
        return ratio
    return 1 / ratio if ratio else math.inf


def signed(ratio: float | None) -> str:
    """A ratio as a signed percent; a word where there is no number to say."""
    if ratio is None or math.isnan(ratio):
        return _NOT_KNOWN
    if ratio == math.inf:
        return _FROM_ZERO
    share = ratio - 1
    if share > _HUGE:
        return f"{digits(ratio)} times"
    return f"{'+' if share > 0 else '-' if share < 0 else ''}{percent(abs(share))}"


def _span(low: float, high: float) -> str:
    """Both ends with their signs, the percent sign once where both are percents."""
    ends = [_NO_LIMIT if end == math.inf else signed(end) for end in (low, high)]
    if all(end.endswith(" %") for end in ends):
        ends[0] = ends[0].removesuffix(" %")
    return " to ".join(ends)


def _difference(row: Row) -> str:
    known = [value for value in (row.base, row.candidate) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return _NOT_KNOWN
    more = known[1] - known[0]
    if not more:
        return "none"
    if row.metric.kind == "quality":
        return f"{'+' if more > 0 else '-'}{digits(abs(more))}"
    unit = row.metric.unit
    amount = exactly(float(abs(more)), unit) or quantity(abs(more), "1" if counts(unit) else unit)
    return f"{'+' if more > 0 else '-'}{amount} {_counted_things(row)}".rstrip()


def _counted_things(row: Row) -> str:
    """What a count counts, from its name: its unit says no more than that it is one."""
    if not counts(row.metric.unit):
        return ""
    _, *names = row.metric.name.split(".")
    names = names[1:] if names[0] in STAGES else names
    things = word(" ".join("operators" if name == "ops" else name for name in names))
    return things if row.metric.unit == "1" else f"{things} a step"


def sees(row: Row) -> str:
    """The smallest rise that could have been seen; nothing where that is not known."""
    if row.smallest is None or not row.smallest < _HUGE:
        return ""
    return percent(row.smallest)


def judged(row: Row, gate: bool = True) -> str:
    """The verdict, in a gate with what the row does to a build where one would not expect it."""
    remark = _against_the_verdict(row) if gate else ""
    return f"{word(row.verdict)} ({remark})" if remark else word(row.verdict)


def _rows(
    rows: Sequence[Row], names: Mapping[tuple[str, str], str], gate: bool, head: Sequence[RenderableType]
) -> Grid:
    """The rows as a table; where it is narrow, both values go before the change does."""
    styles = [_STYLES.get(row.verdict, "") for row in rows]
    changes = [change(row).partition(" (") for row in rows]

    def column(head: str, cells: Iterable[str], priority: int = KEPT, **how: Any) -> Column:
        return Column(head, [shortened(cell, _LONGEST) for cell in cells], priority, **how)

    return Grid(
        [
            column("case", (names[row.suite, row.case] for row in rows), folds=TEXT),
            column("metric", (row.metric.name for row in rows)),
            column("base", (sides(row)[0] for row in rows), 3, right=True),
            column("candidate", (sides(row)[1] for row in rows), 2, right=True),
            column("change", (one for one, _, _ in changes), folds=TEXT, styles=styles),
            column("95 % interval", (rest.removesuffix(")") for *_, rest in changes), 1, styles=styles),
            column("verdict", (judged(row, gate) for row in rows), styles=styles),
            column("sees from", map(sees, rows), 5, right=True),
            column("caveats", (LIST.join(map(word, row.caveats)) for row in rows), 4, folds=LIST),
        ],
        head,
        elsewhere="--format json",
    )


def _below(page: ComparisonPage, rows: Sequence[Row], everything: bool) -> Iterator[str]:
    """What the table does not hold, a line each."""
    yield from different_work(rows)
    if rule := remedy(page.rows):
        yield f"{REMEDY}:"
        yield from (f"    {line}" for line in rule)
    if not everything:
        same = sum(row.verdict == "equivalent" for row in rows)
        if same:
            yield f"{things(same, 'row')} equivalent"
        yield from as_before(rows)
    for row in rows:
        if page.phase(row):
            yield f"{row.case}, {row.metric.name}: {page.phase(row)}"
    yield from spreads(rows)
    yield from outvoted(rows)
    yield from reasons(rows)
    yield from (f"only in the base: {case}" for case in page.only_base)
    yield from (f"only in the candidate, which does not gate: {case}" for case in page.only_candidate)
    yield from page.remarks


def outvoted(rows: Iterable[Row]) -> list[str]:
    """A line where the interval that is printed would have said more than the verdict does."""
    found = [row for row in rows if _says_more(row)]
    if not found:
        return []
    family = max(row.family for row in found)
    return [
        f"{things(len(found), 'row lies', 'rows lie')} outside their 95 % interval but not outside the one that "
        f"{things(family, 'gated row calls', 'gated rows call')} for: inconclusive"
    ]


def _says_more(row: Row) -> bool:
    low, ratio, high, base = row.low, row.ratio, row.high, row.base
    if low is None or ratio is None or high is None or base is None or not row.family:
        return False
    most = 1 + row.policy.threshold(base)
    outside = (low > 1 and ratio > most) or (high < 1 and ratio < 1 / most)
    return outside and row.verdict == "inconclusive"


def reasons(rows: Iterable[Row]) -> list[str]:
    """Why rows were not measured: a line for each case and reason, since a failure leaves all metrics out."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            found.setdefault((row.case, reason_said(row.reason)), []).append(row.metric.name)
    return [
        f"{case}, {names[0] if len(names) == 1 else things(len(names), 'metric')}: {reason}"
        for (case, reason), names in found.items()
    ]
