"""From `batch_size=max` to a number: the search of `bench run`, what it prints and keeps, and what it cannot be of."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench import cli
from bench.analysis.run.largest_batch import searches
from bench.cli.options import conditions
from bench.measurement import COUNTED, TIMED
from bench.results.journal import read_journal
from bench.running.batch_size_search import search
from bench.running.plan import Plan
from bench.running.preparation import describe, probe
from bench.running.workers import Workers
from bench.suite.case import MAX, Case, Schedule

pytestmark = pytest.mark.usefixtures("no_worker")

SUITES = Path(__file__).parents[1] / "suites"
HUNGRY, SMALL = str(SUITES / "hungry.py"), str(SUITES / "small.py")
MIB = 2**20
LIMIT = 100 * MIB
ONCE = ("--launches", "1", "--repeats", "0", "--no-profile", "--threads", "1")


def test_all_of_the_data_of_an_evaluation_fit(tmp_path):
    with Workers(conditions(threads=1), tmp_path) as workers:
        (listing,) = describe(workers, [HUNGRY], {"behaviour": ["nothing"], "mode": ["no_grad"]})
        plan = probe(workers, Plan(listing.expansion.cases, {listing.name: HUNGRY}, Schedule())).plan
        (found,) = searches(search(workers, plan))
    assert [one.size for one in found.tries] == [16, 32, 64, 100]
    assert all(one.throughput > 0 for one in found.tries)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kinds(folder: str) -> list[tuple[str, int]]:
    records = read_journal(Path(folder) / "journal.jsonl")
    return [(one.kind, one.case.batch_size) for one in [*records.measurements, *records.failures]]


class TestRun:
    def test_a_case_that_was_measured_at_what_was_found_is_not_missing(self, here):
        axes = ("--axis", "behaviour=nothing", "--axis", "batch_size=max")
        assert cli.exit_code(["run", HUNGRY, *axes, *ONCE, "--no-counts", "--quiet", "--out", "out"]) == 0
        assert kinds("out")[-1] == (TIMED, 100)

    def test_cases_are_measured_at_what_was_found_each_once_and_fail_in_the_ordinary_way(self, here, capfd):
        axes = ("--axis", "behaviour=raises,never fits,nothing", "--axis", "batch_size=20,max")
        assert cli.exit_code(["run", HUNGRY, *axes, *ONCE, "--out", "out"]) == 5
        tables = bench.read("out")
        cases = tables.summary.drop_duplicates("case")
        assert sorted(zip(cases["behaviour"], cases["batch_size"], strict=True)) == [
            ("nothing", 20),
            ("nothing", 100),
            ("raises", 20),
        ]
        failed = zip(
            tables.failures["behaviour"], tables.failures["kind"], tables.failures["batch_size"], strict=True
        )
        assert sorted(failed) == [("never fits", TIMED, 1), ("never fits", TIMED, 20)]
        printed = capfd.readouterr()
        out = " ".join(printed.out.split())
        assert "20 (21 fails, error: ValueError: too many of them; " in out
        assert "none fits (1 runs out of memory; 5 launches tried); measured at batch_size=1" in out
        assert "100 (all of the training data; 4 launches tried); the most samples/s at" in out
        assert "largest batch of hungry cpu 2 max raises train: trying 32 (16 fits)" in printed.err
        assert "out_of_memory: hungry/device=cpu/epochs=2/batch_size=4/" not in printed.err + printed.out
        table = pd.read_csv("out/batch_search.csv")
        assert list(table["case"].unique()) == [one.case.id for one in tables.searches]
        assert Path("out/plots/batch_search.png").is_file()
        assert Path("out/plots/batch_search.svg").is_file()

    def test_it_is_gone_on_with_wherever_it_was_cut_off(self, here, capfd):
        limited = ["run", HUNGRY, "--memory-limit", "100MiB", *ONCE, "--quiet"]
        assert cli.exit_code([*limited, "--time-budget", "0.0001", "--out", "out"]) == 3
        assert "the time budget ended before 1 of 1 case had a launch" in capfd.readouterr().err
        assert self.plan()["request"]["memory_limit"] == LIMIT
        assert cli.exit_code(["run", "--resume", "out", "--time-budget", "1h", "--quiet"]) == 0
        self.check_whole()
        # As if it had been killed in the middle of the search, and told before it ended.
        plan, journal = self.plan(), Path("out/journal.jsonl")
        (case,) = plan.pop("largest")
        begun = b"".join(journal.read_bytes().splitlines(keepends=True)[:2])
        journal.write_bytes(begun)
        plan["cases"] = [Case.from_json(plan["cases"][0]).sized(MAX).to_json()]
        Path("out/plan.json").write_text(json.dumps(plan))
        assert cli.exit_code(["run", "--resume", "out", "--quiet"]) == 0
        assert journal.read_bytes().startswith(begun)
        assert list(self.plan()["largest"]) == [case]
        self.check_whole()

    def plan(self) -> dict:
        return json.loads(Path("out/plan.json").read_text())

    def check_whole(self) -> None:
        """The search ran out of memory and nothing else, and the case was measured at what it found."""
        (found,) = bench.read("out").searches
        assert {one.failure for one in found.failing} == {"out_of_memory"}
        assert found.next is None
        assert self.plan()["largest"] == {found.case.id: found.batch_size}
        assert self.plan()["cases"] == [found.case.sized(found.batch_size).to_json()]
        made = kinds("out")
        assert len(made) == len(set(made)) == len(found.tries) + 2
        assert {(TIMED, found.batch_size), (COUNTED, found.batch_size)} < set(made)


REFUSED = {
    "ab": ["ab", "worktree", SMALL, "--axis", "batch_size=max"],
    "a side of ab": ["ab", "worktree", "set:batch_size=max", SMALL],
    "selftest": ["selftest", SMALL, "--axis", "batch_size=max"],
    "a suite that declares it": ["selftest", HUNGRY],
}


@pytest.mark.parametrize("what", REFUSED)
def test_two_sides_want_a_number(here, capfd, what):
    assert cli.exit_code(REFUSED[what]) == 2
    said = capfd.readouterr().err.strip()
    assert (
        said == "bench: batch_size=max is found by bench run; give the number it found: --axis batch_size=N"
    )
    assert not list(here.glob("results/*"))


BAD = {
    "a word": (
        ["list", SMALL, "--axis", "batch_size=maximum"],
        "not 'maximum' (or 'max', the largest that fits)",
    ),
    "no size": (["run", SMALL, "--memory-limit", "2 gigs"], "'2 gigs' is not a size; write it as 2GiB"),
    "nothing": (["run", SMALL, "--memory-limit", "0"], "'0' is not a possible size of memory"),
    "a limit to no search": (["run", SMALL, "--memory-limit", "2GiB"], "no case has that"),
    "the same of a profile": (["profile", SMALL, "--memory-limit", "2GiB"], "no case has that"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_that_names_the_thing(here, capfd, what):
    arguments, words = BAD[what]
    assert cli.exit_code(arguments) == 2
    said = capfd.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1


def test_it_is_listed_as_what_it_is(here, capfd):
    assert cli.exit_code(["list", HUNGRY]) == 0
    assert (
        "hungry/device=cpu/epochs=2/batch_size=max/behaviour=takes memory/mode=train"
        in capfd.readouterr().out
    )
    assert cli.exit_code(["run", HUNGRY, "--dry-run"]) == 0
    assert "batch_size=max is found first" in capfd.readouterr().out
