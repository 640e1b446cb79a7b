"""The journal: on disk before `append` returns, and readable whatever became of the file since."""

from __future__ import annotations

import json
import os

import pytest
from fakes import CASE, counts, failure, fill, guards, measurement, stage

from bench.errors import ResultsError
from bench.measurement import COUNTED
from bench.results.journal import READABLE, SCHEMA, Journal, read_journal
from bench.suite.case import Case

RECORDS = (
    measurement(round=1, stages=(stage(),), guards=guards(waiting=0.1), telemetry={"cpu": 1.5}),
    failure(round=1, message="no such\nthing", detail="Traceback ...\n  ☠"),
    measurement(round=2, stages=(stage(),), case=Case("other", {"width": None, "amp": True, "rate": 0.1})),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def written(path):
    """A whole journal of three records, as bytes."""
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def line_of(record) -> bytes:
    """A record as the journal writes it, without the line feed."""
    kind = "failure" if hasattr(record, "failure") else "measurement"
    return json.dumps({"schema": SCHEMA, kind: record.to_json()}).encode()


def damaged(path, line: bytes):
    """What is read of a journal whose second of three lines is this one."""
    path.write_bytes(b"\n".join([line_of(RECORDS[0]), line, line_of(RECORDS[2]), b""]))
    return read_journal(path)


class Stingy:
    """A file that takes few bytes at once, and after so many no more."""

    def __init__(self, file, room: int = 10**9, at_once: int = 60) -> None:
        self.file, self.room, self.at_once = file, room, at_once

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self.file.write(data[: min(self.at_once, self.room)])
        self.room -= taken
        return taken


class TestAppend:
    def test_a_record_can_be_read_by_others_as_soon_as_append_returns(self, path):
        journal = Journal(path)
        for number, record in enumerate(RECORDS, start=1):
            journal.append(record)
            assert path.read_bytes().endswith(b"\n")
            read = read_journal(path)
            assert len(read.measurements) + len(read.failures) == number
        journal.close()

    def test_each_record_is_whole_in_the_file_before_it_is_synced(self, path, monkeypatch):
        synced = []
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append((descriptor, path.read_bytes())))
        journal = Journal(path)
        for record in RECORDS:
            journal.append(record)
        assert [data.count(b"\n") for _, data in synced] == [1, 2, 3]
        assert all(data.endswith(b"\n") for _, data in synced)
        assert all(os.path.samestat(os.fstat(descriptor), path.stat()) for descriptor, _ in synced)
        journal.close()

    def test_what_was_there_is_never_written_over(self, path, written):
        journal = Journal(path)
        journal.append(RECORDS[0])
        journal.close()
        assert path.read_bytes().startswith(written)
        assert len(read_journal(path).measurements) == 3

    @pytest.mark.parametrize("cut", [1, 2, 100])
    def test_a_journal_that_was_cut_off_goes_on_behind_its_last_whole_line(self, path, written, cut):
        os.truncate(path, len(written) - cut)
        journal = Journal(path)
        assert path.read_bytes() == written[: written.rindex(b"\n", 0, -1) + 1], "the torn tail is cut off"
        for number in (7, 8):
            journal.append(measurement(round=number))
        journal.close()
        read = read_journal(path)
        assert [record.round for record in read.measurements] == [1, 7, 8]
        assert read.notes == []

    def test_a_journal_of_nothing_but_half_a_line_begins_anew(self, path):
        path.write_bytes(b'{"schema":')
        journal = Journal(path)
        journal.append(RECORDS[0])
        journal.close()
        assert read_journal(path).measurements == [RECORDS[0]]

    def test_a_whole_journal_is_left_as_it_is(self, path, written):
        Journal(path).close()
        assert path.read_bytes() == written

    @pytest.mark.parametrize("failing", ["write", "sync"])
    def test_a_line_that_could_not_be_kept_leaves_no_part_of_itself(
        self, path, written, monkeypatch, failing
    ):
        journal = Journal(path)

        def refuse(*_):
            raise OSError(28, "No space left on device")

        if failing == "sync":
            monkeypatch.setattr(os, "fsync", refuse)
        else:
            file = Stingy(journal._file, room=100)
            monkeypatch.setattr(journal, "_file", file)
        with pytest.raises(ResultsError) as caught:
            journal.append(RECORDS[0])
        assert str(caught.value) == (
            f"{path} cannot be written: No space left on device; what was measured before is kept, free some space and "
            f"run: bench run --resume {path.parent}"
        )
        assert path.read_bytes() == written
        monkeypatch.undo()
        journal.append(RECORDS[2])
        journal.close()
        assert read_journal(path).measurements == [RECORDS[0], RECORDS[2], RECORDS[2]]

    @pytest.mark.parametrize("at_once", [1, 7, 4096])
    def test_a_line_that_is_taken_in_pieces_is_written_whole(self, path, monkeypatch, at_once):
        journal = Journal(path)
        monkeypatch.setattr(journal, "_file", Stingy(journal._file, at_once=at_once))
        journal.append(RECORDS[0])
        journal.append(RECORDS[1])
        journal.close()
        assert (read_journal(path).measurements, read_journal(path).failures) == ([RECORDS[0]], [RECORDS[1]])

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path):
        with pytest.raises(
            ResultsError, match=rf"^{tmp_path} cannot be written: Is a directory; a run continues only"
        ):
            Journal(tmp_path)

    def test_a_record_is_one_line_whatever_its_text_holds(self, path, written):
        assert written.count(b"\n") == len(RECORDS)


class TestRead:
    def test_the_records_come_back_in_their_order_and_equal(self, path, written):
        read = read_journal(path)
        assert read.measurements == [RECORDS[0], RECORDS[2]]
        assert read.failures == [RECORDS[1]]
        assert read.notes == []

    def test_values_of_axes_keep_their_types(self, path, written):
        axes = read_journal(path).measurements[1].case.axes
        assert [type(value) for value in axes.values()] == [type(None), bool, float]

    def test_an_empty_journal_holds_nothing(self, path):
        Journal(path).close()
        read = read_journal(path)
        assert (read.measurements, read.failures, read.notes) == ([], [], [])

    def test_blank_lines_are_no_damage(self, path, written):
        path.write_bytes(b"\n" + written.replace(b"\n", b"\n \n\n"))
        read = read_journal(path)
        assert (len(read.measurements), len(read.failures), read.notes) == (2, 1, [])

    def test_a_journal_cut_at_any_byte_loses_the_line_that_was_cut_and_no_other(self, path, written):
        for end in reversed(range(len(written))):
            os.truncate(path, end)
            whole, torn = written[:end].count(b"\n"), not written[:end].endswith(b"\n") and end > 0
            read = read_journal(path)
            assert len(read.measurements) + len(read.failures) == whole, f"cut at byte {end}"
            why = "incomplete, and ignored: the run was interrupted while writing it"
            assert read.notes == [f"{path}: line {whole + 1} is {why}"] * torn, f"cut at byte {end}"

    @pytest.mark.parametrize(
        "line",
        [
            b"nonsense",
            b"\x00\xff\xfe\x80 not text",
            b"\xff\xfe[\x00]\x00",
            b"[]",
            b'["schema"]',
            b"null",
            b"true",
            b"17",
            b"NaN",
            b'"text"',
            b"{}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"schema": 1}',
            b'{"schema": 1, "measurement": null}',
            b'{"schema": 1, "measurement": []}',
            b'{"schema": 1, "measurement": {}}',
            b'{"schema": 1, "failure": "crash"}',
            b'{"measurement": {}}',
            b"1" * 10_000,
            line_of(RECORDS[0])[:-1],
            line_of(RECORDS[0])[1:],
            line_of(RECORDS[0]).replace(b'"round"', b'"rounds"'),
            line_of(RECORDS[0]).replace(b'"wall"', b'"wool"'),
            line_of(RECORDS[0]).replace(b'"suite"', b'"sweet"'),
            line_of(RECORDS[0]).replace(b'"mode": "train"', b'"mode": "drain"'),
            line_of(RECORDS[0]).replace(b'"batch_size": 4', b'"batch_size": NaN'),
            line_of(RECORDS[0]).replace(b'"batch_size": 4', b'"batch_size": [4]'),
            line_of(RECORDS[0]).replace(b'"axes": {', b'"axes": [{').replace(b'"train"}', b'"train"}]'),
        ],
        ids=range(29),
    )
    def test_a_damaged_line_is_noted_by_its_number_and_costs_no_other(self, path, line):
        read = damaged(path, line)
        assert read.measurements == [RECORDS[0], RECORDS[2]]
        assert read.failures == []
        assert read.notes == [f"{path}: line 2 is damaged, and ignored"]

    def test_every_damaged_line_has_its_note(self, path):
        path.write_bytes(b"x\n" + line_of(RECORDS[0]) + b"\ny\nz")
        notes = read_journal(path).notes
        assert [note.split(": ")[1].split(" is ")[0] for note in notes] == ["line 1", "line 3", "line 4"]
        assert ["incomplete" in note for note in notes] == [False, False, True]

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
    def test_a_number_that_is_none_is_read_as_it_was_reported(self, path, number):
        journal = Journal(path)
        journal.append(measurement(stages=(stage(metrics={"recall": number}),)))
        journal.close()
        (read,) = read_journal(path).measurements
        assert repr(read.stages[0].metrics["recall"]) == repr(number)

    def test_a_journal_of_the_first_version_is_read_as_having_no_guards(self, path):
        data = RECORDS[0].to_json()
        del data["guards"], data["telemetry"]
        path.write_bytes(json.dumps({"schema": 1, "measurement": data}).encode() + b"\n")
        (read,) = read_journal(path).measurements
        assert read == measurement(round=1, stages=(stage(),))
        assert (read.guards, read.telemetry) == ({}, {})

    def test_counts_of_an_earlier_version_are_read_with_a_note_that_they_were_added_up(self, path):
        record = measurement(kind=COUNTED, stages=(), counts=counts())
        data = record.to_json()
        del data["counts"]["per_step"]
        path.write_bytes(json.dumps({"schema": 2, "measurement": data}).encode() + b"\n")
        read = read_journal(path)
        assert read.measurements[0].counts.per_step == {}
        (note,) = read.notes
        assert note.startswith(f"{path}: an earlier version added counts up over all counted steps")
        path.write_bytes(line_of(record) + b"\n")
        assert read_journal(path).notes == []

    def test_what_was_begun_by_the_first_version_goes_on_in_this_one(self, path):
        path.write_bytes(line_of(RECORDS[0]).replace(f'"schema": {SCHEMA}'.encode(), b'"schema": 1') + b"\n")
        journal = Journal(path)
        journal.append(RECORDS[2])
        journal.close()
        assert read_journal(path).measurements == [RECORDS[0], RECORDS[2]]
        assert [json.loads(line)["schema"] for line in path.read_bytes().splitlines()] == [1, SCHEMA]

    @pytest.mark.parametrize("schema", [SCHEMA + 1, 0, "1", None, [1]])
    def test_another_schema_is_refused_with_the_file_and_the_remedy(self, path, schema):
        line = json.dumps({"schema": schema, "measurement": {}, "more": 1}).encode()
        with pytest.raises(ResultsError) as caught:
            damaged(path, line)
        assert str(caught.value) == (
            f"{path} has schema {schema!r}, this version reads {SCHEMA} and older; use the version that wrote it"
        )

    def test_a_file_of_something_else_gives_notes_and_no_records(self, path):
        path.write_bytes(bytes(range(256)) * 200)
        read = read_journal(path)
        assert (read.measurements, read.failures) == ([], [])
        assert len(read.notes) == 201

    @pytest.mark.parametrize(
        ("where", "why"),
        [("missing.jsonl", "No such file"), ("", "Is a directory"), ("a/b", "Not a directory")],
    )
    def test_a_file_that_cannot_be_read_is_named_with_the_reason(self, tmp_path, where, why):
        (tmp_path / "a").touch()
        with pytest.raises(ResultsError, match=f"^{tmp_path / where} cannot be read: {why}"):
            read_journal(tmp_path / where)


def test_the_schema_stands_in_every_line(written):
    assert SCHEMA in READABLE
    assert [json.loads(line)["schema"] for line in written.splitlines()] == [SCHEMA] * len(RECORDS)
    assert json.loads(written.splitlines()[0])["measurement"]["case"] == CASE.to_json()


def go_on(journal: Journal) -> None:
    """Writes more than a small disk holds."""
    for _ in range(50):
        journal.append(measurement())


def test_a_full_disk_is_told_and_the_lines_before_are_kept(disk):
    journal = Journal(disk / "journal.jsonl")
    journal.append(failure())
    fill(disk, room=0)
    with pytest.raises(ResultsError, match="No space left on device; what was measured before is kept"):
        go_on(journal)
    journal.close()
    records = read_journal(disk / "journal.jsonl")
    assert len(records.failures) == 1
    assert records.notes == [], "half a line is cut off"


def test_with_room_again_the_same_journal_goes_on(disk):
    journal = Journal(disk / "journal.jsonl")
    journal.append(failure())
    fill(disk, room=0)
    with pytest.raises(ResultsError):
        go_on(journal)
    kept = len(read_journal(disk / "journal.jsonl").measurements)
    (disk / "filler").unlink()
    journal.append(measurement(round=9))
    journal.close()
    read = read_journal(disk / "journal.jsonl")
    assert (len(read.measurements), read.measurements[-1].round, read.notes) == (kept + 1, 9, [])
