"""The session of an A/B: its launches are measured and judged, or stored launches are judged again."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from ..ab.cases import AbRequest
from ..ab.session import Session
from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.policy import SIDE_BY_SIDE, THRESHOLDS, ThresholdRule
from ..analysis.compare.side_by_side import Matched, SideBySide
from ..analysis.compare.sides import CaseSide
from ..errors import Interrupted, ResultsError, UsageError
from ..machine.telemetry import Telemetry
from ..report.comparison import ComparisonPage
from ..results import ab_session
from ..results.ab_session import StoredSession
from ..suite.case import MOST_PAIRS, Schedule
from ..suite.selection import parse
from .comparison_output import on_actions
from .comparison_pages import check_patterns, error_rate_notes, page_of_pairs, threshold_rules
from .launching import command_line, print_cards_in_use
from .options import LaunchOptions, PairOptions, SuiteOptions
from .progress import PairProgress
from .values import suite_axes


class SuitePairsOptions(SuiteOptions, PairOptions, LaunchOptions):
    """What `bisect` and `selftest` have in common."""

    @property
    def request(self) -> AbRequest:
        return AbRequest(
            suites=self.suites or [],
            keyword=self.keyword,
            overrides=suite_axes(self.axes),
            schedule=Schedule(timeout=self.timeout, seed=self.seed),
            conditions=self.conditions,
            pairs=self.pairs,
            labels={"command": command_line()},
        )


def asked_of_pairs(metrics: Sequence[str], rules: Sequence[ThresholdRule]) -> ComparisonOptions:
    """The request to compare pairs of launches: times have the threshold of pairs."""
    return ComparisonOptions(metrics, rules, standards={**THRESHOLDS, "time": SIDE_BY_SIDE})


def measured(session: Session, asked: ComparisonOptions, options: LaunchOptions) -> tuple[SideBySide, int]:
    """The judge of all pairs, and the exit code of a signal that ended the session early, else 0."""
    judge = session.judge(asked)
    names = list(session.matching.pairs)
    print_cards_in_use(session.spread)
    progress = PairProgress(judge, names, sys.stderr, options.quiet, debug=options.debug)
    try:
        with contextlib.closing(Telemetry()) as telemetry, contextlib.closing(progress):
            for launched in session.measure(judge, telemetry, progress.begin, options.began):
                progress.end(launched)
    except Interrupted as signal:
        return judge, 128 + signal.signal_number
    return judge, 0


def page_of_session(session: Session, judge: SideBySide, allow_inconclusive: bool) -> ComparisonPage:
    """The page of a session that has just been measured."""
    labels = session.sides[0].label, session.sides[1].label
    only = session.matching.only_base, session.matching.only_candidate
    page = page_of_pairs(judge, labels, only, error_rate_notes(session.environments[1]), allow_inconclusive)
    return dataclasses.replace(page, is_live=True, places=session.places if on_actions() else {})


def page_of_stored_session(
    path: Path,
    metrics: Sequence[str] = (),
    keyword: str | None = None,
    thresholds: Path | None = None,
    allow_inconclusive: bool = False,
) -> ComparisonPage:
    """The page of a session that `bench ab` has stored, under these thresholds. Raises UsageError."""
    stored = ab_session.read(path)
    rules, file = threshold_rules(thresholds)
    asked = asked_of_pairs(metrics, rules)
    judge = judged(stored, asked, keyword)
    notes = [*stored.notes, *error_rate_notes(stored.environments[1])]
    page = page_of_pairs(judge, stored.labels, stored.only, notes, allow_inconclusive)
    if any(map(judge.pairs, judge.cases)):
        check_patterns(judge.sides(*stored.labels)[0], asked, file)
    return page


def judged(session: StoredSession, asked: ComparisonOptions, keyword: str | None = None) -> SideBySide:
    """The judge of all stored pairs, in their order. Raises UsageError if -k selects no case."""
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
