"""`bench show` of a summary that lies alone as a file, and what the other verbs say of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import CASE, failure, measurement

from bench import cli
from bench.cli.run_output import print_places
from bench.results.folder import RunFolder
from bench.results.journal import Journal, Records
from bench.results.tables import build, write
from bench.suite.case import Case

OTHER = Case("fake", {**CASE.axes, "mode": "inference_mode"})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The working directory, with a run in the folder `mine` and its two summaries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = RunFolder(Path("mine"))
    folder.path.mkdir()
    journal, records = Journal(folder.journal), Records()
    for record in (
        *(measurement(round=round) for round in range(1, 7)),
        *(measurement(round=round, case=OTHER) for round in range(1, 7)),
        failure(round=7),
    ):
        journal.append(record)
        records.add(record)
    journal.close()
    write(folder, build(records))
    return folder.path


@pytest.fixture(params=["summary.csv", "summary.parquet"])
def table(request, run):
    return str(run / request.param)


def said(capsys, *arguments: str) -> str:
    """What a command that ends well prints."""
    code = cli.exit_code([*arguments])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    return printed.out


def refused(capsys, *arguments: str) -> str:
    """The one line that a command ends in."""
    assert cli.exit_code([*arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err.rstrip("\n")


def test_debug_shows_the_tracebacks_that_the_journal_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path("mine"))
    folder.path.mkdir()
    journal = Journal(folder.journal)
    for record in (
        measurement(),
        *(failure(round=round, detail="Traceback:\n  step()\nValueError") for round in (2, 3)),
        failure(round=4, message="another", detail=""),
    ):
        journal.append(record)
    journal.close()
    assert cli.exit_code(["show", "mine"]) == 0
    assert "step()" not in "".join(capsys.readouterr())
    assert cli.exit_code(["show", "mine", "--debug", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["failures"], "what a program reads stays as it is"
    lines = printed.err.splitlines()
    assert lines[0].startswith(f"error: {CASE.id}: ValueError")
    assert lines[1:] == ["    Traceback:", "      step()", "    ValueError"]


class TestPlacesOfARun:
    """No line announces what is not there."""

    def places(self, capsys, *records, files=()) -> list[str]:
        gathered = Records()
        for record in records:
            gathered.add(record)
        folder = RunFolder(Path("mine"))
        for place in (folder.plots, folder.traces):
            place.mkdir(parents=True)
        for file in files:
            (folder.path / file).write_text("x")
        print_places(folder, build(gathered))
        return capsys.readouterr().out.splitlines()

    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_of_a_run_that_failed_altogether_the_failures_alone_are_named(self, capsys):
        assert self.places(capsys, failure()) == ["tables: mine/failures.csv"]

    def test_of_one_that_measured_all_that_it_has_is_named(self, capsys):
        tables, traces, flames, pictures = self.places(
            capsys,
            measurement(),
            files=("plots/phases.png", "traces/a.json.gz", "traces/a.speedscope.json"),
        )
        assert tables.startswith("tables: mine/summary.csv, summary.parquet, steps.parquet, ")
        assert "failures" not in tables
        assert traces.startswith("traces: mine/traces/ ")
        assert flames.startswith("flame graphs: mine/traces/*.speedscope.json ")
        assert pictures == "pictures: mine/plots/"

    def test_without_a_record_nothing_is(self, capsys):
        assert self.places(capsys) == []

    def test_plot_says_that_there_is_nothing_to_draw(self, capsys):
        folder = RunFolder(Path("mine"))
        folder.plots.mkdir(parents=True)
        journal = Journal(folder.journal)
        journal.append(failure())
        journal.close()
        assert cli.exit_code(["plot", "mine"]) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", "bench: mine holds nothing to draw\n")


class TestShow:
    def test_the_table_is_that_of_the_run(self, run, table, capsys):
        def rows(text: str) -> list[str]:
            return [line.rstrip() for line in text.splitlines() if "sgd" in line or "inference_mode" in line]

        shown = said(capsys, "show", table)
        assert len(rows(shown)) >= 2
        assert "every case: device=cpu, batch_size=4" in shown
        assert "ValueError" not in shown, "failures are in a table of their own"
        assert set(rows(shown)) <= set(rows(said(capsys, "show", str(run))))

    def test_one_metric_is_shown(self, run, table, capsys):
        shown = said(capsys, "show", table, "--metric", "epoch.time")
        assert "inference_mode" in shown
        assert shown.split() == said(capsys, "show", str(run), "--metric", "epoch.time").split()

    def test_json_holds_the_rows_of_the_run(self, run, table, capsys):
        found = json.loads(said(capsys, "show", table, "--json"))
        of_run = json.loads(said(capsys, "show", str(run), "--json"))
        assert found["summary"] == of_run["summary"]
        assert (found["failures"], found["environment"]) == ([], None)

    def test_json_of_one_metric(self, table, capsys):
        found = json.loads(said(capsys, "show", table, "--json", "--metric", "train.step_*"))
        assert {row["metric"] for row in found["summary"]} == {"train.step_time", "train.step_mean"}

    def test_a_metric_that_is_not_in_it_is_named(self, table, capsys):
        assert "'frobs'; it has epoch.time" in refused(capsys, "show", table, "--metric", "frobs")

    def test_five_columns_are_enough(self, run, capsys):
        lines = (run / "summary.csv").read_text().splitlines()
        head = lines[0].split(",")
        keep = [head.index(name) for name in ("suite", "case", "metric", "unit", "value")]
        few = [",".join(line.split(",")[place] for place in keep) for line in lines]
        Path("few.csv").write_text("\n".join(few))
        assert "inference_mode" in said(capsys, "show", "few.csv")
        assert "inference_mode" in said(capsys, "show", "few.csv", "--metric", "epoch.time")

    def test_a_table_without_rows_is_said_in_a_line(self, capsys, run):
        Path("none.csv").write_text((run / "summary.csv").read_text().splitlines()[0] + "\n")
        line = refused(capsys, "show", "none.csv")
        assert line == "bench: none.csv holds no row to show; measure first: bench run"

    @pytest.mark.parametrize("more", [(), ("--json",)])
    def test_so_is_a_run_without_any(self, capsys, run, more):
        (run / "journal.jsonl").write_text("")
        line = refused(capsys, "show", "mine", *more)
        assert line == "bench: mine holds no row to show; measure first: bench run"

    def test_and_a_torn_line_that_was_all_it_had(self, capsys, run):
        (run / "journal.jsonl").write_text('{"schema"')
        assert "mine/journal.jsonl: line 1 is incomplete" in refused(capsys, "show", "mine")

    def test_a_metric_that_is_not_there_has_the_closest_as_a_remedy(self, run, capsys):
        line = refused(capsys, "show", "mine", "--metric", "epoch.tim")
        assert line.endswith("has no metric 'epoch.tim'; did you mean 'epoch.time'?")

    def test_a_folder_is_a_run_whatever_it_is_called(self, run, capsys):
        run.rename("mine.csv")
        assert "ValueError" in said(capsys, "show", "mine.csv")


class TestRefused:
    @pytest.mark.parametrize("verb", ["tables", "plot"])
    def test_what_needs_all_of_a_run_names_its_folder(self, table, capsys, verb):
        line = refused(capsys, verb, table)
        assert line == f"bench: {table} is a file; bench {verb} needs all of a run: name its folder"

    def test_a_file_that_is_not_there(self, run, capsys):
        line = refused(capsys, "show", "gone.csv")
        assert line.startswith("bench: gone.csv cannot be read: No such file or directory; ")

    def test_another_file_of_the_run(self, run, capsys):
        line = refused(capsys, "show", "mine/journal.jsonl")
        assert line.startswith(
            "bench: mine/journal.jsonl is not a table that can be read; name a summary.csv"
        )

    @pytest.mark.parametrize("name", ["phases.csv", "failures.csv", "steps.parquet"])
    def test_another_table_of_the_run(self, run, capsys, name):
        line = refused(capsys, "show", f"mine/{name}")
        assert line.startswith(
            f"bench: mine/{name} is not a summary: it has no column 'metric', 'unit', 'value'; "
        )

    @pytest.mark.parametrize("flags", [[], ["--json"], ["--metric", "epoch.time"]])
    def test_a_damaged_one(self, table, capsys, flags):
        whole = Path(table).read_bytes()
        Path(table).write_bytes(whole[: len(whole) - 30])
        line = refused(capsys, "show", table, *flags)
        assert line.startswith(f"bench: {table} is ")
        assert line.endswith("; write it again from its run with: bench tables RUN")

    def test_a_row_whose_value_is_none_is_left_out_and_named(self, run, capsys):
        path = run / "summary.csv"
        path.write_text(path.read_text().replace("6.0", "six", 1))
        assert cli.exit_code(["show", str(path)]) == 0
        printed = capsys.readouterr()
        assert "inference_mode" in printed.out
        assert printed.err == f"bench: skipped in {path}: row 2, column 'value': 'six' is not a number\n"
