"""What `bench ab` keeps, read again: one run with the axis side, and its pairs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from fakes import CASE, environment, failure, measurement, stages

import bench
from bench.errors import ResultsError
from bench.measurement import COUNTED
from bench.results import ab_session as session
from bench.results import baselines, folder
from bench.results.folder import SIDES, RunFolder, find, is_session, sessions_in
from bench.results.journal import Journal
from bench.results.sides import read_side
from bench.suite.case import Case

OTHER = Case("fake", {**CASE.axes, "optimizer": "adam"})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def timed(case=CASE, seconds=1.0, number=1, position=1):
    return measurement(case=case, round=number, position=position, stages=stages(steps=(seconds, seconds)))


def keep(place, base, candidate, cases=(CASE, CASE), named=True, journal=True, **facts):
    """A folder as `bench ab` leaves it: the records of each side."""
    for side, records, case in zip(SIDES, (base, candidate), cases, strict=True):
        made = RunFolder(place / side)
        made.logs.mkdir(parents=True)
        made.write_json("environment.json", environment().to_json())
        made.write_json(
            "plan.json", {"side": f"the {side}", "cases": [case.to_json()], "schedule": {"seed": 0}}
        )
        if journal:
            with contextlib.closing(Journal(made.journal)) as written:
                for record in records:
                    written.append(record)
    if named:
        standard = {"only_base": ["gone"], "only_candidate": [], "pairs": 20, "counts": True}
        session.write(place, {"both": cases}, **{**standard, **facts})
    return place


@pytest.fixture
def kept(here):
    """Two pairs of one case: in the first the base led."""
    base = [timed(seconds=1.0, position=1), timed(seconds=1.0, number=2, position=2)]
    candidate = [timed(seconds=2.0, position=2), timed(seconds=2.0, number=2, position=1)]
    return keep(here / "results" / "20260101T000000-abc-host-ab", base, candidate)


class TestReadAsOneRun:
    def test_the_sides_are_an_axis(self, kept):
        made = bench.read(kept)
        assert made.axes[-1] == "side"
        rows = made.summary[made.summary["metric"] == "train.step_time"]
        assert dict(zip(rows["side"], rows["value"], strict=True)) == {"base": 1.0, "candidate": 2.0}
        assert set(made.launches["round"]) == {1, 2}
        assert made.environment == environment()

    @pytest.mark.parametrize("text", ["latest", "20260101", "results/20260101T000000-abc-host-ab"])
    def test_it_is_found_as_a_run_is(self, kept, text):
        assert set(bench.read(text).summary["side"]) == set(SIDES)

    def test_the_cases_of_both_stand_beside_each_other(self, here):
        kept = keep(here / "ab", [timed()], [timed(OTHER)], (CASE, OTHER))
        assert list(dict.fromkeys(bench.read(kept).summary["case"])) == [
            f"{CASE.id}/side=base",
            f"{OTHER.id}/side=candidate",
        ]

    def test_an_axis_of_the_users_own_keeps_its_name(self, here):
        case = Case("fake", {**CASE.axes, "side": "left"})
        made = bench.read(keep(here / "ab", [timed(case)], [timed(case)], (case, case)))
        assert set(made.summary["side"]) == {"left"}
        assert set(made.summary["side_of_ab"]) == set(SIDES)

    def test_in_what_the_machines_or_software_of_the_sides_differ_is_a_note(self, kept):
        RunFolder(kept / "base").write_json("environment.json", environment(torch="2.8.0").to_json())
        (note,) = bench.read(kept).notes
        assert "the sides differ in torch: 2.8.0 and" in note

    def test_one_that_ended_before_its_first_launch_has_no_rows(self, here):
        assert bench.read(keep(here / "ab", [], [], journal=False)).summary.empty


class TestPairs:
    def test_are_launches_of_one_round_and_say_which_side_led(self, kept):
        first, second = session.read(kept).pairs
        assert (first.name, first.number, first.base_led) == ("both", 1, True)
        assert (second.name, second.number, second.base_led) == ("both", 2, False)
        assert [record.stages[0].steps[0] for record in first.records] == [1.0, 2.0]

    def test_a_launch_whose_partner_was_not_made_is_in_none(self, here):
        kept = keep(here / "ab", [timed(), timed(number=2)], [timed(position=2)])
        assert [pair.number for pair in session.read(kept).pairs] == [1]

    def test_counts_are_pairs_too_and_a_failure_is_a_record(self, here):
        base = [measurement(kind=COUNTED, position=1), timed()]
        broken = failure(round=1, position=2, kind="timed")
        kept = keep(here / "ab", base, [measurement(kind=COUNTED, position=2), broken])
        kinds = [pair.records[1].kind for pair in session.read(kept).pairs]
        assert kinds == ["counts", "timed"]

    def test_cases_that_are_called_unlike_are_paired_as_they_were(self, here):
        kept = keep(here / "ab", [timed()], [timed(OTHER, position=2)], (CASE, OTHER))
        (pair,) = session.read(kept).pairs
        assert (pair.name, [one.case for one in pair.records]) == ("both", [CASE, OTHER])

    def test_without_what_was_written_down_those_of_one_name_are(self, here):
        kept = keep(here / "ab", [timed()], [timed(position=2)], named=False)
        read = session.read(kept)
        assert [pair.name for pair in read.pairs] == [CASE.id]
        assert (read.most, read.counts, read.only) == (None, True, ([], []))

    def test_what_else_was_written_down_is_read(self, kept):
        read = session.read(kept)
        assert (read.labels, read.most, read.only) == (("the base", "the candidate"), 20, (["gone"], []))

    @pytest.mark.parametrize("cases", [{"both": ["x", "y"]}, {"both": [CASE.id]}, {"both": 7}])
    def test_names_of_no_case_are_refused_with_the_remedy(self, kept, cases):
        (kept / session.FILE).write_text(json.dumps({"cases": cases}))
        with pytest.raises(
            ResultsError, match=r"session.json names cases that the plans .* do not have; remove it"
        ):
            session.read(kept)


class TestOneSideOrBoth:
    def test_where_one_run_is_meant_one_is_to_be_named(self, kept):
        for wants in (lambda: find(str(kept)), lambda: find("20260101"), lambda: read_side(str(kept))):
            with pytest.raises(
                ResultsError, match=r"has two sides, as bench ab stores them; name one of them: .*base"
            ):
                wants()
        assert find(str(kept / "base")) == RunFolder(kept / "base")

    def test_the_latest_run_is_the_latest_that_is_one(self, kept):
        run = Path("results/20250101T000000-abc-host")
        run.mkdir()
        (run / "journal.jsonl").touch()
        assert find("latest").path == run
        assert find("latest", sessions=True).path.name == kept.name
        assert find("latest~1", sessions=True).path == run

    def test_tables_in_it_do_not_make_it_a_baseline(self, kept):
        (kept / "summary.csv").write_text("suite,case,metric,unit,value\n")
        assert baselines.find_baseline(str(kept)) is None

    def test_a_side_of_both_has_the_axis_by_which_they_are_compared(self, kept):
        found = read_side(str(kept), sessions=True)
        assert {axes["side"] for axes in found.axes.values()} == set(SIDES)

    def test_what_a_self_test_keeps_is_none(self, here):
        kept = keep(here / "results" / "20260101T000000-abc-host-selftest", [], [], journal=False)
        (kept / folder.SELFTEST).write_text("{}")
        assert (is_session(kept), sessions_in(here / "results")) == (False, [])
        with pytest.raises(
            ResultsError, match="bench selftest stores its decisions there, which bench show shows"
        ):
            find(str(kept), sessions=True)
        assert folder.runs(here / "results") == []
