"""Damaged files of a run: reading them gives a result or one line that names the file, and runs nothing.

The files are written by the product, then damaged in every way that disks, editors and strangers have.
"""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import math
import os
import pickle
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from fakes import CASE, counts, environment, failure, measurement, profile, stage
from hypothesis import given, is_hypothesis_test
from hypothesis import strategies as st
from pyarrow import parquet
from rich.console import Console
from tiers import EXAMPLES, sample

from bench.errors import UsageError
from bench.measurement import COUNTED, PHASED, PROFILED
from bench.report import plots
from bench.report.plots import style
from bench.report.safe_text import plain_json
from bench.report.terminal import overview
from bench.report.terminal.profile import profiles
from bench.results import tables
from bench.results.folder import RunFolder
from bench.results.history import launch_seconds
from bench.results.journal import SCHEMA, Journal, read_journal
from bench.results.table_files import read_summary
from bench.results.tables import Tables
from bench.suite.case import Case

LEAST = {"quick": 150, "long": 10_000}  # examples over all properties here: `make test`, `make test-long`
DRAWN = 40  # of so many damaged journals one is drawn, as it takes its time

OTHER = Case("fake", {"device": "cpu", "batch_size": 4, "width": None, "rate": 0.1, "mode": "no_grad"})
STAGES = (stage(phases={"data": 0.5, "other": 1.5}), stage("test", metrics={"accuracy": 0.5}))
RECORDS = (
    measurement(stages=STAGES),
    failure(case=OTHER, message="no such\nthing", detail="Traceback ...\n  \u2620"),
    measurement(case=OTHER, stages=STAGES[1:], round=2),
    measurement(stages=STAGES[:1], kind=PHASED, round=3),
    measurement(stages=(), kind=COUNTED, round=0, counts=counts(unknown=("mylib.thing",))),
    measurement(stages=(), kind=PROFILED, round=0, profile=profile(device={"idle_share": 0.5})),
)
PLAN = {
    "name": "mine",
    "note": "a remark",
    "started": "2026-01-01T00:00:00+00:00",
    "command": ["bench", "run"],
    "commit": "abc1234+",
    "schedule": {"launches": 6, "time_budget": None, "timeout": 600.0, "seed": 0},
    "cases": [CASE.to_json(), OTHER.to_json()],
}


class Run:
    """A run as the product wrote it, and a copy of it to be damaged again and again."""

    FILES = ("journal.jsonl", "plan.json", "environment.json", "summary.csv", "summary.parquet")

    def __init__(self, place: Path) -> None:
        whole = RunFolder(place / "whole")
        whole.path.mkdir()
        journal = Journal(whole.journal)
        for record in RECORDS:
            journal.append(record)
        journal.close()
        whole.write_json("plan.json", PLAN)
        whole.write_json("environment.json", environment().to_json())
        tables.write(whole, tables.read(whole.path))
        self.whole = {name: (whole.path / name).read_bytes() for name in self.FILES}
        self.path = place / "runs" / "damaged"
        self.path.mkdir(parents=True)
        self.marker = place / "marker"  # made by nothing but a pickle that somebody loads
        self.damaged = ""
        for name in self.FILES:
            self.put(name, self.whole[name])

    def put(self, name: str, data: bytes) -> None:
        """Damages this file, and mends the one that was damaged before."""
        if self.damaged not in ("", name):
            (self.path / self.damaged).write_bytes(self.whole[self.damaged])
        (self.path / name).write_bytes(data)
        self.damaged = name

    @property
    def lines(self) -> list[bytes]:
        """The lines of the journal as it was written, without their ends."""
        return self.whole["journal.jsonl"].splitlines()

    def read(self, name: str, show: bool = True) -> Tables | None:
        """What is read where this file is damaged and all others are whole; None where it is refused."""
        path = self.path / name
        read = (lambda: read_summary(path)) if "summary" in name else (lambda: tables.read(self.path))
        found = outcome(path, read)
        if found is not None and show:
            json.loads(plain_json(tables.as_json(found)), parse_constant=refuse_constant)
            shown(found).encode()
            if name == "journal.jsonl" and zlib.crc32(path.read_bytes()) % DRAWN == 0:
                self.draw(found)
        assert not self.marker.exists(), "a pickle was loaded"
        return found

    def draw(self, found: Tables) -> None:
        """The pictures of each case that was counted, in files that others can read."""
        names = {case: str(number) for number, case in enumerate(found.untimed)}
        for path in plots.draw_cases(found, self.path.parent.parent / "plots", names):
            if path.suffix == ".svg":
                ET.parse(path)


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Few pixels: nobody looks at these pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.SETTINGS, "savefig.dpi", 20)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("damage"))


def outcome(path: Path, read: Callable[[], Any]) -> Any:
    """What reading gives; None where it ends in one line that names the file."""
    try:
        return read()
    except UsageError as problem:
        message = str(problem)
        assert len(message.splitlines()) == 1, f"more than one line: {message!r}"
        assert str(path) in message, f"the path is not named: {message}"
        return None


def refuse_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def shown(found: Tables) -> str:
    """The tables as `bench show` prints them, and the profiles as `bench profile` does."""
    console = Console(file=io.StringIO(), width=160, highlight=False)
    for page in (*overview.overview(found), *overview.metrics(found), *profiles(found, 2)):
        console.print(page)
    return console.file.getvalue()


# Damage to bytes.


def place_in(data: bytes) -> st.SearchStrategy[int]:
    return st.integers(0, len(data))


@st.composite
def damaged_bytes(draw, whole: bytes) -> bytes:
    """Bytes after one to three accidents: flipped, overwritten, put in, taken out, doubled, cut off."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(place_in(data))
        length = draw(st.one_of(st.integers(1, 8), st.integers(1, 400)))
        accident = draw(st.sampled_from(["flip", "overwrite", "insert", "delete", "double", "cut", "move"]))
        piece = data[at : at + length]
        if accident == "flip":
            mask = draw(st.integers(1, 255))
            data = data[:at] + bytes(byte ^ mask for byte in piece[:1]) + data[at + 1 :]
        elif accident in ("overwrite", "insert"):
            new = draw(st.one_of(st.binary(min_size=1, max_size=16), st.sampled_from(NASTY)))
            data = data[:at] + new + data[at + (len(new) if accident == "overwrite" else 0) :]
        elif accident == "delete":
            data = data[:at] + data[at + length :]
        elif accident == "double":
            data = data[:at] + piece + data[at:]
        elif accident == "move":
            rest = data[:at] + data[at + length :]
            to = draw(place_in(rest))
            data = rest[:to] + piece + rest[to:]
        else:
            data = data[:at]
    return data


NASTY = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\r\n",
        b"\r",
        b"\n",
        b'"',
        b",",
        b"\\",
        b"{",
        b"]",
    ),
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1",
        b"9" * 400,
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"\\ud800",
    ),
    *(b'"\\u0000"', "\u2028".encode(), b"\x1b[31m", b"[" * 400, b'{"a":' * 400),
)


def first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((place for place, (left, right) in enumerate(pairs) if left != right), shorter)


def records_in_order(path: Path) -> list[Any] | None:
    """The lines of a journal that were read, as JSON, measurements first; None where all of it is refused."""
    found = outcome(path, lambda: read_journal(path))
    return None if found is None else [record.to_json() for record in (*found.measurements, *found.failures)]


def as_read(records: Any) -> list[Any]:
    """These records as `records_in_order` gives them."""
    ordered = sorted(records, key=lambda record: hasattr(record, "failure"))
    return [json.loads(json.dumps(record.to_json())) for record in ordered]


def holds(found: list[Any], wanted: list[Any]) -> bool:
    """Whether all of the wanted records are among those that were found, in their order."""
    rest = iter(json.loads(json.dumps(found)))
    return all(record in rest for record in wanted)


@pytest.mark.long
class TestBytes:
    @given(data=st.data())
    def test_a_journal_cut_at_any_byte_loses_the_cut_line_alone(self, run, data):
        whole = run.whole["journal.jsonl"]
        end = data.draw(place_in(whole))
        run.put("journal.jsonl", whole[:end])
        kept = whole[:end].count(b"\n")
        found = records_in_order(run.path / "journal.jsonl")
        assert json.loads(json.dumps(found)) == as_read(RECORDS[:kept])

    @given(data=st.data())
    def test_a_damaged_journal_still_tells_what_lies_before_the_damage(self, run, data):
        whole = run.whole["journal.jsonl"]
        damaged = data.draw(damaged_bytes(whole))
        run.put("journal.jsonl", damaged)
        before = damaged[: first_difference(whole, damaged)].count(b"\n")
        found = records_in_order(run.path / "journal.jsonl")
        assert found is None or holds(found, as_read(RECORDS[:before]))
        run.read("journal.jsonl")

    @pytest.mark.parametrize("name", Run.FILES[1:])
    @given(data=st.data())
    def test_any_other_file(self, run, name, data):
        run.put(name, data.draw(damaged_bytes(run.whole[name])))
        run.read(name)

    @given(name=st.sampled_from(Run.FILES), data=st.binary(max_size=300))
    def test_a_file_of_arbitrary_bytes(self, run, name, data):
        run.put(name, data)
        run.read(name)


@pytest.mark.long
class TestLines:
    @given(data=st.data())
    def test_journal_lines_in_any_order_and_number_with_strange_ends(self, run, data):
        picked = data.draw(st.lists(st.sampled_from(range(len(RECORDS))), max_size=8))
        ends = [data.draw(st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n", b"\n\r\n"])) for _ in picked]
        start = data.draw(st.sampled_from([b"", b"\n", b"\r\n"]))
        text = start + b"".join(run.lines[number] + end for number, end in zip(picked, ends, strict=True))
        run.put("journal.jsonl", text)
        found = records_in_order(run.path / "journal.jsonl")
        assert json.loads(json.dumps(found)) == as_read(RECORDS[number] for number in picked)
        assert run.read("journal.jsonl") is not None

    @given(
        schemas=st.lists(st.sampled_from([1, SCHEMA, SCHEMA + 1, 0, "1", None, True, 1.0, [1], {}, math.nan]))
    )
    def test_lines_of_other_versions_among_them(self, run, schemas):
        lines = [json.loads(line) for line in run.lines]
        for line, schema in zip(lines, schemas, strict=False):
            line["schema"] = schema
        run.put("journal.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        run.read("journal.jsonl")

    @given(data=st.data())
    def test_rows_of_a_summary_in_any_order_and_number_with_strange_ends(self, run, data):
        head, *rows = run.whole["summary.csv"].splitlines()
        picked = data.draw(st.lists(st.sampled_from(rows), max_size=8))
        end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b",\n", b" \n"]))
        start = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b" "]))
        run.put("summary.csv", start + end.join([head, *picked]) + data.draw(st.sampled_from([b"", end])))
        found = run.read("summary.csv")
        once = [
            row for row in picked if picked.count(row) == 1
        ]  # of a row that is there twice neither is taken
        if picked and not once:
            assert found is None
        elif start != b" " and end != b" \n":
            assert found is not None
            assert len(found.summary) == len(once)
            assert bool(found.notes) == (len(once) < len(picked))


# Damage to values.

# What json.dumps does not write is put in behind it.
RAW = {
    "<deep>": "[" * 300 + "]" * 300,
    "<deeper>": '{"a":' * 800 + "0" + "}" * 800,
    "<deepest>": "[" * 3000 + "]" * 3000,
    "<huge>": "9" * 5000,
    "<endless>": "-1e999",
}


def strange_values() -> st.SearchStrategy[Any]:
    """Values that a field does not expect."""
    return st.one_of(
        st.sampled_from(
            [
                *(None, True, False, 0, 1, -1, 0.5, -0.0, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324),
                *(math.nan, math.inf, -math.inf, *RAW),
                *(
                    "",
                    " ",
                    "\n",
                    "1",
                    "nan",
                    "none",
                    "cpu",
                    "eval",
                    "train",
                    "timed",
                    "phases",
                    "crash",
                    "epoch",
                ),
                *("\ud800", "\udcff", "\0", "\x1b[31m", "\u2028", "[bold]", "a/b=c", "x" * 5000, ";", "a\nb"),
                *([], {}, [[]], [None], [1], ["x"], {"a": 1}, {"": None}, [[], {}], [1, "x", None]),
            ]
        ),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.lists(st.integers(-2, 9), max_size=4),
        st.dictionaries(st.text(max_size=3), st.integers(-2, 9), max_size=2),
    )


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON tree: what holds it, and its key there."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from places(tree[key])


@st.composite
def damaged_tree(draw, whole: Any) -> Any:
    """A JSON tree after one to three accidents to its values and names."""
    tree = [copy.deepcopy(whole)]
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(tree))
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        accident = draw(st.sampled_from(["replace", "replace", "remove", "add", "rename", "swap", "wrap"]))
        if accident == "replace":
            holder[key] = draw(strange_values())
        elif accident == "remove":
            del holder[key]
        elif accident == "wrap":
            holder[key] = draw(st.sampled_from([lambda it: [it], lambda it: {"a": it}, str]))(holder[key])
        elif accident == "swap":
            other, its_key = draw(st.sampled_from(found))
            holder[key], other[its_key] = copy.deepcopy(other[its_key]), copy.deepcopy(holder[key])
        elif isinstance(holder, list):
            holder.insert(key, draw(strange_values()))
        else:
            name = draw(
                st.one_of(st.text(max_size=4), st.sampled_from(["a\nb", "schema", "failure", "case", "self"]))
            )
            holder[name] = draw(strange_values()) if accident == "add" else holder.pop(key)
    return tree[0] if tree else None


def written(tree: Any) -> bytes:
    """A tree as JSON text, with what json.dumps does not write."""
    text = json.dumps(tree, separators=(",", ":"))
    for word, raw in RAW.items():
        text = text.replace(json.dumps(word), raw)
    return text.encode()


@pytest.mark.long
class TestValues:
    @given(data=st.data())
    def test_a_journal_line_costs_no_line_but_itself(self, run, data):
        number = data.draw(st.sampled_from(range(len(RECORDS))))
        line = written(data.draw(damaged_tree(json.loads(run.lines[number]))))
        lines = [*run.lines[:number], line, *run.lines[number + 1 :], b""]
        run.put("journal.jsonl", b"\n".join(lines))
        found = records_in_order(run.path / "journal.jsonl")
        assert found is None or holds(found, as_read(RECORDS[:number] + RECORDS[number + 1 :]))
        run.read("journal.jsonl")

    @given(data=st.data())
    def test_an_earlier_run_with_such_a_journal_does_not_stop_the_next(self, run, data):
        number = data.draw(st.sampled_from([0, 2]))
        line = written(data.draw(damaged_tree(json.loads(run.lines[number]))))
        run.put("journal.jsonl", b"\n".join([line, *run.lines]))
        assert all(isinstance(value, int | float) for value in launch_seconds(run.path.parent).values())

    @pytest.mark.parametrize("name", ["plan.json", "environment.json"])
    @given(data=st.data())
    def test_a_plan_and_an_environment(self, run, name, data):
        run.put(name, written(data.draw(damaged_tree(json.loads(run.whole[name])))))
        run.read(name)

    @given(data=st.data())
    def test_cells_of_a_summary(self, run, data):
        cells = list(csv.reader(io.StringIO(run.whole["summary.csv"].decode())))
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.sampled_from(cells))
            if row:
                value = str(data.draw(strange_values()))
                row[data.draw(st.sampled_from(range(len(row))))] = RAW.get(value, value)
        text = io.StringIO()
        csv.writer(text, delimiter=data.draw(st.sampled_from(",,,;\t"))).writerows(cells)
        run.put("summary.csv", text.getvalue().encode(errors="surrogatepass"))
        run.read("summary.csv")

    @given(data=st.data())
    def test_columns_of_a_parquet_file(self, run, data):
        whole = parquet.read_table(io.BytesIO(run.whole["summary.parquet"]))
        columns = dict(zip(whole.schema.names, whole.columns, strict=True))
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from(list(columns)))
            columns[name] = data.draw(strange_columns(whole.num_rows))
        made = pa.table(list(columns.values()), names=list(columns))
        out = io.BytesIO()
        parquet.write_table(made, out)
        run.put("summary.parquet", out.getvalue())
        run.read("summary.parquet")


class TestNesting:
    @pytest.mark.parametrize("levels", [50, 500, 900, 5000])
    @pytest.mark.long
    def test_values_of_json_may_lie_deeper_than_python_goes(self, run, levels):
        for name in ("journal.jsonl", "plan.json", "environment.json"):
            whole = json.loads(run.lines[0] if name == "journal.jsonl" else run.whole[name])
            for number, (holder, key) in enumerate(sample(places(whole), every=5)):
                kept, holder[key] = holder[key], "<here>"
                nested = ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels)[number % 2]
                run.put(name, json.dumps(whole).replace('"<here>"', nested).encode() + b"\n")
                run.read(name)
                holder[key] = kept


def strange_columns(rows: int) -> st.SearchStrategy[pa.Array]:
    """Columns of so many rows that a summary does not have in this place."""
    words = st.sampled_from(["", "a", "epoch.time", "1", "nan", "\u2028", "x" * 2000, None])
    numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, None]))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
        lists = st.lists(values, min_size=1, max_size=3)
        return lists.map(lambda some: pa.array([some[row % len(some)] for row in range(rows)], kind))

    return st.one_of(
        st.just(pa.nulls(rows)),
        column(words, pa.string()),
        column(words, pa.large_string()),
        column(words.map(lambda word: word and word.encode()), pa.binary()),
        column(st.one_of(st.floats(), st.none()), pa.float64()),
        column(st.sampled_from([0.5, math.nan, None]), pa.float32()),
        column(numbers, pa.int64()),
        column(st.sampled_from([2**64 - 1, 0, None]), pa.uint64()),
        column(st.sampled_from([True, False, None]), pa.bool_()),
        column(st.lists(st.integers(0, 9), max_size=2), pa.list_(pa.int64())),
        column(st.fixed_dictionaries({"a": words}), pa.struct([("a", pa.string())])),
        column(st.integers(0, 10**9), pa.timestamp("us")),
        column(st.integers(0, 10**9), pa.date32()),
        column(st.sampled_from([None, 1]), pa.decimal128(38, 2)),
        column(words, pa.string()).map(lambda made: made.dictionary_encode()),
    )


# Pickles: text or bytes that are code to whoever loads them.


class Trap:
    """Whoever loads the pickle of one makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(params=[0, 5], ids=["a pickle of text", "a pickle of bytes"])
def trap(request, run) -> bytes:
    """A pickle that makes the marker when it is loaded, as is shown first."""
    armed = pickle.dumps(Trap(run.marker), protocol=request.param)
    pickle.loads(armed)
    assert run.marker.is_dir()
    run.marker.rmdir()
    return armed


class TestPickles:
    @pytest.mark.parametrize("name", Run.FILES)
    def test_a_whole_file(self, run, trap, name):
        run.put(name, trap)
        run.read(name)

    @pytest.mark.parametrize("name", Run.FILES)
    def test_a_pickled_frame(self, run, trap, name):
        frame = pd.DataFrame({"value": [1.0]})
        frame.attrs["trap"] = Trap(run.marker)
        run.put(name, pickle.dumps(frame))
        run.read(name)

    @pytest.mark.parametrize("name", ["journal.jsonl", "plan.json", "environment.json"])
    @pytest.mark.long
    def test_every_value_and_name_of_a_json_file(self, run, trap, name):
        text = trap.decode() if trap.isascii() else base64.b64encode(trap).decode()
        for line in run.lines[:2] if name == "journal.jsonl" else [run.whole[name]]:
            tree = json.loads(line)
            for number in sample(range(len(list(places(tree)))), every=7):
                for accident in ("value", "name"):
                    other = copy.deepcopy(tree)
                    holder, key = list(places(other))[number]
                    if accident == "value":
                        holder[key] = text
                    elif isinstance(holder, dict):
                        holder[text] = holder.pop(key)
                    run.put(name, json.dumps(other).encode() + b"\n")
                    run.read(name, show=False)

    @pytest.mark.long
    def test_every_cell_and_name_of_a_csv_file(self, run, trap):
        cells = list(csv.reader(io.StringIO(run.whole["summary.csv"].decode())))
        for row in (0, 1):
            for column in sample(range(len(cells[row])), every=4):
                other = [list(line) for line in cells]
                other[row][column] = trap.decode("latin-1")
                text = io.StringIO()
                csv.writer(text).writerows(other)
                run.put("summary.csv", text.getvalue().encode())
                run.read("summary.csv")

    @pytest.fixture
    def table(self, run) -> pa.Table:
        return parquet.read_table(io.BytesIO(run.whole["summary.parquet"]))

    def read_parquet(self, run, table: pa.Table) -> Tables | None:
        out = io.BytesIO()
        parquet.write_table(table, out)
        run.put("summary.parquet", out.getvalue())
        return run.read("summary.parquet")

    @pytest.mark.parametrize("kind", [pa.binary(), pa.string()])
    @pytest.mark.long
    def test_every_column_of_a_parquet_file(self, run, trap, table, kind):
        cell = trap if kind == pa.binary() else trap.decode("latin-1")
        for place, name in sample(enumerate(table.schema.names), every=4):
            self.read_parquet(run, table.set_column(place, name, pa.array([cell] * table.num_rows, kind)))
            self.read_parquet(run, table.rename_columns({name: trap.decode("latin-1")}))

    @pytest.mark.parametrize("key", [b"pandas", b"ARROW:schema", b"mine"])
    def test_the_metadata_of_a_parquet_file(self, run, trap, table, key):
        self.read_parquet(run, table.replace_schema_metadata({key: trap}))

    @pytest.mark.long
    def test_the_metadata_that_pandas_reads(self, run, trap, table):
        for key in sample(("pandas_type", "numpy_type", "name", "field_name", "metadata"), every=2):
            about = json.loads(table.schema.metadata[b"pandas"])
            for column in about["columns"]:
                column[key] = trap.decode("latin-1")
            found = self.read_parquet(run, table.replace_schema_metadata({"pandas": json.dumps(about)}))
            assert found is not None, "only the columns are looked at"

    @pytest.mark.parametrize(
        "extension",
        ["arrow.py_extension_type", "pandas.period", "pandas.interval", "arrow.json", "arrow.opaque"],
    )
    @pytest.mark.long
    def test_extension_types(self, run, trap, table, extension):
        about = {"ARROW:extension:name": extension, "ARROW:extension:metadata": trap}
        for place in sample(range(table.num_columns), every=4):
            field = table.schema.field(place).with_metadata(about)
            self.read_parquet(run, table.set_column(place, field, table.column(place)))

    @pytest.mark.long
    @given(name=st.sampled_from(Run.FILES), protocol=st.sampled_from([0, 5]), data=st.data())
    def test_anywhere(self, run, name, protocol, data):
        whole = run.whole[name]
        at = data.draw(place_in(whole))
        armed = pickle.dumps(Trap(run.marker), protocol=protocol)
        over = data.draw(st.booleans())
        run.put(name, whole[:at] + armed + whole[at + (len(armed) if over else 0) :])
        run.read(name)


def properties() -> Iterator[tuple[str, int]]:
    """The properties here, and with how many cases each is run."""
    for holder in (TestBytes, TestLines, TestValues, TestPickles):
        for name, test in vars(holder).items():
            if is_hypothesis_test(test):
                marks = [
                    mark.args[1] for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"
                ]
                yield name, math.prod(map(len, marks))


@pytest.mark.parametrize("profile", LEAST)
def test_there_are_as_many_examples_as_is_promised(profile):
    assert sum(EXAMPLES[profile] * cases for _, cases in properties()) >= LEAST[profile]
