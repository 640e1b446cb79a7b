"""`bench compare` of files of other tools: what can be read is compared, the rest is said by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cli

ANY = ("--allow-inconclusive",)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


def saved(name: str, **benchmarks) -> str:
    """A file of pytest-benchmark with these medians by test, or with what stands in their place."""
    rows = [
        {
            "fullname": test.replace("__", "::"),
            "stats": {"median": stats} if isinstance(stats, float) else stats,
        }
        for test, stats in benchmarks.items()
    ]
    Path(name).write_text(json.dumps({"machine_info": {}, "benchmarks": rows}))
    return name


def compared(capsys, base: str, candidate: str, *flags: str) -> tuple[int, str]:
    code = cli.exit_code(["compare", base, candidate, *flags])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


def verdicts(capsys, base: str, candidate: str) -> dict[str, str]:
    _, out = compared(capsys, base, candidate, "--format", "json")
    return {row["case"]: row["verdict"] for row in json.loads(out)["rows"]}


class TestARowThatCannotBeRead:
    def test_of_the_candidate_it_is_not_measured_by_name_and_the_others_are_compared(self, capsys):
        base, candidate = saved("base.json", t__a=0.01, t__b=0.02), saved("new.json", t__a=0.03, t__b=None)
        assert verdicts(capsys, base, candidate) == {"t::a": "regressed", "t::b": "not_measured"}
        code, out = compared(capsys, base, candidate)
        assert code == 1
        assert out.count("benchmarks[1] has no 'stats'") == 1, "said once"
        assert "t::b, time: benchmarks[1] has no 'stats'" in out

    def test_of_the_base_it_is_said_why_there_is_no_row(self, capsys):
        base, candidate = saved("base.json", t__a=0.01, t__b=None), saved("new.json", t__a=0.03, t__b=0.02)
        assert verdicts(capsys, base, candidate) == {"t::a": "regressed"}
        _, out = compared(capsys, base, candidate)
        assert "not measured in base.json: t::b: benchmarks[1] has no 'stats'" in out

    def test_of_a_test_that_the_base_does_not_have_too(self, capsys):
        base, candidate = saved("base.json", t__a=0.01), saved("new.json", t__a=0.03, t__z={"median": "1"})
        _, out = compared(capsys, base, candidate)
        assert "not measured in new.json: t::z: benchmarks[1].stats.median is '1' and must be a number" in out

    def test_one_without_a_name_is_said_by_its_place(self, capsys):
        base = saved("base.json", t__a=0.01)
        Path("new.json").write_text(
            json.dumps(
                {"benchmarks": [{"stats": {"median": 1.0}}, {"fullname": "t::a", "stats": {"median": 0.03}}]}
            )
        )
        _, out = compared(capsys, base, "new.json")
        assert "skipped in new.json: benchmarks[0] has no 'fullname'" in out

    def test_no_more_lines_are_said_than_are_read(self, capsys):
        base = saved("base.json", t__a=0.01, **{f"t__{n}": None for n in range(25)})
        candidate = saved("new.json", t__a=0.01)
        _, out = compared(capsys, base, candidate)
        assert out.count("not measured in base.json: ") == 11
        assert "not measured in base.json: 15 other cases" in out

    def test_a_table_alone_is_compared_without_its_bad_rows(self, capsys):
        head = "suite,case,metric,unit,value\n"
        Path("base.csv").write_text(head + "s,s/a=1,m,1,2.0\ns,s/a=2,m,1,3.0\n")
        Path("new.csv").write_text(head + "s,s/a=1,m,1,2.0\ns,s/a=2,m,1,fast\n")
        _, out = compared(capsys, "base.csv", "new.csv", "--metric", "m", "--all")
        assert "skipped in new.csv: row 3, column 'value': 'fast' is not a number" in out
        assert "s/a=2" not in verdicts(capsys, "new.csv", "base.csv")

    def test_values_of_unlike_units_are_not_held_against_each_other(self, capsys):
        def of(unit: str) -> str:
            runs = [{"values": [2.0]}, {"values": [3.0]}]
            metadata = {"name": "x", "unit": unit}
            Path(f"{unit}.json").write_text(
                json.dumps({"version": "1.0", "benchmarks": [{"metadata": metadata, "runs": runs}]})
            )
            return f"{unit}.json"

        assert verdicts(capsys, of("second"), of("byte")) == {"x": "not_measured"}


class TestPathsOfWindows:
    WINDOWS, POSIX = "tests\\t.py", "tests/t.py"

    def test_a_test_has_one_name_wherever_it_ran(self, capsys):
        windows = saved("windows.json", **{f"{self.WINDOWS}__a": 0.03})
        posix = saved("posix.json", **{f"{self.POSIX}__a": 0.01})
        assert verdicts(capsys, posix, windows) == {f"{self.POSIX}::a": "regressed"}
        assert list(verdicts(capsys, windows, posix)) == [f"{self.WINDOWS}::a"]
