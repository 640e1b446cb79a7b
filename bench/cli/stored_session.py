"""A session that `bench ab` has kept, judged again from its launches: the same pairs, the same test, the same page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ResultsError, UsageError
from .comparison_options import check_asked, phases, rules_of

if TYPE_CHECKING:
    from ..analysis.compare.comparable import ComparisonOptions
    from ..analysis.compare.policy import ThresholdRule
    from ..analysis.compare.side_by_side import SideBySide
    from ..measurement import Environment
    from ..report.comparison import ComparisonPage
    from ..results.ab_session import StoredSession


def side_by_side(metrics: Sequence[str], rules: Sequence[ThresholdRule]) -> ComparisonOptions:
    """What is asked of launches that are measured in pairs: times are told apart from a percent on."""
    from ..analysis.compare.comparable import ComparisonOptions
    from ..analysis.compare.policy import SIDE_BY_SIDE, THRESHOLDS

    return ComparisonOptions(metrics, rules, standards={**THRESHOLDS, "time": SIDE_BY_SIDE})


def judged(session: StoredSession, asked: ComparisonOptions, keyword: str | None = None) -> SideBySide:
    """The judge, told of all pairs in their order. Raises UsageError where -k takes no case."""
    from ..analysis.compare.side_by_side import Matched, SideBySide
    from ..analysis.compare.sides import CaseSide
    from ..suite.case import MOST_PAIRS
    from ..suite.selection import parse

    chosen = dict(session.names)
    if keyword is not None:
        chosen = {name: pair for name, pair in chosen.items() if any(map(parse(keyword), pair))}
    if not chosen:
        if keyword is None or not session.names:
            raise ResultsError(f"{session.path} holds no case that both sides have; measure again: bench ab")
        raise UsageError(f"-k {keyword!r} matches none of the {len(session.names)} cases of {session.path}")
    matched = [
        Matched(name, CaseSide(base.suite, base.device), CaseSide(candidate.suite, candidate.device))
        for name, (base, candidate) in chosen.items()
    ]
    judge = SideBySide(matched, asked, session.most or MOST_PAIRS, session.counts)
    for pair in session.pairs:
        if pair.name in chosen:
            judge.add(pair.name, pair.number, pair.records, pair.base_led)
    return judge


def page_of_session(
    path: Path, metrics: Sequence[str], keyword: str | None, thresholds: Path | None, allow_inconclusive: bool
) -> ComparisonPage:
    """The page of a session as `bench ab` made it, under these thresholds. Raises UsageError for what it cannot say."""
    from ..results import ab_session as session

    kept = session.read(path)
    rules, file = rules_of(thresholds)
    asked = side_by_side(metrics, rules)
    judge = judged(kept, asked, keyword)
    page = page_of_pairs(
        judge, kept.labels, kept.only, [*kept.notes, *gate_here(kept.environments[1])], allow_inconclusive
    )
    if any(map(judge.pairs, judge.cases)):
        check_asked(judge.sides(*kept.labels)[0], asked, file)
    return page


def page_of_pairs(
    judge: SideBySide,
    labels: tuple[str, str],
    only: tuple[Sequence[str], Sequence[str]],
    notes: Sequence[str],
    allow_inconclusive: bool,
) -> ComparisonPage:
    """All verdicts on pairs as the page that every surface says; `only` are the cases that one side alone has."""
    from ..analysis.compare.verdict import outcome
    from ..report.comparison import ComparisonPage
    from ..report.reason_words import effort_said

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


def gate_here(environment: Environment | None) -> list[str]:
    """How good the gate is on this machine, where a self-test has told."""
    from ..ab.error_rates import Decision, scores
    from ..results import selftests

    try:
        made = [] if environment is None else [Decision(**one) for one in selftests.latest(environment)]
    except TypeError:  # damaged, or of another version: it cannot tell
        return []
    said = [f"{one.arm}: {one.found} of {one.decisions} called" for one in scores(made)]
    return [f"the gate on this machine, by bench selftest: {'; '.join(said)}"] if said else []
