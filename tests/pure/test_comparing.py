"""From two sides to rows: what is compared, what is left out and says so, and what sets the exit code."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from fakes import environment
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare.comparable import ComparisonOptions, are_exact
from bench.analysis.compare.policy import ThresholdRule
from bench.analysis.compare.rows import by_axis, compare
from bench.analysis.compare.sides import CaseSide, Observed, Side
from bench.analysis.compare.verdict import UNKNOWN, RunDeviation, from_earlier_runs, outcome, standard
from bench.measurement import METRICS
from bench.report.reason_words import reason_said

HERE = environment()
CALM = ComparisonOptions(deviation_of=lambda _: RunDeviation(0.001))  # of runs that are hardly apart
CASE, OTHER = "s/width=1", "s/width=2"
TIME, OPS, ALLOCATIONS, LOSS = "epoch.time", "count.ops", "count.allocations", "quality.test_loss"


def known(value, error=0.001):
    """A value, or the launches that it is the median of."""
    if isinstance(value, dict):
        return Observed.of(value)
    return value if isinstance(value, Observed) else Observed(float(value), {}, error)


def case(failure="", caveats=(), suite="s", **metrics):
    """epoch__time=1.0 is the metric epoch.time."""
    found = {name.replace("__", "."): known(value) for name, value in metrics.items()}
    return CaseSide(suite, "cpu", found, caveats, failure)


def side(where=HERE, axes=None, **cases):
    """One case, or the cases by their names in `of`."""
    of = cases.pop("of", None) or {CASE: case(**cases)}
    return Side("mine", "run", of, where, axes=axes or {})


def rows(base, candidate, asked=CALM):
    return {(row.case, row.metric.name): row for row in compare(base, candidate, asked).rows}


def only(base, candidate, asked=CALM):
    (row,) = compare(base, candidate, asked).rows
    return row


def rule(changes, **patterns):
    return ThresholdRule("here", **patterns, changes=changes)


def told(**changes):
    return ComparisonOptions(**{"deviation_of": CALM.deviation_of, **changes})


class TestWhatIsCompared:
    def test_the_metrics_that_gate_in_the_order_of_the_baseline(self):
        base = side(
            of={OTHER: case(epoch__time=1, train__step_mean=1), CASE: case(count__ops=3, epoch__time=1)}
        )
        assert list(rows(base, base)) == [(OTHER, TIME), (CASE, OPS), (CASE, TIME)]
        assert {row.verdict for row in rows(base, base).values()} == {"equivalent"}
        assert all(row.gates for row in rows(base, base).values())

    def test_a_shown_metric_is_compared_where_a_threshold_names_it_and_gates_then(self):
        asked = told(rules=[rule({"relative": 0.1}, metric="train.data_share")])
        row = only(side(train__data_share=0.1), side(train__data_share=0.2), asked)
        assert (row.verdict, row.gates, row.undecided_gates) == ("regressed", True, True)
        assert compare(side(train__data_share=0.1), side(train__data_share=0.2), CALM).rows == []

    def test_a_threshold_on_all_names_none(self):
        asked = told(rules=[rule({"relative": 0.1}, metric="*")])
        assert compare(side(train__data_share=0.1), side(train__data_share=0.2), asked).rows == []

    @pytest.mark.parametrize(
        ("patterns", "there"),
        [
            ([TIME], [TIME]),
            (["count.*"], [OPS, ALLOCATIONS]),
            (["*.test_loss", OPS], [OPS, LOSS]),
            (["nothing"], []),  # quality neither, since nothing of it fell
        ],
    )
    def test_metrics_that_are_asked_for_are_all(self, patterns, there):
        base = side(epoch__time=1, count__ops=1, count__allocations=1, quality__test_loss=1)
        assert [name for _, name in rows(base, base, told(metrics=patterns))] == there

    @pytest.mark.parametrize(("patterns", "gates"), [([LOSS], True), (["quality.*"], False)])
    def test_a_shown_metric_gates_where_it_is_asked_for_by_its_name(self, patterns, gates):
        base = side(quality__test_loss=1)
        assert only(base, base, told(metrics=patterns)).gates is gates

    def test_what_a_threshold_ignores_is_compared_and_does_not_gate(self):
        asked = told(rules=[rule({"regression": "ignore"}, metric=TIME)])
        row = only(side(epoch__time=1), side(epoch__time=2), asked)
        assert (row.verdict, row.gates) == ("regressed", False)

    def test_thresholds_are_of_the_case_and_the_device(self):
        base = side(of={CASE: case(epoch__time=1), OTHER: case(epoch__time=1)})
        after = side(of={CASE: case(epoch__time=1.2), OTHER: case(epoch__time=1.2)})
        asked = told(
            rules=[rule({"relative": 0.5}, case="*width=2"), rule({"relative": 9.0}, device="cuda:*")]
        )
        assert [row.verdict for row in compare(base, after, asked).rows] == ["regressed", "equivalent"]


class TestCasesOfOneSide:
    def test_one_that_has_gone_is_not_measured_and_decides_nothing(self):
        found = compare(side(epoch__time=1, count__ops=1), side(of={OTHER: case(epoch__time=1)}), CALM)
        (row,) = found.rows
        assert (row.verdict, reason_said(row.reason)) == (
            "not_measured",
            "the candidate does not have the case",
        )
        assert (found.only_base, found.only_candidate) == ([CASE], [OTHER])
        assert outcome(found.rows) == outcome(found.rows, allow_inconclusive=True) == 3

    def test_its_row_is_of_a_metric_that_was_asked_for_though_none_of_these_gates(self):
        base = side(quality__test_loss=1, train__data_share=0.1)
        for options in (told(metrics=["train.*"]), told(rules=[rule({"relative": 0.1}, metric="train.*")])):
            row = only(base, side(failure="error: no"), options)
            assert (row.case, row.metric.name, row.gates) == (CASE, "train.data_share", True)

    def test_one_that_failed_says_why(self):
        row = only(side(epoch__time=1), side(failure="error: ValueError: no"))
        assert (row.verdict, reason_said(row.reason), row.candidate, row.ratio) == (
            *("not_measured", "error: ValueError: no"),
            *(None, None),
        )

    def test_a_crash_is_seen_where_the_first_metric_is_one_to_ignore(self):
        base = side(of={CASE: case(epoch__time=1, count__ops=1), OTHER: case(epoch__time=1, count__ops=1)})
        after = side(of={CASE: case(failure="error: no"), OTHER: case(epoch__time=1, count__ops=1)})
        found = compare(base, after, told(rules=[rule({"regression": "ignore"}, metric="*.time")])).rows
        assert [(row.metric.name, row.verdict, row.gates) for row in found] == [
            (OPS, "not_measured", True),
            (TIME, "equivalent", False),
            (OPS, "equivalent", True),
        ]
        assert outcome(found) == 3

    def test_one_that_the_baseline_failed_in_is_new_in_the_candidate(self):
        found = compare(side(failure="error: no"), side(epoch__time=1), CALM)
        assert (found.rows, found.only_base, found.only_candidate) == ([], [], [CASE])
        assert outcome(found.rows) == 3

    def test_one_that_failed_on_both_sides_is_on_none(self):
        found = compare(side(failure="error: no"), side(failure="error: no"), CALM)
        assert (found.rows, found.only_base, found.only_candidate) == ([], [], [])

    def test_a_metric_that_has_gone_is_not_measured(self):
        found = rows(side(epoch__time=1, count__ops=1), side(epoch__time=1))
        assert (found[CASE, OPS].verdict, reason_said(found[CASE, OPS].reason)) == (
            "not_measured",
            "the candidate has no value",
        )
        assert outcome(list(found.values())) == 3

    def test_the_row_of_one_that_has_gone_keeps_what_the_base_says_of_it(self):
        base = side(epoch__time=1, quality__test_score=3, suite="mine", caveats=("few",))
        for name, value in ((TIME, 1), ("quality.test_score", 3)):
            row = rows(base, side(count__ops=1))[CASE, name]
            assert (row.suite, row.base, row.candidate, row.caveats) == ("mine", value, None, ("few",))
            assert row.gates is (name == TIME)

    @pytest.mark.parametrize(("metrics", "gates"), [(["*.time"], True), ((), False)])
    def test_it_gates_though_it_is_ignored_where_it_is_asked_for(self, metrics, gates):
        asked = told(metrics=metrics, rules=[rule({"regression": "ignore"}, metric=TIME)])
        assert only(side(epoch__time=1), side(count__ops=1), asked).gates is gates

    def test_a_metric_that_is_new_has_nothing_to_be_compared_with(self):
        assert list(rows(side(epoch__time=1), side(epoch__time=1, count__ops=1))) == [(CASE, TIME)]


TRAINED = {"work__train__samples": 100, "work__train__batches": 10}
VALIDATED = {"work__validate__samples": 40, "work__validate__batches": 4}
TESTED = {"work__test__samples": 20, "work__test__batches": 2}
WORK = {**TRAINED, **VALIDATED, **TESTED}
HALF = {**WORK, "work__train__samples": 50, "work__train__batches": 5}
SHORT = {**WORK, "work__validate__samples": 30, "work__validate__batches": 3}
ACCURACY = "quality.test_accuracy"


class TestRulesOfOneCase:
    """A threshold may be for some cases or suites alone, whatever becomes of these."""

    OURS, ANOTHERS = {"case": CASE, "suite": "s"}, {"case": OTHER, "suite": "s"}

    @pytest.mark.parametrize(("where", "there"), [(OURS, True), (ANOTHERS, False), ({"suite": "t"}, False)])
    def test_one_that_names_a_metric_has_it_compared_there(self, where, there):
        asked = told(rules=[rule({"relative": 0.1}, metric="train.data_share", **where)])
        base = side(train__data_share=0.1)
        for after in (base, side(failure="error: no"), side(epoch__time=1)):
            assert [row.gates for row in compare(base, after, asked).rows] == [True] * there

    @pytest.mark.parametrize(("where", "code"), [(OURS, 0), (ANOTHERS, 3)])
    def test_one_of_work_says_whether_different_work_stops_a_build(self, where, code):
        for action in ("ignore", "warn"):
            asked = told(rules=[rule({"regression": action}, metric="work.*", **where)])
            found = compare(side(count__ops=1, **WORK), side(count__ops=1, **HALF), asked)
            assert outcome(found.rows) == code
            assert bool(found.by_sample) is (action == "ignore" and code == 0)


class TestDifferentWork:
    def test_it_is_one_verdict_of_the_case_that_says_from_what_to_what(self):
        found = compare(side(epoch__time=1, **WORK), side(epoch__time=0.5, **HALF), CALM).rows
        speaking = [row for row in found if row.verdict == "different_work" and not row.folded]
        (row,) = speaking
        assert (row.metric.name, row.base, row.candidate, row.gates) == ("work.train.samples", 100, 50, True)
        assert [(one.stage, one.what, one.before, one.after) for one in row.work] == [
            ("train", "samples", 100, 50),
            ("train", "batches", 10, 5),
        ]
        assert "improved" not in {row.verdict for row in found}
        assert outcome(found) == outcome(found, allow_inconclusive=True) == 3

    @pytest.mark.parametrize(("before", "after"), [(WORK, HALF), (HALF, WORK)], ids=["less", "more"])
    def test_less_and_more_of_it_are_alike(self, before, after):
        assert outcome(compare(side(epoch__time=1, **before), side(epoch__time=1, **after), CALM).rows) == 3

    def test_what_it_spoils_is_folded_and_keeps_its_values(self):
        timed = {"epoch__time": 1, "train__step_time": 0.1, "memory__peak_rss": 5}
        caveats = ("few", "busy")
        found = rows(
            side(**timed, **WORK, caveats=caveats),
            side(**{**timed, "epoch__time": 0.5}, **HALF, caveats=caveats),
        )
        for name in ("epoch.time", "train.step_time", "memory.peak_rss"):
            row = found[CASE, name]
            assert (row.verdict, row.folded, row.gates, row.ratio) == ("different_work", True, False, None)
            assert (row.case, row.caveats) == (CASE, ())
            assert row.work == found[CASE, "work.train.samples"].work != ()
        assert (found[CASE, TIME].base, found[CASE, TIME].candidate) == (1, 0.5)
        assert found[CASE, "work.train.samples"].caveats == ()

    def test_it_takes_no_metric_in_and_is_not_meant(self):
        rate = {"train__throughput": 100}
        found = compare(side(**WORK, **rate, epoch__time=1), side(**HALF, **rate, epoch__time=1), CALM)
        names = {row.metric.name for row in found.rows}
        assert TIME in names, "it comes behind the work"
        assert "train.throughput" not in names
        assert found.by_sample == []
        assert compare(side(**WORK, **rate), side(**WORK, **rate), CALM).by_sample == []

    def test_each_stage_is_judged_by_itself(self):
        base = side(epoch__time=1, train__step_time=0.1, memory__peak_rss=5, count__ops=9, **WORK)
        after = side(epoch__time=0.9, train__step_time=0.2, memory__peak_rss=5, count__ops=9, **SHORT)
        found = rows(base, after)
        assert found[CASE, "train.step_time"].verdict == "regressed"
        assert found[CASE, "memory.peak_rss"].verdict == "equivalent"
        assert found[CASE, "count.ops"].verdict == "equivalent"  # of a step, of which there are fewer
        assert {name for (_, name), row in found.items() if row.folded} == {"epoch.time"}
        assert found[CASE, "work.validate.samples"].verdict == "different_work"

    def test_counts_of_the_same_steps_are_compared(self):
        """Two steps of training are counted, whatever the epoch holds."""
        found = rows(side(count__ops=9, **WORK), side(count__ops=10, **HALF))
        assert found[CASE, OPS].verdict == "regressed"

    def test_counts_of_larger_steps_are_not(self):
        larger = {**WORK, "work__train__batches": 5}
        found = rows(
            side(count__ops=9, count__parameter_bytes=4, **WORK),
            side(count__ops=9, count__parameter_bytes=8, **larger),
        )
        assert found[CASE, OPS].verdict == "different_work"
        assert found[CASE, "count.parameter_bytes"].verdict == "regressed"

    @pytest.mark.parametrize("there", [True, False], ids=["it has gone", "it is new"])
    def test_a_stage_of_one_side_alone_is_different_work(self, there):
        with_it, without = (side(epoch__time=1, **work) for work in (WORK, {**TRAINED, **TESTED}))
        found = compare(*((with_it, without) if there else (without, with_it)), CALM).rows
        (row,) = (row for row in found if row.verdict == "different_work" and not row.folded)
        assert row.metric.name == "work.validate.samples"
        assert (row.base, row.candidate) == ((40, None) if there else (None, 40))
        assert [row.verdict for row in found if row.metric.name == TIME] == ["different_work"]

    def test_what_was_learnt_from_more_data_is_no_improvement_and_a_fall_is_one(self):
        for after, verdict in ((0.5, "regressed"), (0.95, "different_work")):
            known = ({1: value, 2: value} for value in (0.8, after))
            losses = {"quality__test_loss": {1: 1.0, 2: 1.0}}
            sides = [
                side(quality__test_accuracy=one, **losses, **work)
                for one, work in zip(known, (HALF, WORK), strict=True)
            ]
            asked = told(rules=[rule({"regression": "fail"}, metric="quality.*")])
            found = rows(*sides, asked)
            row = found[CASE, ACCURACY]
            spoilt = verdict == "different_work"
            assert (row.verdict, row.folded, row.gates) == (verdict, spoilt, not spoilt)
            assert row.work == (found[CASE, "work.train.samples"].work if spoilt else ())
            assert (found[CASE, LOSS].verdict, found[CASE, LOSS].work) == ("equivalent", ())

    def test_tools_that_count_no_work_did_none_differently(self):
        found = compare(side(epoch__time=1, **WORK), side(epoch__time=1), CALM).rows
        assert "different_work" not in {row.verdict for row in found}

    def test_what_is_asked_for_and_not_spoilt_is_compared(self):
        asked = told(metrics=["count.ops"])
        (row,) = compare(side(count__ops=9, epoch__time=1, **WORK), side(count__ops=9, **HALF), asked).rows
        assert (row.metric.name, row.verdict) == (OPS, "equivalent")

    def test_what_is_asked_for_and_spoilt_is_said(self):
        asked = told(metrics=[TIME])
        found = compare(side(epoch__time=1, **WORK), side(epoch__time=1, **HALF), asked).rows
        assert [(row.metric.name, row.folded) for row in found] == [
            ("work.train.samples", False),
            (TIME, True),
        ]
        assert outcome(found) == 3


class TestWorkThatIsMeantToDiffer:
    MEANT = told(rules=[rule({"regression": "ignore"}, metric="work.train.*")])

    def test_a_rule_says_so_and_the_case_is_compared_by_the_sample(self):
        timed = {"epoch__time": 1, "train__step_time": 0.1, "train__throughput": 100}
        found = compare(side(**timed, **WORK), side(**{**timed, "train__throughput": 50}, **HALF), self.MEANT)
        said = {row.metric.name: (row.verdict, row.gates) for row in found.rows}
        assert said["train.step_time"] == ("equivalent", True)  # of steps of one size
        assert said["train.throughput"] == ("regressed", True)
        assert TIME not in said
        assert outcome(found.rows) == 1
        (one,) = found.by_sample
        assert (one.case, one.not_compared) == (CASE, [TIME, "work.train.samples", "work.train.batches"])
        assert [(each.metric, each.after) for each in one.differences] == [
            ("work.train.samples", 50),
            ("work.train.batches", 5),
        ]
        assert [row.metric.name for row in found.rows].count("train.throughput") == 1
        assert "compute.sample_flops" not in said, "neither side has it"

    def test_what_takes_its_place_is_compared_once_though_a_rule_names_it(self):
        asked = told(rules=[*self.MEANT.rules, rule({"relative": 0.1}, metric="train.throughput")])
        found = compare(side(train__throughput=100, **TRAINED), side(train__throughput=50, **HALF), asked)
        assert [row.metric.name for row in found.rows if row.verdict == "regressed"] == ["train.throughput"]

    def test_nothing_takes_its_place_where_metrics_are_asked_for(self):
        asked = told(metrics=[OPS], rules=self.MEANT.rules)
        found = compare(
            side(count__ops=1, train__throughput=100, **WORK),
            side(count__ops=1, train__throughput=50, **HALF),
            asked,
        )
        assert [row.metric.name for row in found.rows] == [OPS]

    def test_of_a_stage_that_one_side_alone_has_nothing_is_missed(self):
        asked = told(rules=[rule({"regression": "ignore"}, metric="work.validate.*")])
        more = {"count__validate__ops": 3, "count__graphs": 1}
        found = compare(side(**WORK, **more), side(**TRAINED, **TESTED), asked)
        assert "count.validate.ops" in found.by_sample[0].not_compared
        said = {row.metric.name: row.verdict for row in found.rows}
        assert said["count.graphs"] == "not_measured"
        assert "count.validate.ops" not in said

    def test_steps_of_another_size_are_not_compared_and_an_epoch_of_as_many_samples_is(self):
        larger = {**WORK, "work__train__batches": 5}
        timed = {"epoch__time": 1, "train__step_time": 0.1, "count__flops": 10, "compute__sample_flops": 5}
        found = compare(side(**timed, **WORK), side(**timed, **larger), self.MEANT)
        said = {row.metric.name: (row.verdict, row.gates) for row in found.rows}
        assert said[TIME] == said["compute.sample_flops"] == ("equivalent", True)
        assert {"train.step_time", "count.flops"} <= set(found.by_sample[0].not_compared)

    def test_a_rule_that_warns_sets_no_exit_code(self):
        asked = told(rules=[rule({"regression": "warn"}, metric="work.*")])
        found = compare(
            side(count__ops=9, epoch__time=1, **WORK), side(count__ops=9, epoch__time=1, **HALF), asked
        )
        (row,) = (row for row in found.rows if row.verdict == "different_work" and not row.folded)
        assert (row.gates, outcome(found.rows)) == (False, 0)

    def test_a_rule_of_another_stage_says_nothing_of_this_one(self):
        found = compare(side(epoch__time=1, **WORK), side(epoch__time=1, **SHORT), self.MEANT).rows
        assert outcome(found) == 3

    def test_a_metric_that_cannot_be_compared_and_is_asked_for_by_name_says_so(self):
        larger = {**WORK, "work__train__batches": 5}
        asked = told(metrics=["train.step_time"], rules=self.MEANT.rules)
        (row,) = compare(side(train__step_time=1, **WORK), side(train__step_time=1, **larger), asked).rows
        assert (row.metric.name, row.verdict, row.folded) == ("train.step_time", "different_work", False)
        assert (row.case, row.base, row.candidate, row.gates) == (CASE, 1, 1, True)
        assert outcome([row]) == 3


class TestWhatWasLearnt:
    def of(self, value, **more):
        return side(
            quality__test_accuracy=dict.fromkeys((1, 2), value), quality__test_loss={1: 0.3, 2: 0.3}, **more
        )

    def test_it_is_there_unasked_and_a_fall_warns(self):
        found = rows(self.of(0.767, epoch__time=1), self.of(0.198, epoch__time=1))
        row = found[CASE, ACCURACY]
        assert (row.verdict, row.action, row.gates, row.spread) == ("regressed", "warn", False, 0)
        assert row.ratio == pytest.approx(0.767 / 0.198)
        assert found[CASE, LOSS].verdict == "equivalent"
        assert outcome(list(found.values())) == 0

    def test_a_rule_that_names_it_fails(self):
        asked = told(rules=[rule({"regression": "fail"}, metric="quality.*")])
        found = compare(self.of(0.767), self.of(0.198), asked).rows
        assert outcome(found) == 1

    def test_a_default_of_every_row_names_nothing(self):
        asked = told(rules=[rule({"regression": "fail"})])
        found = compare(self.of(0.767, epoch__time=1), self.of(0.198, epoch__time=1), asked).rows
        assert outcome(found) == 0
        assert {row.action for row in found if row.metric.name == ACCURACY} == {"warn"}

    def test_who_asks_for_times_is_told_of_a_fall_and_of_nothing_else(self):
        asked = told(metrics=[TIME])
        found = compare(self.of(0.8, epoch__time=1), self.of(0.2, epoch__time=1), asked).rows
        assert {row.metric.name for row in found} == {TIME, ACCURACY}

    def test_a_metric_of_unknown_direction_moved_and_a_rule_tells_its_direction(self):
        sides = [
            side(quality__test_score=dict.fromkeys((1, 2), value), quality__test_loss={1: 1.0, 2: 1.0})
            for value in (1.0, 2.0)
        ]
        found = rows(*sides)[CASE, "quality.test_score"]
        assert (found.verdict, found.action) == ("moved", "warn")
        for better, verdict in (("more", "improved"), ("less", "regressed")):
            asked = told(rules=[rule({"better": better}, metric="quality.test_score")])
            assert rows(*sides, asked)[CASE, "quality.test_score"].verdict == verdict
        timed = [side(of={CASE: case(epoch__time=1, **one.cases[CASE].observed)}) for one in sides]
        assert "quality.test_score" in {name for _, name in rows(*timed, told(metrics=[TIME]))}, "unasked"

    def test_values_below_zero_are_compared_as_others(self):
        sides = [side(quality__test_loss=dict.fromkeys((1, 2), value)) for value in (-1.0, 1.0)]
        row = only(*sides)
        assert (row.verdict, row.ratio) == ("regressed", None)

    def test_on_another_machine_it_gates_nothing(self):
        asked = told(across=True, rules=[rule({"regression": "fail"}, metric="quality.*")])
        row = next(
            row for row in compare(self.of(0.9), self.of(0.2), asked).rows if row.metric.name == ACCURACY
        )
        assert (row.verdict, row.gates, row.caveats) == ("regressed", False, ("other_machine",))

    def test_few_launches_that_differ_say_so(self):
        sides = (side(quality__test_loss={1: value, 2: value + 0.1}) for value in (1.0, 2.0))
        row = only(*sides)
        assert (row.verdict, row.caveats) == ("inconclusive", ("few_launches",))

    @pytest.mark.parametrize(
        ("launches", "caveats"), [(0, ()), *((number, ("few_launches",)) for number in (1, 5)), (6, ())]
    )
    def test_what_six_launches_or_an_error_leave_open_is_no_matter_of_few(self, launches, caveats):
        def of(start):
            if not launches:
                return Observed(start, {}, 0.5)
            return {number: start + 0.2 * number for number in range(launches)}

        row = only(side(quality__test_loss=of(1.0)), side(quality__test_loss=of(1.005)))
        assert (row.verdict, row.caveats) == ("inconclusive", caveats)

    def test_both_sides_must_end_alike_for_a_change_to_be_sure(self):
        alike, noisy = ({1: 1.0, 2: 1.0}, {1: 1.5, 2: 1.6})
        for first, second in ((alike, noisy), (noisy, alike)):
            assert (
                only(side(quality__test_loss=first), side(quality__test_loss=second)).verdict
                == "inconclusive"
            )

    def test_values_that_are_no_numbers_have_no_difference(self):
        row = only(side(quality__test_loss=1.0), side(quality__test_loss=math.nan))
        assert (row.verdict, reason_said(row.reason)) == (
            "not_measured",
            "1 and nan have no difference",
        )

    def test_other_sides_of_an_axis_are_shown_and_gate_nothing(self):
        base = side(
            of={CASE: self.of(0.9).cases[CASE], OTHER: self.of(0.2).cases[CASE]},
            axes={CASE: {"width": 1}, OTHER: {"width": 2}},
        )
        row = next(
            row for row in by_axis(base, "width", ComparisonOptions()).rows if row.metric.name == ACCURACY
        )
        assert (row.verdict, row.gates, row.spread) == ("regressed", False, 0)


class TestWhereTheNumbersComeFrom:
    @pytest.mark.parametrize(("first", "second"), [(None, HERE), (HERE, None), (None, None)])
    @pytest.mark.parametrize(
        ("after", "verdict"), [(0.5, "inconclusive"), (1.0, "inconclusive"), (2.0, "regressed")]
    )
    def test_where_nobody_knows_nothing_is_better_and_nothing_equal(self, first, second, after, verdict):
        row = only(side(first, epoch__time=1), side(second, epoch__time=after))
        assert (row.verdict, row.caveats, row.family) == (verdict, ("environment_unknown",), 0)

    def test_counts_are_compared_all_the_same(self):
        row = only(side(None, count__ops=1), side(None, count__ops=1))
        assert (row.verdict, row.gates, row.caveats, row.ratio) == ("equivalent", True, (), 1)

    def test_the_ratio_of_a_count_is_candidate_over_base(self):
        assert only(side(count__ops=4), side(count__ops=5)).ratio == 1.25

    def test_a_count_that_is_missed_is_missed_on_any_processor(self):
        row = only(side(count__allocations=1), side(environment(cpu="another"), epoch__time=1))
        assert (row.verdict, row.gates, row.caveats) == ("not_measured", True, ())

    @pytest.mark.parametrize("searching", ["base", "candidate"])
    def test_one_side_that_follows_rounding_is_enough_to_doubt_counts(self, searching):
        search = {"work__train__closure_evaluations": 70}
        base = side(count__ops=1, **(search if searching == "base" else {}))
        other = environment(cpu="another")
        after = side(other, count__ops=2, **(search if searching == "candidate" else {}))
        row = rows(base, after)[CASE, OPS]
        assert (row.verdict, row.gates, row.caveats) == ("regressed", False, ("other_cpu",))

    def test_samples_are_the_same_on_any_processor(self):
        other = environment(cpu_capability="AVX512")
        row = rows(side(epoch__time=1, **WORK), side(other, epoch__time=1, **HALF))[
            CASE, "work.train.samples"
        ]
        assert (row.verdict, row.gates, row.caveats) == ("different_work", True, ())

    @pytest.mark.parametrize(
        ("elsewhere", "metric", "gates", "caveats"),
        [
            ({"torch": "2.10.0"}, "count__ops", False, ("other_software",)),
            ({"torch": "2.10.0"}, "count__allocations", False, ("other_software",)),
            ({"torch": "2.9.1"}, "count__ops", True, ()),
            ({"devices": ()}, "count__ops", False, ("other_software",)),
            ({"cpu_capability": "AVX512"}, "count__ops", True, ()),
            ({"cpu_capability": "AVX512"}, "count__allocations", False, ("other_cpu",)),
            (
                {"cpu_capability": "AVX512", "torch": "2.10.0"},
                "count__allocations",
                False,
                ("other_software",),
            ),
            ({"host": "elsewhere"}, "count__allocations", True, ()),
        ],
    )
    def test_a_count_gates_where_it_must_be_the_same(self, elsewhere, metric, gates, caveats):
        row = only(side(**{metric: 1}), side(environment(**elsewhere), **{metric: 2}))
        assert (row.verdict, row.gates, row.caveats) == ("regressed", gates, caveats)

    @pytest.mark.parametrize(
        ("elsewhere", "gates"),
        [
            ({}, True),
            ({"cpu": "another"}, False),
            ({"cpu_capability": "AVX512"}, False),
            ({"host": "b"}, True),
        ],
    )
    def test_what_follows_how_sums_are_rounded_gates_on_the_same_processor_alone(self, elsewhere, gates):
        """Whose line search looks once more dispatches more operators, too."""
        base = side(count__ops=1, work__train__closure_evaluations=70)
        other = side(environment(**elsewhere), count__ops=2, work__train__closure_evaluations=71)
        found = rows(base, other)
        verdicts = {"count.ops": "regressed", "work.train.closure_evaluations": "different_work"}
        for name, verdict in verdicts.items():
            row = found[CASE, name]
            assert (row.verdict, row.gates) == (verdict, gates)
            assert row.caveats == (() if gates else ("other_cpu",))

    def test_across_machines_times_are_shown_and_never_gate(self):
        row = only(side(epoch__time=1), side(epoch__time=2), told(across=True))
        assert (row.verdict, row.gates, row.caveats) == ("regressed", False, ("other_machine",))
        assert outcome([row]) == 3

    def test_across_machines_counts_gate_as_ever(self):
        row = only(side(count__ops=1), side(count__ops=2), told(across=True))
        assert (row.verdict, row.gates, row.caveats) == ("regressed", True, ())

    def test_what_makes_times_doubtful_is_said_of_both_sides_once(self):
        base, after = (
            side(epoch__time=1, caveats=("few", "busy")),
            side(epoch__time=1, caveats=("busy", "slow")),
        )
        assert only(base, after).caveats == ("few", "busy", "slow")

    def test_it_is_no_reason_to_doubt_a_count(self):
        caveats = ("contaminated", "flops_lower_bound", "samples_unknown")
        base = side(count__flops=1, count__validate__flops=1, count__ops=1, **TRAINED, caveats=caveats)
        found = rows(base, base)
        for name in ("count.flops", "count.validate.flops"):
            assert found[CASE, name].caveats == ("flops_lower_bound",)
        assert found[CASE, "work.train.samples"].caveats == ()
        assert found[CASE, OPS].caveats == ()


class TestTheFamilyAndWhatLiesBetweenRuns:
    def test_a_case_among_many_must_change_by_more(self):
        def sides(number):
            names = [f"s/width={width}" for width in range(number)]
            base = {name: case(epoch__time=known(1, 0.02)) for name in names}
            after = {name: case(epoch__time=known(1.1, 0.02)) for name in names}
            return side(of=base), side(of=after)

        assert compare(*sides(1), CALM).rows[0].verdict == "regressed"
        assert compare(*sides(40), CALM).rows[0].verdict == "inconclusive"

    def test_counts_and_what_does_not_gate_make_no_family(self):
        more = {f"count__{name}": 1 for name in ("ops", "flops", "graphs")} | {"quality__test_loss": 1}
        base = side(epoch__time=known(1, 0.1), **more, train__data_share=0.1)
        row = rows(base, base, told(metrics=["*", LOSS]))[CASE, TIME]
        assert row.family == 1
        assert row.smallest == pytest.approx(
            math.expm1(NormalDist().inv_cdf(0.99) * 0.1 * math.sqrt(2)), rel=1e-3
        )

    def test_a_threshold_in_seconds_is_held_against_the_baseline(self):
        for base, after, verdict in ((10, 11, "equivalent"), (1, 2, "equivalent"), (1, 4, "regressed")):
            asked = told(rules=[rule({"absolute": 2.0}, metric=TIME)])
            row = only(side(epoch__time=base), side(epoch__time=after), asked)
            assert (row.verdict, row.smallest) == (verdict, pytest.approx(2.0 / base))

    def test_each_case_has_its_own_deviation_between_runs(self):
        base = side(of={CASE: case(epoch__time=1), OTHER: case(epoch__time=1)})
        after = side(of={CASE: case(epoch__time=1.2), OTHER: case(epoch__time=1.2)})
        asked = ComparisonOptions(deviation_of=lambda name: RunDeviation(0.2 if name == CASE else 0.001))
        assert [row.verdict for row in compare(base, after, asked).rows] == ["inconclusive", "regressed"]

    def test_memory_hardly_differs_between_runs_whatever_times_do(self):
        base, after = side(memory__peak_rss=100), side(memory__peak_rss=110)
        row = only(base, after, ComparisonOptions(deviation_of=lambda _: RunDeviation(5.0)))
        assert (row.verdict, row.undecided_gates) == ("regressed", False)
        row = only(*(side(memory__peak_rss=known(100, 0.0)) for _ in range(2)))
        assert row.high == pytest.approx(math.exp(NormalDist().inv_cdf(0.975) * math.sqrt(2) * 0.01))

    def test_a_share_does_not_drift_with_the_machine(self):
        vague = ComparisonOptions(metrics=["train.data_share"], deviation_of=lambda _: RunDeviation(5.0))
        assert only(side(train__data_share=0.1), side(train__data_share=0.2), vague).verdict == "regressed"

    def test_a_time_that_could_not_be_decided_stops_no_build_unless_it_was_named(self):
        base, after = side(epoch__time=1), side(epoch__time=1.2)
        vague = {"deviation_of": lambda _: RunDeviation(0.5)}
        assert not only(base, after, ComparisonOptions(**vague)).undecided_gates
        assert only(base, after, ComparisonOptions(metrics=[TIME], **vague)).undecided_gates

    @pytest.mark.parametrize(
        ("number", "found"),
        [
            (0, RunDeviation(0.5)),
            (4, RunDeviation(0.5)),
            (5, RunDeviation(math.sqrt(2.5), 4)),
            (9, RunDeviation(math.sqrt(7.5), 8)),
        ],
    )
    def test_it_is_learnt_from_five_runs_on(self, number, found):
        estimated = from_earlier_runs([float(one) for one in range(number)], RunDeviation(0.5))
        assert (estimated.deviation, estimated.freedom) == (pytest.approx(found.deviation), found.freedom)

    def test_before_that_it_is_what_is_known_of_the_allocator(self):
        assert [standard(name) for name in ("pinned", "system")] == [RunDeviation(0.05), RunDeviation(0.15)]
        assert standard("another") == UNKNOWN


class TestQuality:
    """What a model learnt does not drift with the machine."""

    ACCURACY = "quality.test_accuracy"

    def found(self, before, after, **changes):
        asked = ComparisonOptions(rules=[rule(changes or {"absolute": 0.02}, metric=self.ACCURACY)])
        sides = [side(quality__test_accuracy=dict.fromkeys(range(6), value)) for value in (before, after)]
        return only(*sides, asked)

    @pytest.mark.parametrize(
        ("after", "verdict", "code"),
        [(0.9, "equivalent", 0), (0.89, "equivalent", 0), (0.8, "regressed", 1), (0.95, "improved", 0)],
    )
    def test_a_gate_on_it_is_decided(self, after, verdict, code):
        row = self.found(0.9, after)
        assert (row.verdict, row.gates) == (verdict, True)
        assert outcome([row]) == code

    def test_no_change_at_all_can_be_asked_for(self):
        assert self.found(0.9, 0.9, relative=0.0).verdict == "equivalent"
        assert self.found(0.9, 0.899, relative=0.0).verdict == "regressed"

    def test_launches_that_differ_are_its_error(self):
        spread = {number: 0.80 + 0.03 * number for number in range(6)}
        asked = ComparisonOptions(rules=[rule({"absolute": 0.02}, metric=self.ACCURACY)])
        row = only(side(quality__test_accuracy=spread), side(quality__test_accuracy=spread), asked)
        assert (row.verdict, row.caveats) == ("inconclusive", ())

    def test_what_is_made_of_times_drifts_as_they_do(self):
        vague = ComparisonOptions(metrics=["*"], deviation_of=lambda _: RunDeviation(0.5))
        made = ("train__step_mean", "compute__flops_rate", "compute__mfu", "train__phase__data")
        for name in (*made, "train__throughput"):
            sides = (side(**{name: dict.fromkeys(range(6), value)}) for value in (1.0, 1.1))
            assert only(*sides, vague).verdict == "inconclusive", name


class TestStrangeValues:
    @pytest.mark.parametrize(
        ("before", "after"),
        [(-1.0, -2.0), (-1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (0.0, -1.0), (math.nan, 1.0)],
    )
    def test_what_has_no_ratio_is_not_measured_and_says_so(self, before, after):
        asked = told(metrics=["train.data_share"])
        row = only(side(train__data_share=before), side(train__data_share=after), asked)
        assert (row.verdict, row.ratio, row.gates) == ("not_measured", None, True)
        assert (row.case, row.base, row.candidate) == (CASE, pytest.approx(before, nan_ok=True), after)
        assert reason_said(row.reason) == f"{before:g} and {after:g} have no ratio"

    @pytest.mark.parametrize(("after", "verdict"), [(0.0, "equivalent"), (1.0, "regressed")])
    def test_a_count_may_well_have_been_zero(self, after, verdict):
        assert only(side(count__ops=0), side(count__ops=after)).verdict == verdict

    def test_a_time_may_come_to_nothing(self):
        row = only(side(epoch__time=1), side(epoch__time=0))
        assert (row.verdict, row.ratio) == ("improved", 0.0)

    def test_nothing_stays_nothing(self):
        asked = told(metrics=["train.data_share"])
        nothing = side(train__data_share={1: 0.0, 2: 0.0})
        row = only(nothing, nothing, asked)
        assert (row.verdict, row.ratio) == ("equivalent", 1.0)

    def test_what_another_tool_measured_is_compared_under_its_own_name(self):
        found = rows(side(time=1, memory=1, value=1), side(time=2, memory=2, value=2))
        assert {row.metric.unit for row in found.values()} == {"s", "B", "1"}
        assert {(row.verdict, row.gates) for row in found.values()} == {("regressed", True)}

    @given(
        st.floats(),
        st.floats(),
        st.sampled_from([TIME, OPS, "memory.peak_rss", "train.throughput", LOSS]),
        st.one_of(st.none(), st.floats(0, 1e9)),
    )
    def test_none_breaks_a_comparison(self, before, after, metric, error):
        name = metric.replace(".", "__")
        base, candidate = (side(**{name: Observed(one, {}, error)}) for one in (before, after))
        for rules in ([], [rule({"absolute": 1.0}, metric=metric)]):
            row = only(base, candidate, told(metrics=[metric], rules=rules))
            assert outcome([row]) in (0, 1, 3)


class TestByAxis:
    def test_each_value_is_held_against_the_first_launch_by_launch(self):
        cases = {
            "s/a": case(epoch__time={1: 1.0, 2: 2.0, 3: 4.0}),
            "s/b": case(epoch__time={1: 1.1, 2: 2.2, 3: 4.4}),
            "s/c": case(epoch__time={1: 1.0, 2: 2.0, 3: 4.0}),
        }
        axes = {name: {"optimizer": name[-1], "width": 1} for name in cases}
        found = by_axis(side(of=cases, axes=axes), "optimizer", ComparisonOptions()).rows
        assert [(row.case, row.verdict) for row in found] == [
            ("s/b against optimizer=a", "regressed"),
            ("s/c against optimizer=a", "equivalent"),
        ]
        assert found[0].ratio == pytest.approx(1.1)
        assert found[0].low == pytest.approx(found[0].high)

    def two(self, first, second, asked=CALM):
        axes = {CASE: {"width": 1}, OTHER: {"width": 2}}
        return by_axis(side(of={CASE: first, OTHER: second}, axes=axes), "width", asked)

    @pytest.mark.parametrize("rounds", [(1, 2, 3), ()])
    def test_of_a_rate_more_is_better(self, rounds):
        first, second = (
            case(train__throughput=dict.fromkeys(rounds, value) or known(value, 0.0)) for value in (2.0, 1.0)
        )
        (row,) = self.two(first, second, told(metrics=["train.throughput"])).rows
        assert (row.verdict, row.ratio) == ("regressed", 2.0)

    def test_what_makes_times_doubtful_is_said_and_quality_is_in_no_family(self):
        first = case(epoch__time={1: 1.0, 2: 1.0}, quality__test_loss={1: 1.0, 2: 1.0}, caveats=("busy",))
        found = {row.metric.name: row for row in self.two(first, first).rows}
        assert (found[TIME].caveats, found[TIME].family) == (("busy",), 1)
        assert (found[LOSS].spread, found[LOSS].low, found[LOSS].family) == (0, None, 0)

    def test_other_work_is_expected_of_another_value(self):
        timed = {"train__step_time": {1: 1.0, 2: 1.0}, "epoch__time": {1: 1.0, 2: 1.0}}
        larger = {**WORK, "work__train__batches": 5}
        found = self.two(case(**timed, **WORK), case(**timed, **larger))
        assert "different_work" not in {row.verdict for row in found.rows}
        (one,) = found.by_sample
        assert one.case == f"{OTHER} against width=1"
        assert one.not_compared == ["train.step_time", "work.train.batches"]
        assert self.two(case(**timed, **WORK), case(**timed, **WORK)).by_sample == []
        (row,) = self.two(
            case(**timed, **WORK), case(**timed, **larger), told(metrics=["train.step_time"])
        ).rows
        assert (row.verdict, row.gates) == ("different_work", False)

    def test_cases_that_differ_in_anything_else_are_not_alike(self):
        axes = {
            f"s/{optimizer}{width}": {"optimizer": optimizer, "width": width}
            for width in (1, 2)
            for optimizer in ("a", "b")
        }
        cases = {name: case(epoch__time={1: 1.0, 2: 1.0}) for name in axes}
        assert [
            row.case for row in by_axis(side(of=cases, axes=axes), "optimizer", ComparisonOptions()).rows
        ] == [
            "s/b1 against optimizer=a",
            "s/b2 against optimizer=a",
        ]

    def test_suites_are_not_mixed(self):
        cases = {"s/a": case(epoch__time=1), "t/b": case(epoch__time=1, suite="t")}
        axes = {"s/a": {"width": 1}, "t/b": {"width": 2}}
        assert by_axis(side(of=cases, axes=axes), "width", ComparisonOptions()).rows == []

    def test_it_answers_and_never_gates(self):
        cases = {"s/a": case(epoch__time=1, count__ops=1), "s/b": case(epoch__time=9, count__ops=9)}
        axes = {"s/a": {"width": 1}, "s/b": {"width": 2}}
        found = by_axis(side(of=cases, axes=axes), "width", ComparisonOptions(metrics=[TIME, OPS])).rows
        assert [(row.verdict, row.gates) for row in found] == [("regressed", False)] * 2

    def test_without_rounds_in_common_the_values_are_held_against_each_other(self):
        cases = {"s/a": case(epoch__time={1: 1.0}), "s/b": case(epoch__time={2: 2.0})}
        axes = {"s/a": {"width": 1}, "s/b": {"width": 2}}
        (row,) = by_axis(side(of=cases, axes=axes), "width", ComparisonOptions()).rows
        assert (row.verdict, row.ratio, row.low) == ("inconclusive", 2.0, None)

    def test_values_that_have_no_ratio_are_left_out(self):
        cases = {
            "s/a": case(epoch__time=1, train__data_share=-1),
            "s/b": case(epoch__time=1, train__data_share=1),
        }
        axes = {"s/a": {"width": 1}, "s/b": {"width": 2}}
        found = by_axis(side(of=cases, axes=axes), "width", ComparisonOptions(metrics=["*"])).rows
        assert [row.metric.name for row in found] == [TIME]

    def test_a_case_that_failed_or_was_not_taken_is_left_out(self):
        cases = {"s/a": case(epoch__time=1), "s/b": case(failure="error: no"), "s/c": case(epoch__time=1)}
        axes = {name: {"width": name[-1]} for name in (*cases, "s/d")}
        found = by_axis(side(of=cases, axes=axes), "width", ComparisonOptions()).rows
        assert [row.case for row in found] == ["s/c against width=a"]

    def test_an_axis_that_no_case_has_is_an_error(self):
        with pytest.raises(KeyError, match="depth"):
            by_axis(side(epoch__time=1, axes={CASE: {"width": 1}}), "depth", ComparisonOptions())


@pytest.mark.parametrize(
    ("patterns", "exact"),
    [
        (["count.peak_live_bytes"], True),
        (["count.*", "work.*"], True),
        (["count.ops", "epoch.time"], False),
        (["quality.test_loss"], False),
        (["*"], False),
        (["count.unknown"], False),
        ([], False),
    ],
)
def test_which_patterns_mean_exact_metrics_alone(patterns, exact):
    assert are_exact(patterns, METRICS) is exact


class TestWhatIsWithheld:
    """A value that is there, but of another basis than the other side's: never compared, never passed over."""

    @pytest.mark.parametrize("whose", ["base", "candidate", "both"])
    def test_it_is_not_measured_with_its_reason_and_leaves_a_gate_undecided(self, whose):
        base, candidate = (
            side(
                epoch__time=known(1, 0.001), **({} if whose in (name, "both") else {"count__saved_bytes": 5})
            )
            for name in ("base", "candidate")
        )
        for name, one in (("base", base), ("candidate", candidate)):
            if whose in (name, "both"):
                one.cases[CASE].withheld["count.saved_bytes"] = f"the {name}"
        found = rows(base, candidate)[CASE, "count.saved_bytes"]
        assert found.base == (5 if whose == "candidate" else None)
        assert (found.verdict, found.ratio, found.gates) == ("not_measured", None, True)
        of = "base" if whose == "both" else whose
        assert reason_said(found.reason).startswith(f"the {of} is from an earlier version")
        assert outcome(list(rows(base, candidate).values()), allow_inconclusive=True) == 3


class TestAlgorithmsByTime:
    """cudnn.benchmark may choose another algorithm in each launch, with another workspace and other kernels."""

    @pytest.mark.parametrize("where", ["base", "candidate"])
    @pytest.mark.parametrize(
        "metric",
        ["memory__peak_allocated", "count__kernel_launches", "count__validate__kernel_launches"],
    )
    def test_what_depends_on_them_does_not_gate(self, where, metric):
        caveats = {"base": (), "candidate": (), where: ("algorithms_by_time",)}
        sides = [
            side(of={CASE: case(caveats=caveats[which], **{metric: value})})
            for which, value in (("base", 10), ("candidate", 11))
        ]
        row = only(*sides)
        assert (row.verdict, row.gates, row.caveats) == ("regressed", False, ("algorithms_by_time",))

    def test_with_fixed_ones_it_gates_exactly(self):
        row = only(side(memory__peak_allocated=10), side(memory__peak_allocated=11))
        assert (row.verdict, row.gates) == ("regressed", True)

    def test_what_the_code_does_gates_all_the_same(self):
        sides = [
            side(of={CASE: case(caveats=("algorithms_by_time",), count__ops=value)}) for value in (10, 11)
        ]
        row = only(*sides)
        assert (row.verdict, row.gates) == ("regressed", True)
