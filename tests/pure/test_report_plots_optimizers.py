"""The picture of what optimizers take."""

from __future__ import annotations

from fakes import counts, measurement, operator_count, stages
from pictures import texts_of
from test_report_plots import assert_nothing_is_cut, names, texts

from bench.measurement import COUNTED
from bench.report.plots import draw, optimizers
from bench.report.plots.pages import pages_of
from bench.results.journal import Records
from bench.results.tables import build
from bench.suite.case import Case

OPTIMIZERS = {"sgd": (5, 0), "adam": (90, 600_000), "lbfgs": (30_000, 54_000_000)}


def records(axes=OPTIMIZERS, counted=True):
    found = []
    for name in axes:
        case = Case("fake", {"device": "cpu", "optimizer": name})
        phases = {"forward": 1.5, "optimizer": 0.5}
        found += [
            measurement(case=case, round=number, stages=stages(phases=phases)) for number in range(1, 7)
        ]
        calls, state = OPTIMIZERS[name]
        step = operator_count("aten.add", stage="train", phase="optimizer", calls=2 * calls)
        if counted:
            totals = {"optimizer_state_bytes": state}
            told = counts(operators=(step,), totals=totals, steps={"train": 2})
            found.append(measurement(case=case, kind=COUNTED, stages=(), counts=told))
    return Records(found, [], [])


def test_it_says_the_share_the_operators_and_the_state_of_each(tmp_path):
    paths = draw(build(records()), tmp_path)
    assert "optimizers" in names(paths)
    there = set(texts(tmp_path, "optimizers"))
    assert {"share of a step", "operators a step", "optimizer state"} <= there
    assert {"sgd", "adam", "lbfgs", "5", "90", "30,000", "none", "586 KiB", "51.5 MiB"} <= there
    assert_nothing_is_cut(tmp_path)


def test_without_counts_there_are_the_shares_alone():
    (page,) = pages_of(build(records(counted=False)))
    there = texts_of(optimizers.draw(page))
    assert "share of a step" in there
    assert "optimizer state" not in there


def test_one_optimizer_makes_no_comparison():
    (page,) = pages_of(build(records(["adam"])))
    assert optimizers.draw(page) is None
