"""`bench selftest` measures the error rates of `bench ab`."""

from __future__ import annotations

import sys
from contextlib import closing

from ...ab.error_rates import Decision, arms, decisions
from ...ab.session import Session, open_session
from ...ab.versions import NOW, Version
from ...errors import Interrupted, UsageError
from ...machine.telemetry import Telemetry
from ...plurals import counted
from ...results import folder as folders
from ...results.history import write_selftest
from ...system.signals import stoppable
from ..ab_sessions import SuitePairsOptions, asked_of_pairs
from ..command import UNDECIDED, option
from ..launching import lock, print_distrust
from ..options import BudgetOptions, JsonOptions, OutputOptions
from ..run_output import print_error_rates
from ..screen import print_line, print_remark


class SelftestOptions(SuitePairsOptions, BudgetOptions, OutputOptions, JsonOptions):
    decisions: int = option(
        24, metavar="N", help="Compare identical code this many times: every change found is a false alarm."
    )
    slowdowns: int = option(
        10,
        metavar="N",
        help="Compare this many times with steps made 3 % slower, and as many times with 5 %.",
    )
    plants: int | None = option(
        None, metavar="N", hidden=True, help="The older name of --slowdowns, for one more version."
    )

    @property
    def slowdowns_of_a_size(self) -> int:
        return self.slowdowns if self.plants is None else self.plants


def main(options: SelftestOptions) -> int:
    numbers = options.decisions, options.slowdowns_of_a_size
    if min(numbers) < 0 or not any(numbers):
        raise UsageError("there is nothing to decide; give --decisions or --slowdowns a number above 0")
    request, sides = options.request, (Version(NOW), Version(NOW))
    with stoppable(), lock(options), open_session(sides, request, options.out, "selftest") as session:
        print_distrust()
        made, stop = decided(session, options)
    if not made:
        print_remark("nothing was decided: no case that trains could be measured in the time")
        return stop or UNDECIDED
    print_error_rates(made, options.as_json)
    if not options.as_json:
        print(f"kept: {folders.shown(session.place)}/selftest.json")
    return stop


def decided(session: Session, options: SelftestOptions) -> tuple[list[Decision], int]:
    """All decisions, each written and printed when it is made, and the exit code of a signal, else 0."""
    wanted = arms(options.decisions, options.slowdowns_of_a_size)
    ends = None if options.time_budget is None else options.began + options.time_budget
    made: list[Decision] = []
    try:
        with closing(Telemetry()) as telemetry:
            for decision in decisions(session, wanted, asked_of_pairs([], ()), telemetry, ends):
                made.append(decision)
                write_selftest(session.place, made, session.environments[0])
                if not options.quiet:
                    print_line(decision_text(decision, len(made), len(wanted)), sys.stderr)
    except Interrupted as signal:
        return made, 128 + signal.signal_number
    return made, 0


def decision_text(decision: Decision, number: int, of: int) -> str:
    """'3 of 50: 3 % in every step: epoch.time regressed 1.031, train.step_time regressed 1.032; 14 pairs, 11.2 s'."""
    rows = ", ".join(
        f"{name} {verdict} {decision.ratios.get(name, float('nan')):.3f}"
        for name, verdict in decision.verdicts.items()
    )
    return f"{number} of {of}: {decision.arm}: {rows}; {counted(decision.pairs, 'pair')}, {decision.seconds:.1f} s"
