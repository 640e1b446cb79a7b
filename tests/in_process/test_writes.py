"""A script that writes where others would find it is stopped first, whatever it writes with."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from bench.worker.script import writes
from bench.worker.script.writes import Stopped, Writes, audited


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writes, "_TEMPORARY", ())  # in which the folders of tests lie
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    made = tmp_path / "own"
    (made / "data").mkdir(parents=True)
    (made / "checkpoint.pt").write_text("days of training")
    return made


BEHAVIOURS = {
    "open": lambda folder: (folder / "checkpoint.pt").write_text("x"),
    "append": lambda folder: (folder / "checkpoint.pt").open("a").close(),
    "new": lambda folder: (folder / "new.txt").write_text("x"),
    "os.open": lambda folder: os.open(folder / "checkpoint.pt", os.O_WRONLY | os.O_TRUNC),
    "torch.save": lambda folder: torch.save({}, folder / "checkpoint.pt"),
    "replace": lambda folder: os.replace(folder / "data", folder / "checkpoint.pt"),
    "remove": lambda folder: (folder / "checkpoint.pt").unlink(),
    "rmtree": lambda folder: shutil.rmtree(folder / "data"),
    "truncate": lambda folder: os.truncate(folder / "checkpoint.pt", 0),
    "relative": lambda _: Path("own/checkpoint.pt").write_text("x"),
}


class TestWithoutFoldersOfItsOwn:
    """As where the system has no overlays."""

    @pytest.mark.parametrize("behaviour", BEHAVIOURS)
    def test_the_first_write_stops_it_before_anything_is_overwritten(self, folder, behaviour):
        its = Writes([str(folder)], why="macOS has none")

        def script():
            with its.watched(), contextlib.suppress(Exception):  # as scripts do around what they save
                BEHAVIOURS[behaviour](folder)

        with pytest.raises(
            Stopped, match=r"gives a launch no folder of its own \(macOS has none\); .*--in-place"
        ):
            script()
        assert (folder / "checkpoint.pt").read_text() == "days of training"
        assert (folder / "data").is_dir()
        assert str(folder) in its.problem

    def test_what_a_program_has_written_is_found_at_the_end(self, folder):
        with (
            pytest.raises(Stopped, match=f"the script writes {folder}/left, "),
            Writes([str(folder)], why="x").watched(),
        ):
            subprocess.run(["touch", folder / "left"], check=True)

    def test_reading_is_as_it_was(self, folder):
        with Writes([str(folder)], why="x").watched():
            assert (folder / "checkpoint.pt").read_text() == "days of training"
            assert os.listdir(folder / "data") == []

    def test_results_and_what_python_keeps_may_be_written(self, folder):
        (folder / "__pycache__").mkdir()
        with Writes([str(folder)], shared=[str(folder / "data")], why="x").watched():
            (folder / "__pycache__" / "train.pyc").write_text("x")
            (folder / "data" / "trace.json").write_text("x")
        assert (folder / "data" / "trace.json").read_text() == "x"


class TestWithFoldersOfItsOwn:
    def test_these_are_written_to(self, folder):
        with Writes([str(folder)]).watched():
            torch.save({}, folder / "checkpoint.pt")
            shutil.rmtree(folder / "data")
        assert torch.load(folder / "checkpoint.pt") == {}
        assert not (folder / "data").exists()

    def test_what_lies_elsewhere_is_not(self, folder, tmp_path):
        with (
            pytest.raises(
                Stopped, match=f"which is not in {folder}, the folder that each launch has for itself"
            ),
            Writes([str(folder)]).watched(),
        ):
            (tmp_path / "elsewhere.pt").write_text("x")
        assert not (tmp_path / "elsewhere.pt").exists()

    @pytest.mark.parametrize("path", [".config/tool/x", "__pycache__/x.pyc"])
    def test_caches_and_what_programs_keep_hidden_are(self, folder, tmp_path, path):
        (tmp_path / path).parent.mkdir(parents=True)
        with Writes([str(folder)]).watched():
            (tmp_path / path).write_text("x")
        assert (tmp_path / path).read_text() == "x"

    def test_so_are_temporary_files_and_what_is_no_file(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(writes, "_TEMPORARY", (str(tmp_path / "tmp"),))
        (tmp_path / "tmp").mkdir()
        with Writes([str(folder)]).watched():
            (tmp_path / "tmp" / "x").write_text("x")
            Path(os.devnull).write_text("x")
            os.close(os.open("/dev/null", os.O_RDWR))
        assert (tmp_path / "tmp" / "x").read_text() == "x"

    def test_afterwards_nobody_listens(self, folder, tmp_path):
        with Writes([str(folder)]).watched():
            pass
        (tmp_path / "elsewhere").write_text("x")
        torch.save({}, tmp_path / "elsewhere.pt")
        assert torch.load(tmp_path / "elsewhere.pt") == {}


def test_an_event_is_told_to_its_handler_as_long_as_it_is_heard(tmp_path):
    told = []
    with audited({"open": lambda details: told.append(details[0])}):
        (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert str(tmp_path / "a") in map(str, told)
    assert str(tmp_path / "b") not in map(str, told)
