"""A summary that lies alone as a file: as it was written, as a spreadsheet left it, and damaged."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pyarrow as pa
import pytest
from fakes import CASE, environment, failure, measurement
from pyarrow import parquet

from bench.cli import exit_code
from bench.errors import ResultsError
from bench.report.plots.pages import pages_of
from bench.report.safe_text import plain_json
from bench.results.folder import RunFolder
from bench.results.journal import Records
from bench.results.sides import read_side
from bench.results.table_files import NEEDED, is_table, read_summary
from bench.results.table_rows import TABLES
from bench.results.tables import as_json, build, choose, write
from bench.suite.case import Case

SUMMARY_COLUMNS = list(TABLES["summary"].columns)

STANDARD = {"device": "cpu", "batch_size": 64, "learning_rate": 1e-05, "optimizer": "adam", "mode": "train"}
OWN = {"amp": True, "version": "1.10", "width": None, "path": "a/b=c"}
TRAIN = Case("main", STANDARD | OWN)
EVALUATION = Case("main", {**TRAIN.axes, "mode": "eval", "amp": False, "version": "007"})
CLASHING = Case(
    "main",
    {"device": "cpu", "stage": "deep", "step": "linear", "phase": 0.5, "share": True, "launches": 3},
)
ANEW = "write it again from its run with: bench tables RUN"


def tables_of(*cases: Case, launches: int = 6):
    records = Records()
    for round in range(1, launches + 1):
        for case in cases:
            records.add(measurement(case=case, round=round))
    records.add(failure(case=cases[0], round=launches + 1))
    return build(records, {"name": "mine"}, environment())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run of two cases, and the folder with its tables."""
    folder = tmp_path_factory.mktemp("written")
    tables = tables_of(TRAIN, EVALUATION)
    write(RunFolder(folder), tables)
    return tables, folder


@pytest.fixture
def place(tmp_path):
    return tmp_path / "summary.csv"


def rows_of(tables):
    return json.loads(plain_json(as_json(tables)))["summary"]


def text_of(written) -> str:
    return (written[1] / "summary.csv").read_text()


def cells_of(written) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(written))))


def saved(place, cells: list[list[str]], **dialect) -> None:
    with place.open("w", newline="") as file:
        csv.writer(file, **dialect).writerows(cells)


def refused(path) -> str:
    """The one line that reading this file ends in, without the path that it begins with."""
    with pytest.raises(ResultsError) as caught:
        read_summary(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path} ")
    return message.removeprefix(f"{path} ")


def left_out(path) -> list[str]:
    """What the notes say of the rows that are skipped in this file."""
    begin = f"skipped in {path}: "
    notes = read_summary(path).notes
    assert all(note.startswith(begin) and len(note.splitlines()) == 1 for note in notes)
    return [note.removeprefix(begin) for note in notes]


class TestAxesCalledLikeColumns:
    @pytest.fixture
    def folder(self, tmp_path):
        write(
            RunFolder(tmp_path),
            tables_of(CLASHING, Case("main", {**CLASHING.axes, "launches": 4}), launches=1),
        )
        return tmp_path

    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    def test_come_back_with_their_types(self, folder, name):
        summary = read_summary(folder / name).summary
        written = pd.read_parquet(folder / "summary.parquet")
        pd.testing.assert_frame_equal(summary, written, check_dtype=False)
        assert sorted(set(summary["axis.launches"])) == [3, 4]
        assert set(summary["launches"]) == {1}

    def test_are_taken_from_the_ids_where_they_were_cut_out(self, folder):
        written = pd.read_csv(folder / "summary.csv")
        axes = ["device", "stage", "step", "phase", "share", "axis.launches"]
        written.drop(columns=axes).to_csv(folder / "summary.csv", index=False)
        assert read_summary(folder / "summary.csv").axes == axes

    def test_are_values_of_a_case_by_their_own_names(self, folder):
        side = read_side(str(folder / "summary.csv"))
        assert side.axes[CLASHING.id] == dict(CLASHING.axes)

    def test_are_shown_drawn_and_compared_by_their_own_names(self, folder, capsys):
        tables = read_summary(folder / "summary.csv")
        assert [case.label() for case in pages_of(tables)[0].cases] == ["launches=3", "launches=4"]
        summary = str(folder / "summary.csv")
        assert exit_code(["show", summary]) == 0
        shown = capsys.readouterr().out
        assert "device=cpu, stage=deep, step=linear, phase=0.5, share=true" in shown
        assert "axis." not in shown
        exit_code(["compare", summary, summary, "-k", "launches=4"])
        assert "launches=4" in capsys.readouterr().out


class TestAsWritten:
    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    def test_every_row_and_column_comes_back_with_its_type(self, written, name):
        tables, folder = written
        read = read_summary(folder / name)
        assert list(read.summary.columns) == list(tables.summary.columns)
        assert read.axes == tables.axes
        assert rows_of(read) == rows_of(tables)
        kinds, found = tables.summary.dtypes.astype(str), read.summary.dtypes.astype(str)
        assert [kind.lower() for kind in found] == [kind.lower() for kind in kinds]

    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    def test_there_is_nothing_else(self, written, name):
        read = read_summary(written[1] / name)
        for other in ("steps", "phases", "launches", "failures"):
            assert len(getattr(read, other)) == 0
            assert "case" in getattr(read, other).columns
        assert (read.environment, read.plan, read.notes) == (None, {}, [])

    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    @pytest.mark.parametrize("launches", [1, 6])
    @pytest.mark.parametrize(
        "values",
        [
            [64, 256],
            [None, 256],
            [2**62, 1],
            [2**64, 1],
            [-(10**30), 1],
            [0.1, 1],
            [1e20, 1e300],
            [True, False],
            [True, None],
            ["true", "none"],
            ["nan", "inf"],
            ["1e5", "64"],
            ["1", "01"],
            ["a/b", "c=d/e=f"],
            ["auto", 64, 0.5, True, None],
            ["√", "a,b;c\t"],
            ['"', "new\nline"],
        ],
        ids=str,
    )
    def test_axes_of_every_kind_come_back(self, tmp_path, name, launches, values):
        tables = tables_of(*(Case("main", {"mine": value}) for value in values), launches=launches)
        write(RunFolder(tmp_path), tables)
        read = read_summary(tmp_path / name)
        assert rows_of(read) == rows_of(tables)

    @pytest.mark.parametrize("name", ["summary.csv", "summary.parquet"])
    def test_a_run_in_which_nothing_was_timed_has_a_summary_without_rows(self, tmp_path, name):
        write(RunFolder(tmp_path), build(Records()))
        read = read_summary(tmp_path / name)
        assert (len(read.summary), list(read.summary.columns)[2:]) == (0, SUMMARY_COLUMNS)
        assert not read.summary["metric"].str.startswith("epoch").any()

    def test_numbers_that_are_not_finite_come_back(self, tmp_path):
        tables = tables_of(CASE)
        tables.summary["value"] = [float("inf"), float("-inf"), float("nan")] + [1.0] * (
            len(tables.summary) - 3
        )
        write(RunFolder(tmp_path), tables)
        for name in ("summary.csv", "summary.parquet"):
            assert read_summary(tmp_path / name).summary["value"].equals(tables.summary["value"])

    def test_metrics_are_chosen_from_it(self, written):
        chosen = choose(read_summary(written[1] / "summary.csv"), ["epoch.*"])
        assert set(chosen.summary["metric"]) == {"epoch.time"}


class TestCutDown:
    def test_rows_can_be_left_out(self, written, place):
        tables, _ = written
        head, *rows = cells_of(written)
        saved(place, [head, *rows[1::3]])
        assert rows_of(read_summary(place)) == rows_of(tables)[1::3]

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_what_the_user_filtered_with_pandas_reads_on(self, written, tmp_path, suffix):
        tables, folder = written
        if suffix == "csv":
            frame = pd.read_csv(folder / "summary.csv")
            frame[frame["mode"] == "eval"].to_csv(tmp_path / "mine.csv")
        else:
            frame = pd.read_parquet(folder / "summary.parquet")
            frame[frame["mode"] == "eval"].set_index("case", append=True).to_parquet(
                tmp_path / "mine.parquet"
            )
        wanted = [row for row in rows_of(tables) if row["mode"] == "eval"]
        read = rows_of(read_summary(tmp_path / f"mine.{suffix}"))
        for row in read:
            row["version"] = "007"  # which pandas took for a number
        assert read == [{name: row[name] for name in read[0]} for row in wanted]

    def test_columns_can_stand_in_any_order_beside_those_of_the_user(self, written, place):
        tables, folder = written
        frame = pd.read_csv(folder / "summary.csv", dtype=str)
        mixed = frame[list(reversed(frame.columns))].assign(**{"my note": "twice = as fast", "suite2": 7})
        mixed.insert(3, "in between", "x")
        mixed.to_csv(place, index=False)
        read = read_summary(place)
        assert set(read.axes) == set(tables.axes)
        assert [dict(sorted(row.items())) for row in rows_of(read)] == [
            dict(sorted(row.items())) for row in rows_of(tables)
        ]

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_five_columns_are_enough_and_the_ids_tell_the_axes(self, written, tmp_path, suffix):
        tables, _ = written
        few = tables.summary[list(NEEDED)]
        path = tmp_path / f"few.{suffix}"
        if suffix == "csv":
            few.to_csv(path, index=False)
        else:
            few.to_parquet(path)
        read = read_summary(path)
        assert list(read.summary["value"]) == list(tables.summary["value"])
        for name in SUMMARY_COLUMNS[3:]:
            assert read.summary[name].isna().all() or set(read.summary[name]) == {""}, name
        first = rows_of(read)[0]
        assert (first["batch_size"], first["learning_rate"], first["amp"]) == (64, 1e-05, True)
        assert (first["optimizer"], first["version"], first["mode"]) == ("adam", "1.10", "train")
        assert pd.isna(read.summary["optimizer"].iloc[-1])

    def test_a_column_that_came_later_may_be_missing(self, written, place):
        head, *rows = cells_of(written)
        at = head.index("caveats")
        saved(place, [cells[:at] + cells[at + 1 :] for cells in [head, *rows]])
        assert set(read_summary(place).summary["caveats"]) == {""}

    def test_columns_of_the_users_own_may_hold_anything(self, written, tmp_path):
        tables, _ = written
        rows = len(tables.summary)
        mine = tables.summary.assign(lists=[[1, 2]] * rows, days=pd.Timestamp("2026-01-01"), raw=b"\xff")
        mine.to_parquet(tmp_path / "mine.parquet")
        assert rows_of(read_summary(tmp_path / "mine.parquet")) == rows_of(tables)

    def test_text_may_be_categories(self, written, tmp_path):
        tables, _ = written
        kinds = dict.fromkeys(("suite", "case", "metric", "optimizer"), "category")
        tables.summary.astype(kinds).to_parquet(tmp_path / "mine.parquet")
        assert rows_of(read_summary(tmp_path / "mine.parquet")) == rows_of(tables)


class TestFromASpreadsheet:
    @pytest.mark.parametrize(
        "change",
        [
            lambda text: "\ufeff" + text,
            lambda text: text.replace("\n", "\r\n"),
            lambda text: text.replace("\n", "\r"),
            lambda text: text.rstrip("\n"),
            lambda text: text + "\n\n",
            lambda text: text.replace("\n", ",,\n"),
            lambda text: text + "," * 30 + "\n" + "," * 30 + "\n",
            lambda text: "\n" + text,
            lambda text: text.replace("True", "TRUE").replace("False", "FALSE"),
            lambda text: text.replace(",1e-05,", ",0.00001,").replace(",6.0,", ",6,"),
            lambda text: text.replace(",6.0,", ",6.00E+00,"),
            lambda text: text.replace(",6.0,", ", 6.0 ,"),
        ],
        ids=range(12),
    )
    def test_what_it_changes_is_no_change(self, written, place, change):
        place.write_bytes(change(text_of(written)).encode())
        assert rows_of(read_summary(place)) == rows_of(written[0])

    @pytest.mark.parametrize("separator", [";", "\t"])
    @pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    def test_other_separators_are_read(self, written, place, separator, quoting):
        saved(place, cells_of(written), delimiter=separator, quoting=quoting)
        assert rows_of(read_summary(place)) == rows_of(written[0])

    def test_separators_behind_the_last_value_may_be_missing(self, place):
        place.write_text("suite,case,metric,unit,value,ci_low,caveats\ns,s,m,s,1\ns,s,n,s,2,0.5\ns,s,o,s,3\n")
        summary = read_summary(place).summary
        assert list(summary["value"]) == [1, 2, 3]
        assert list(summary["ci_low"].dropna()) == [0.5]

    @pytest.mark.parametrize(
        "text",
        ['suite,case,metric,unit,value\ns,s,m,s,"0,5"\n', "suite;case;metric;unit;value\ns;s;m;s;0,5\n"],
    )
    def test_a_decimal_comma_is_refused(self, place, text):
        place.write_text(text)
        assert refused(place) == "row 2, column 'value': '0,5' is not a number; correct it there"


HEAD = "suite,case,metric,unit,value,launches,caveats\n"
ROW = "s,s/a=1,m,s,1.5,6,\n"

BAD_TEXT = {
    "nothing": (b"", f"is empty; {ANEW}"),
    "blanks": (b" \n\n ", f"is empty; {ANEW}"),
    "separators": (b",,,\n,,,\n", f"is empty; {ANEW}"),
    "a mark alone": (b"\xef\xbb\xbf", f"is empty; {ANEW}"),
    "another encoding": (
        HEAD.encode("utf-16")[:-1],
        f"is not UTF-16 text, from byte {2 * len(HEAD)} on; save it so, or {ANEW}",
    ),
    "a broken letter": (
        (HEAD + "s,s\xe9,m,s,1\n").encode("latin-1"),
        f"is not UTF-8 text, from byte {len(HEAD) + 3} on; save it so, or {ANEW}",
    ),
    "NUL": ((HEAD + "s,s\0,m,s,1\n").encode(), f"holds NUL bytes: it is damaged, or not CSV; {ANEW}"),
    "no head": (b"1,2,3\n", "is not a summary: it has no column 'suite', 'case', 'metric', 'unit', 'value'"),
    "a case and no value": (
        b"suite,case,metric,unit\n",
        f"is not a summary: it has no column 'value'; {ANEW}",
    ),
    "names in another case": (
        b"Suite,case,metric,unit,value\n",
        "is not a summary: it has no column 'suite'; ",
    ),
    "a column twice": (
        b"suite,case,metric,unit,value,value\n",
        "has 2 columns 'value'; keep one of them",
    ),
    "an axis twice": (
        b"suite,case,a,a,metric,unit,value\ns,s/a=1,1,1,m,s,1\n",
        "has 2 columns 'a'; keep one of them",
    ),
    "a later column twice": (
        b"suite,case,metric,unit,value,ci_low,ci_low\n",
        "has 2 columns 'ci_low'; keep one of them",
    ),
    "a value of text": (
        (HEAD + "s,s/a=2,m,s,fast,6,\n").encode(),
        "row 2, column 'value': 'fast' is not a number; correct it there",
    ),
    "a fault of a spreadsheet": (
        (HEAD + "s,s,m,s,#DIV/0!,6,\n").encode(),
        "row 2, column 'value': '#DIV/0!' is not a number; correct it there",
    ),
    "a number of Python": (
        (HEAD + "s,s,m,s,1_000,6,\n").encode(),
        "row 2, column 'value': '1_000' is not a number; correct it there",
    ),
    "a number in another script": (
        (HEAD + "s,s,m,s,\u0661,6,\n").encode(),
        "row 2, column 'value': '\u0661' is not a number; correct it there",
    ),
    "half a launch": (
        (HEAD + "s,s,m,s,1,6.5,\n").encode(),
        "row 2, column 'launches': '6.5' is not a count; correct it there",
    ),
    "launches below none": (
        (HEAD + "s,s,m,s,1,-6,\n").encode(),
        "row 2, column 'launches': '-6' is not a count; correct it there",
    ),
    "launches without end": (
        (HEAD + "s,s,m,s,1,inf,\n").encode(),
        "row 2, column 'launches': 'inf' is not a count; correct it there",
    ),
    "launches beyond all bounds": (
        (HEAD + f"s,s,m,s,1,{10**30},\n").encode(),
        f"row 2, column 'launches': '{10**30}' is not a count; correct it there",
    ),
    "a row without a case": (
        (HEAD + "s, ,m,s,1,6,\n").encode(),
        "row 2, column 'case': ' ' must not be empty; correct it there",
    ),
    "a row twice": (
        (HEAD + ROW + "\n" + ROW).encode(),
        "has metric 'm' of case 's/a=1' twice, in rows 2 and 4; keep one of them",
    ),
    "cut off in a row": (
        (HEAD + ROW + ROW[:-3]).encode(),
        f"is damaged: row 3 has 6 cells and the head has 7; {ANEW}",
    ),
    "cut off before the value": (
        (HEAD + "s,s,m,s\n" + ROW).encode(),
        f"is damaged: row 2 has 4 cells and the head has 7; {ANEW}",
    ),
    "more cells than names": (
        (HEAD + ROW[:-1] + ",7\n").encode(),
        f"is damaged: row 2 has 8 cells and the head has 7; {ANEW}",
    ),
    "a quote that does not end": (
        (HEAD + '"s,s,m,s,1,6,\n' + ROW).encode(),
        f"is damaged at line 3: unexpected end of data; {ANEW}",
    ),
    "text behind a quote": (
        (HEAD + '"s"s,s,m,s,1,6,\n').encode(),
        f"is damaged at line 2: ',' expected after '\"'; {ANEW}",
    ),
    "a cell without end": (
        (HEAD + "s," + "x" * 200_000 + ",m,s,1,6,\n").encode(),
        f"is damaged at line 2: field larger than field limit (131072); {ANEW}",
    ),
    "a long cell in a number's place": (
        (HEAD + "s,s,m,s," + "x" * 100_000 + ",6,\n").encode(),
        "row 2, column 'value': 'xxx",
    ),
    "columns without end": (
        (HEAD[:-1] + ",x" * 2000 + "\n").encode(),
        f"has 1 row and 2,007 columns: no summary is so large; {ANEW}",
    ),
    "axes without end": (
        (HEAD + "s,s" + "".join(f"/a{n}=1" for n in range(2000)) + ",m,s,1,6,\n").encode(),
        f"has 1 row and 2,000 columns: no summary is so large; {ANEW}",
    ),
    "Parquet by another name": (b"PAR1\0\0\0PAR1", f"holds NUL bytes: it is damaged, or not CSV; {ANEW}"),
}


BAD_ROWS = {
    "a value of text": ("s,s/a=2,m,s,fast,6,\n", "row 3, column 'value': 'fast' is not a number"),
    "no case": ("s, ,m,s,1,6,\n", "row 3, column 'case': ' ' must not be empty"),
    "half a launch": ("s,s/a=2,m,s,1,6.5,\n", "row 3, column 'launches': '6.5' is not a count"),
    "another unit": (
        "s,s/a=2,epoch.time,ms,1,6,\n",
        "row 3, column 'unit': 'ms' is not the unit of epoch.time, which is 's'",
    ),
    "a count below zero": (
        "s,s/a=2,count.ops,1,-1,6,\n",
        "row 3, column 'value': '-1' is not a count, as count.ops is",
    ),
}


class TestARowThatCannotBeRead:
    @pytest.mark.parametrize("what", BAD_ROWS)
    def test_it_is_left_out_and_the_others_stand(self, place, what):
        row, why = BAD_ROWS[what]
        place.write_text(HEAD + ROW + row + "s,s/a=3,m,s,2.5,6,\n")
        assert [found["value"] for found in rows_of(read_summary(place))] == [1.5, 2.5]
        assert left_out(place) == [why]

    def test_a_row_that_is_there_twice_is_neither(self, place):
        place.write_text(HEAD + ROW + "s,s/a=3,m,s,2.5,6,\n" + ROW)
        assert [found["value"] for found in rows_of(read_summary(place))] == [2.5]
        assert left_out(place) == ["has metric 'm' of case 's/a=1' twice, in rows 2 and 4"]

    def test_no_more_lines_are_said_than_are_read(self, place):
        place.write_text(HEAD + ROW + "".join(f"s,s/a={n},m,s,fast,6,\n" for n in range(2, 25)))
        said = left_out(place)
        assert len(said) == 11
        assert said[-1] == "13 other rows"

    def test_where_no_row_can_be_read_the_first_says_why(self, place):
        place.write_text(HEAD + "s,s/a=2,m,s,fast,6,\ns,s/a=3,m,s,slow,6,\n")
        assert refused(place) == (
            "row 2, column 'value': 'fast' is not a number; likewise 1 other row; correct it there"
        )

    def test_the_kept_rows_have_their_own_axes(self, place):
        place.write_text(HEAD + "s,s/b=2,m,s,fast,6,\n" + ROW)
        assert read_summary(place).axes == ["a"]

    def test_parquet_has_rows_of_its_own_too(self, written, tmp_path):
        frame = written[0].summary.copy()
        frame["value"] = ["fast", *map(str, frame["value"][1:])]
        frame.to_parquet(tmp_path / "x.parquet")
        assert len(read_summary(tmp_path / "x.parquet").summary) == len(frame) - 1
        assert left_out(tmp_path / "x.parquet") == ["row 1, column 'value': 'fast' is not a number"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_the_encodings_of_spreadsheets_are_read(self, written, place, encoding):
        place.write_bytes(text_of(written).encode(encoding))
        assert rows_of(read_summary(place)) == rows_of(written[0])


class TestBadText:
    @pytest.mark.parametrize("what", BAD_TEXT)
    def test_it_is_one_line_with_the_path_the_place_and_the_remedy(self, place, what):
        data, words = BAD_TEXT[what]
        place.write_bytes(data)
        message = refused(place)
        assert message.startswith(words)
        assert len(message) < 400

    def test_a_row_is_numbered_as_a_spreadsheet_does_it(self, place):
        place.write_text(HEAD + '"s","s/note=two\nlines",m,s,1,6,\n' + "\n" + "s,s,m,s,fast,6,\n")
        assert left_out(place) == ["row 4, column 'value': 'fast' is not a number"]

    def test_a_file_cut_off_in_a_row_is_refused_and_behind_one_is_the_rows_before(self, written, place):
        lines = text_of(written).splitlines(keepends=True)
        for cut in (10, len(lines[20]) // 2, len(lines[20]) - 20):
            place.write_text("".join(lines[:20]) + lines[20][:cut])
            assert refused(place).startswith("is damaged: row 21 has ")
        place.write_text("".join(lines[:20]))
        first = rows_of(read_summary(place))
        assert first == [{name: row[name] for name in first[0]} for row in rows_of(written[0])[:19]]


def parquet_of(frame: pd.DataFrame, path, **options) -> None:
    parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, **options)


class TestBadParquet:
    @pytest.fixture
    def frame(self, written):
        return written[0].summary.copy()

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", f"is empty; {ANEW}"),
            (b"PAR1", "is not a Parquet file that can be read: "),
            (b"PAR1\xff\xff\xff\x7fPAR1", "is not a Parquet file that can be read: "),
            (HEAD.encode(), "is not a Parquet file that can be read: "),
            (b"\0" * 100, "is not a Parquet file that can be read: "),
            (b"PARE" * 10, "is not a Parquet file that can be read: "),
        ],
    )
    def test_what_is_none_is_named(self, tmp_path, data, words):
        (tmp_path / "x.parquet").write_bytes(data)
        message = refused(tmp_path / "x.parquet")
        assert message.startswith(words)
        assert message.endswith(ANEW)
        assert len(message) < 400

    def test_a_file_that_was_cut_off_is_named(self, written, tmp_path):
        whole = (written[1] / "summary.parquet").read_bytes()
        for end in (1, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 4, len(whole) - 1):
            (tmp_path / "x.parquet").write_bytes(whole[:end])
            assert refused(tmp_path / "x.parquet").startswith("is not a Parquet file that can be read: ")

    def test_columns_that_are_missing_are_named(self, frame, tmp_path):
        frame.drop(columns=["unit", "metric"]).to_parquet(tmp_path / "x.parquet")
        assert (
            refused(tmp_path / "x.parquet") == f"is not a summary: it has no column 'metric', 'unit'; {ANEW}"
        )

    def test_other_tables_are_no_summary(self, written):
        message = refused(written[1] / "steps.parquet")
        assert message == f"is not a summary: it has no column 'metric', 'unit', 'value'; {ANEW}"

    @pytest.mark.parametrize(
        ("name", "cells", "words"),
        [
            ("value", lambda n: [[1.0]] * n, "holds list<"),
            ("value", lambda n: [{"a": 1.0}] * n, "holds struct<"),
            ("value", lambda n: [b"1"] * n, "holds binary in column 'value'"),
            ("value", lambda n: pd.date_range("2026-01-01", periods=n), "holds timestamp["),
            ("case", lambda n: [["a"]] * n, "holds list<"),
            ("mode", lambda n: [["a"]] * n, "holds list<"),
            ("value", lambda n: [True] * n, "row 1, column 'value': True is not a number"),
            ("metric", lambda n: list(range(n)), "row 1, column 'metric': 0 is not text"),
            ("case", lambda n: [None] * n, "row 1, column 'case': None must not be empty"),
            ("launches", lambda n: [0.5] * n, "row 1, column 'launches': 0.5 is not a count"),
            ("launches", lambda n: [-1] * n, "row 1, column 'launches': -1 is not a count"),
            ("caveats", lambda n: [1.5] * n, "row 1, column 'caveats': 1.5 is not text"),
            ("metric", lambda n: ["epoch.time"] * n, "has metric 'epoch.time' of case 'main/device=cpu"),
        ],
    )
    def test_columns_of_other_kinds_are_named(self, frame, tmp_path, name, cells, words):
        frame[name] = cells(len(frame))
        frame.to_parquet(tmp_path / "x.parquet")
        assert words in refused(tmp_path / "x.parquet")

    def test_numbers_may_be_text_and_whole_numbers_of_any_width(self, frame, tmp_path):
        frame["value"] = frame["value"].astype(str)
        frame = frame.astype({"ci_low": "float32", "launches": "uint8", "steps": "float64"})
        frame.to_parquet(tmp_path / "x.parquet")
        assert rows_of(read_summary(tmp_path / "x.parquet"))[0]["launches"] == 6

    def test_a_column_twice_is_named(self, frame, tmp_path):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        parquet.write_table(table.append_column("value", table.column("value")), tmp_path / "x.parquet")
        assert refused(tmp_path / "x.parquet") == "has 2 columns 'value'; keep one of them"

    def test_rows_without_end_are_refused_before_they_are_made(self, tmp_path):
        table = pa.table({name: pa.nulls(2 * 10**6) for name in NEEDED})
        parquet.write_table(table, tmp_path / "x.parquet")
        assert (tmp_path / "x.parquet").stat().st_size < 20_000
        assert "has 2,000,000 rows and 5 columns: no summary is so large" in refused(tmp_path / "x.parquet")

    def test_an_encrypted_file_is_named(self, frame, tmp_path):
        encryption = pytest.importorskip("pyarrow.parquet.encryption")

        class Keys(encryption.KmsClient):
            def wrap_key(self, key_bytes, master_key_identifier):
                return key_bytes.hex()

            def unwrap_key(self, wrapped_key, master_key_identifier):
                return bytes.fromhex(wrapped_key)

        for plaintext in (False, True):
            wanted = encryption.EncryptionConfiguration(
                footer_key="f", column_keys={"c": ["value"]}, plaintext_footer=plaintext
            )
            factory = encryption.CryptoFactory(lambda _: Keys())
            keys = factory.file_encryption_properties(encryption.KmsConnectionConfig(), wanted)
            parquet_of(frame, tmp_path / "x.parquet", encryption_properties=keys)
            message = refused(tmp_path / "x.parquet")
            assert message.startswith("is not a Parquet file that can be read: ")
            assert message.endswith(ANEW)

    def test_a_flipped_byte_is_found_where_the_writer_left_checksums(self, frame, tmp_path):
        parquet_of(frame, tmp_path / "x.parquet", write_page_checksum=True, compression="none")
        whole = (tmp_path / "x.parquet").read_bytes()
        at = whole.index(b"work.train.samples")
        (tmp_path / "x.parquet").write_bytes(whole[:at] + b"W" + whole[at + 1 :])
        assert "can be read: " in refused(tmp_path / "x.parquet")


class TestPaths:
    @pytest.mark.parametrize(
        "name", ["journal.jsonl", "summary.pkl", "summary", "summary.csv.gz", "notes.txt"]
    )
    def test_what_is_no_table_by_its_name_is_not_even_opened(self, tmp_path, name):
        words = (
            "is not a table that can be read; name a summary.csv or summary.parquet, or the folder of a run"
        )
        assert refused(tmp_path / name) == words

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("gone.csv", "No such file or directory"),
            ("gone.parquet", "No such file or directory"),
            ("folder.csv", "Is a directory"),
            ("file/x.csv", "Not a directory"),
            ("x" * 300 + ".csv", "File name too long"),
            ("nul\0.csv", "embedded null byte"),
        ],
    )
    def test_what_cannot_be_read_is_named_with_the_reason(self, tmp_path, name, why):
        (tmp_path / "folder.csv").mkdir()
        (tmp_path / "file").touch()
        words = "name a summary.csv or summary.parquet that can"
        assert refused(tmp_path / name) == f"cannot be read: {why}; {words}"

    def test_the_suffix_may_be_in_capitals(self, written, tmp_path):
        (tmp_path / "SUMMARY.CSV").write_text(text_of(written))
        assert len(read_summary(tmp_path / "SUMMARY.CSV").summary) == len(written[0].summary)

    def test_a_file_is_told_from_a_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "run.csv").mkdir()
        (tmp_path / "latest").touch()
        (tmp_path / "notes.txt").touch()
        asked = (
            "summary.csv",
            "a/b.parquet",
            "A.CSV",
            "notes.txt",
            "run.csv",
            "latest",
            "2026",
            "gone.txt",
            "",
        )
        assert [text for text in asked if is_table(text)] == [
            "summary.csv",
            "a/b.parquet",
            "A.CSV",
            "notes.txt",
        ]


class TestUnits:
    @pytest.mark.parametrize(
        ("name", "found", "wanted"),
        [
            ("epoch.time", "ms", "s"),
            ("train.phase.mine", "furlong", "s"),
            ("memory.peak_rss", "MiB", "B"),
            ("count.ops", "k", "1/step"),
        ],
    )
    def test_a_metric_in_another_unit_than_its_own_is_refused(self, place, name, found, wanted):
        place.write_text(f"suite,case,metric,unit,value\ns,s,{name},{found},2\n")
        with pytest.raises(ResultsError) as problem:
            read_summary(place)
        assert str(problem.value) == (
            f"{place} row 2, column 'unit': '{found}' is not the unit of {name}, which is '{wanted}'; correct it there"
        )

    def test_a_metric_of_the_users_own_has_the_unit_that_it_has(self, place):
        place.write_text("suite,case,metric,unit,value\ns,s,mine,furlong,2\n")
        assert read_summary(place).summary["unit"].tolist() == ["furlong"]

    def test_a_count_is_not_below_zero(self, place):
        place.write_text("suite,case,metric,unit,value\ns,s,count.ops,1,-3\n")
        with pytest.raises(ResultsError, match="'-3' is not a count, as count"):
            read_summary(place)
