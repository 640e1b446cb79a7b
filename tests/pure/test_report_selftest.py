"""How good the gate is on a machine, as it stands on the screen."""

from __future__ import annotations

import io

from rich.console import Console

from bench.ab.error_rates import ErrorRate
from bench.report.terminal.checkup import error_rate_table


def shown(*scores):
    out = io.StringIO()
    Console(file=out, width=140).print(error_rate_table(scores))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def score(**changes):
    standard = {
        "decisions": 24,
        "found": 0,
        "low": 0.0,
        "high": 0.142,
        "bias": 0.0012,
        "seconds": 9.5,
        "pairs": 27.6,
    }
    return ErrorRate("identical code", **{**standard, **changes})


def test_a_row_has_how_many_were_called_with_the_interval_of_their_share():
    assert shown(score())[-1] == "identical code 0 24 0% 0% to 14% +0.12 % 28 9.5"


def test_an_estimate_may_be_too_small_or_not_be_known():
    assert "-1.2 %" in shown(score(bias=-0.012))[-1]
    assert " - " in shown(score(bias=None))[-1]
