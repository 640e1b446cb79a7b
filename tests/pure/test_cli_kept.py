"""Every verb that takes a run, on every kind of folder that there may be: the answer, or one line, never a fault."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from fakes import CASE, counts, environment, measurement, profile
from test_results_session import keep, timed

from bench import cli
from bench.ab.error_rates import NULL, Decision
from bench.measurement import COUNTED, PROFILED
from bench.results.folder import RunFolder
from bench.results.history import write_selftest
from bench.results.journal import Journal

RUN, PROFILE, AB, SELFTEST = (
    f"results/2026010{day}T000000-abc-host{kind}"
    for day, kind in enumerate(("", "", "-ab", "-selftest"), start=1)
)


def a_run(place, records, **plan):
    made = RunFolder(Path(place))
    made.logs.mkdir(parents=True)
    made.write_json("environment.json", environment().to_json())
    made.write_json("plan.json", {"cases": [CASE.to_json()], **plan})
    with contextlib.closing(Journal(made.journal)) as journal:
        for record in records:
            journal.append(record)
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, a profile, an A/B, a self-test, and what is left of some that came to nothing."""
    place = tmp_path_factory.mktemp("kept")
    with contextlib.chdir(place):
        a_run(RUN, [timed(number=n) for n in range(1, 7)], schedule={"launches": 6})
        detail = [
            measurement(kind=COUNTED, stages=(), counts=counts()),
            measurement(kind=PROFILED, stages=(), profile=profile()),
        ]
        a_run(PROFILE, detail, schedule={"launches": 0}, apart={"counts": True, "profile": True})
        pairs = range(1, 17)
        base = [measurement(kind=COUNTED, position=1, stages=(), counts=counts())]
        candidate = [measurement(kind=COUNTED, position=2, stages=(), counts=counts())]
        for number in pairs:
            base.append(timed(seconds=1 + number / 1e5, number=number, position=1 + number % 2))
            candidate.append(timed(seconds=1.2 + number / 1e5, number=number, position=2 - number % 2))
        keep(Path(AB), base, candidate)
        keep(Path(SELFTEST), [], [], journal=False)
        decision = Decision(NULL.name, CASE.id, {"epoch.time": "equivalent"}, {"epoch.time": 1.0}, 14, 5.0)
        write_selftest(Path(SELFTEST), [decision], environment())
        keep(Path("ended early"), [], [], journal=False)
        a_run("torn", [timed()])
        with Path("torn/journal.jsonl").open("a") as journal:
            journal.write('{"schema"')
        RunFolder(Path("given up/logs").parent).logs.mkdir(parents=True)
        shutil.copy("torn/plan.json", "given up/plan.json")
        Path("empty").mkdir()
        a_run("nothing", [])
        Path("damaged").mkdir()
        shutil.copytree(AB, "damaged", dirs_exist_ok=True)
        Path("damaged/session.json").write_text("{")
        Path("a file").write_text("x")
        a_run("old", [timed()], schedule="none", apart=[1])
    return place


@pytest.fixture
def bench(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = cli.exit_code(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


FOLDERS = (
    *(RUN, PROFILE, AB, SELFTEST, f"{AB}/base", "latest", "latest~1", "latest~2", "latest~9", "2026"),
    *("ended early", "torn", "given up", "empty", "nothing", "damaged", "old", "a file", "not there", ""),
)
VERBS = (
    *(["show"], ["show", "--json"], ["show", "--quality"], ["tables"]),
    *(["compare"], ["compare", "--by", "side"], ["compare", RUN]),
    *(["baseline", "save", "kept"], ["run", "--dry-run", "--resume"]),
)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_answers_or_says_why_not_in_one_line(bench, verb):
    for folder in FOLDERS:
        code, _, err = bench(*verb, folder)
        assert code in (0, 1, 2, 3), (folder, err)
        assert "Traceback" not in err, folder
        if code == 2:
            (line,) = err.splitlines()
            assert line.startswith("bench: "), folder


@pytest.mark.parametrize("folder", [RUN, PROFILE, AB, SELFTEST, "ended early", "torn", "empty", "damaged"])
def test_pictures_are_drawn_or_it_is_said_why_not(bench, folder):
    code, out, err = bench("plot", folder)
    assert code in (0, 2)
    if folder == AB:
        assert f"{AB}/plots/comparison.png" in out.splitlines()
        assert f"{AB}/plots/launches.png" in out.splitlines()
    if code == 2:
        assert len(err.splitlines()) == 1


class TestWhatBenchAbKept:
    def test_it_is_compared_with_its_pairing(self, bench):
        code, out, _ = bench("compare", AB)
        assert code == 1
        assert out.startswith("Failed: ")
        assert "base the base, candidate the candidate: measured side by side" in out
        assert "16 pairs of launches a case" in out
        assert "only in the base: gone" in out

    def test_other_metrics_thresholds_and_cases_may_be_asked_for(self, bench, tmp_path):
        assert bench("compare", AB, "--metric", "count.*")[0] == 0
        rules = tmp_path / "rules.toml"
        rules.write_text('[[rule]]\nmetric = "*time"\nthreshold = "50%"\n')
        assert bench("compare", AB, "--thresholds", str(rules))[0] == 0
        assert bench("compare", AB, "-k", "optimizer=sgd")[0] == 1
        code, _, err = bench("compare", AB, "-k", "optimizer=none")
        assert (code, "matches none of the 1 cases" in err) == (2, True)
        code, _, err = bench("compare", AB, "--metric", "nothing")
        assert (code, "has no metric 'nothing'" in err) == (2, True)
        code, _, err = bench("compare", AB, "--across", "machines")
        assert (code, "--across has no meaning for a session of bench ab" in err) == (2, True)

    def test_a_self_test_of_another_version_says_nothing_of_the_gate(self, bench, place):
        other = place / "results" / "20260105T000000-abc-host-selftest"
        other.mkdir()
        written = {"decisions": [{"of": "another version"}], "environment": environment().to_json()}
        (other / "selftest.json").write_text(json.dumps(written))
        code, out, _ = bench("compare", AB)
        shutil.rmtree(other)
        assert (code, "the gate on this machine" in out) == (1, False)
        assert "the gate on this machine" in bench("compare", AB)[1]

    def test_a_run_alone_is_nothing_to_compare(self, bench):
        code, _, err = bench("compare", RUN)
        assert (code, f"{RUN} is not a session of bench ab" in err) == (2, True)

    def test_its_sides_are_a_column(self, bench):
        _, out, _ = bench("show", AB)
        assert [
            line.split()[0] for line in out.splitlines() if line.split()[:1] in (["base"], ["candidate"])
        ] == [
            "base",
            "candidate",
        ]
        made = json.loads(bench("show", AB, "--json")[1])
        assert {row["side"] for row in made["summary"]} == {"base", "candidate"}


class TestWhatLatestIs:
    def test_is_named_where_it_is_an_ab(self, bench):
        _, out, _ = bench("show", "latest")
        assert out.splitlines()[0] == (
            f"latest is {AB}, a session of bench ab: base the base, candidate the candidate; "
            f"its verdicts: bench compare {AB}"
        )

    def test_is_named_where_it_is_a_profile_and_where_it_is_a_run(self, bench):
        said = f"{PROFILE}, a profile: no launch in it was timed"
        assert bench("show", "latest~1")[1].splitlines()[0] == f"latest~1 is {said}"
        assert bench("show", PROFILE)[1].splitlines()[0] == said
        assert bench("show", "latest~2")[1].splitlines()[0] == f"latest~2 is {RUN}"
        assert RUN not in bench("show", RUN)[1].splitlines()[0]

    def test_a_self_test_shows_its_decisions(self, bench):
        code, out, _ = bench("show", SELFTEST)
        assert (code, "identical code" in out) == (0, True)
        assert json.loads(bench("show", SELFTEST, "--json")[1])[0]["decisions"] == 1
