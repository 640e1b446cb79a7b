"""Flags that several verbs take: what their text means, and how a wrong one is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bench import cli
from bench.cli.command import LazyCommand
from bench.cli.options import MOST_LAUNCHES, RunOptions
from bench.cli.values import seconds, share, size, suite_axes
from bench.errors import SuiteError, UsageError
from bench.running.preparation import suite_files
from bench.suite.case import Schedule


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a folder of suites and two that hold none."""
    monkeypatch.chdir(tmp_path)
    for name in ("suites/b.py", "suites/a.py", "suites/_shared.py", "suites/__init__.py", "suites/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "suites" / "below").mkdir()
    (tmp_path / "suites" / "below" / "c.py").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "_shared.py").touch()
    return tmp_path


def names(here: Path, paths) -> list[str]:
    return [str(Path(file).relative_to(here)) for file in suite_files(paths)]


class TestSuiteFiles:
    @pytest.mark.parametrize("paths", [None, []])
    def test_the_default_is_the_folder_called_suites(self, here, paths):
        assert names(here, paths) == ["suites/a.py", "suites/b.py"]

    @pytest.mark.parametrize(
        ("paths", "files"),
        [
            (["suites"], ["suites/a.py", "suites/b.py"]),
            (["suites/"], ["suites/a.py", "suites/b.py"]),
            (["suites/b.py"], ["suites/b.py"]),
            (["suites/b.py", "suites/a.py"], ["suites/b.py", "suites/a.py"]),
            (["suites/_shared.py"], ["suites/_shared.py"]),
            (["suites/below", "suites"], ["suites/below/c.py", "suites/a.py", "suites/b.py"]),
            (["suites/b.py", "suites", "./suites/../suites/b.py"], ["suites/b.py", "suites/a.py"]),
        ],
    )
    def test_a_folder_stands_for_its_files_and_each_file_comes_once(self, here, paths, files):
        assert names(here, map(Path, paths)) == files

    def test_the_files_of_a_folder_come_in_the_order_of_their_names(self, here):
        made = [f"{number * 7 % 20:02}.py" for number in range(20)]
        for name in made:
            (here / "empty" / name).touch()
        assert names(here, [Path("empty")]) == [f"empty/{name}" for name in sorted(made)]

    def test_files_are_absolute_since_workers_may_stand_elsewhere(self, here):
        assert all(Path(file).is_absolute() for file in suite_files([Path("suites"), Path("suites/a.py")]))

    def test_two_names_of_one_file_are_one_suite(self, here):
        (here / "link.py").symlink_to(here / "suites" / "a.py")
        assert names(here, [Path("link.py"), Path("suites/a.py")]) == ["suites/a.py"]

    @pytest.mark.parametrize("folder", ["empty", "private"])
    def test_a_folder_without_suites_is_named(self, here, folder):
        with pytest.raises(SuiteError, match=rf"^folder {folder} holds no suite file \(\*\.py\)$"):
            suite_files([Path("suites"), Path(folder)])

    def test_a_file_that_is_not_there_is_named_with_the_remedy(self, here):
        with pytest.raises(
            SuiteError,
            match=r"^suite file suites/c\.py does not exist; name a \.py file, or a folder of them$",
        ):
            suite_files([Path("suites/c.py")])

    def test_without_the_default_folder_it_says_what_is_missing(self, here, monkeypatch):
        monkeypatch.chdir(here / "empty")
        with pytest.raises(SuiteError, match="suite file suites does not exist; name"):
            suite_files(None)


class TestSuiteAxes:
    @pytest.mark.parametrize("axes", [None, []])
    def test_nothing_given_is_nothing_replaced(self, axes):
        assert suite_axes(axes) == {}

    def test_each_axis_gets_its_values_as_what_they_spell(self):
        given = suite_axes(["batch_size=64,256", "optimizer=sgd", "rate=1e-3,0.5", "amp=true,none"])
        assert given == {
            "batch_size": [64, 256],
            "optimizer": ["sgd"],
            "rate": [0.001, 0.5],
            "amp": [True, None],
        }
        assert [type(value) for value in given["batch_size"]] == [int, int]

    @pytest.mark.parametrize("second", ["batch_size=256", " batch_size =64"])
    def test_an_axis_that_is_given_twice_is_named_with_the_remedy(self, second):
        with pytest.raises(UsageError) as caught:
            suite_axes(["batch_size=64", second])
        assert str(caught.value) == (
            "--axis batch_size is given twice; give its values once, joined by commas"
        )

    def test_an_axis_of_a_suite_may_be_spelled_with_dashes(self):
        assert suite_axes(["batch-size=64", "learning-rate=0.1"]) == {
            "batch_size": [64],
            "learning_rate": [0.1],
        }
        with pytest.raises(UsageError, match="--axis batch_size is given twice"):
            suite_axes(["batch-size=64", "batch_size=32"])

    @pytest.mark.parametrize("name", ["env:WORKERS", "arg:-b"])
    def test_the_options_of_a_script_are_none_of_a_suite(self, name):
        with pytest.raises(UsageError, match=f"--axis {name}: env: and arg: name the options of a script"):
            suite_axes([f"{name}=1"])

    @pytest.mark.parametrize("text", ["batch_size", "=64", "batch_size=", "batch_size=1,,2", ""])
    def test_what_is_no_axis_is_named(self, text):
        with pytest.raises(UsageError, match=f"^--axis {text!r}: write it as name=value"):
            suite_axes([text])


class TestSeconds:
    @pytest.mark.parametrize(
        ("text", "duration"),
        [
            ("90", 90.0),
            ("90s", 90.0),
            ("1.5", 1.5),
            (".5s", 0.5),
            ("5.", 5.0),
            ("5m", 300.0),
            ("1.5m", 90.0),
            ("2h", 7200.0),
            ("0.5H", 1800.0),
            (" 10 m ", 600.0),
            ("0", 0.0),
        ],
    )
    def test_a_number_may_have_a_unit(self, text, duration):
        assert seconds(text) == duration

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "s",
            ".",
            "-5",
            "+5",
            "5d",
            "5 minutes",
            "1h30m",
            "1e3",
            "inf",
            "nan",
            "1,5",
            "5ms",
            "0x10",
            "m5",
        ],
    )
    def test_what_is_no_duration_is_named_with_the_spelling(self, text):
        with pytest.raises(UsageError) as caught:
            seconds(text)
        assert str(caught.value) == f"{text!r} is not a duration; write it as 90, 90s, 5m or 1.5h"


class TestShare:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("2%", 0.02),
            ("0.5%", 0.005),
            (".5%", 0.005),
            ("2 %", 0.02),
            (" 5% ", 0.05),
            ("99.9%", 0.999),
            ("0.02", 0.02),
            (".02", 0.02),
            ("0.5", 0.5),
        ],
    )
    def test_it_is_written_in_percent_or_as_a_part_of_one(self, text, value):
        assert share(text) == pytest.approx(value, rel=1e-12)

    @pytest.mark.parametrize(
        "text",
        ["", "%", ".", "0", "0%", "1", "2", "100%", "250%", "-2%", "+2%", "2%%", "2 per cent", "1e-2", "nan"],
    )
    def test_what_is_no_share_is_named_with_the_spelling(self, text):
        with pytest.raises(UsageError) as caught:
            share(text)
        assert str(caught.value) == f"{text!r} is not a share between 0 % and 100 %; write it as 2% or 0.02"


def asked(launches: int | None = None, max_launches: int | None = None, **changes) -> Schedule:
    """The schedule of a command line with these options and no others."""
    return RunOptions(launches=launches, max_launches=max_launches, **changes).schedule


class TestSchedule:
    def test_without_flags_a_case_has_six_launches_or_more_until_it_settles(self):
        assert asked() == Schedule(launches=6, max_launches=MOST_LAUNCHES)
        assert MOST_LAUNCHES > 6

    @pytest.mark.parametrize(
        ("launches", "most", "least_and_most"),
        [
            (3, None, (3, 3)),
            (30, None, (30, 30)),
            (1, None, (1, 1)),
            (None, 30, (6, 30)),
            (None, 6, (6, 6)),
            (None, 4, (4, 4)),
            (None, 1, (1, 1)),
            (3, 10, (3, 10)),
            (10, 10, (10, 10)),
            (25, 30, (25, 30)),
        ],
    )
    def test_a_number_of_launches_alone_is_meant_exactly(self, launches, most, least_and_most):
        given = asked(launches, most)
        assert (given.launches, given.most) == least_and_most

    @pytest.mark.parametrize(
        ("launches", "most", "message"),
        [
            (-1, None, "launches must be at least 0, not -1"),
            (-1, 5, "launches must be at least 0, not -1"),
            (10, 5, "max-launches must be at least launches, 10, not 5"),
            (None, 0, "max-launches must be at least launches, 1, not 0"),
            (None, -3, "max-launches must be at least launches, 1, not -3"),
        ],
    )
    def test_the_flag_that_cannot_be_kept_is_named(self, launches, most, message):
        with pytest.raises(UsageError) as caught:
            asked(launches, most)
        assert str(caught.value) == message

    def test_every_flag_arrives(self):
        given = asked(2, 9, tolerance=0.005, repeats=0, time_budget=90.0, timeout=90.0, seed=7)
        assert given == Schedule(2, 9, 0.005, 0, 90.0, 90.0, 7)

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("time_budget", 0, "time-budget must be above 0 seconds, not 0"),
            ("timeout", 0, "timeout must be above 0 seconds, not 0"),
            ("repeats", -1, "repeats must be at least 0, not -1"),
        ],
    )
    def test_what_is_out_of_bounds_is_named(self, option, value, message):
        with pytest.raises(UsageError) as caught:
            asked(**{option: value})
        assert str(caught.value) == message


class TestSize:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            *[("1048576", 2**20), ("7B", 7), ("2GiB", 2**31), ("1.5 gib", 3 * 2**29), ("512MiB", 2**29)],
            *[("64KiB", 2**16), ("500MB", 500_000_000), ("1kb", 1000), (".5TiB", 2**39), (" 3 ", 3)],
        ],
    )
    def test_a_number_of_bytes(self, text, found):
        assert size(text) == found

    @pytest.mark.parametrize(
        "text", ["", "GiB", "2G", "2Gi", "-1", "two", "1e9", "2 gigs", "1GiBB", "inf", "1,5GiB"]
    )
    def test_anything_else_is_named_with_the_remedy(self, text):
        with pytest.raises(UsageError) as caught:
            size(text)
        assert str(caught.value) == f"{text!r} is not a size; write it as 2GiB, 500MB or a number of bytes"

    @pytest.mark.parametrize("text", ["0", "0.4B", "9999999999TiB"])
    def test_no_memory_has_such_a_size(self, text):
        with pytest.raises(UsageError, match="is not a possible size of memory"):
            size(text)


def verbs(command: Any, name: str = "bench") -> Iterator[tuple[str, Any]]:
    """Every command that can be called, by its words."""
    if isinstance(command, LazyCommand):
        yield name, command.load()
    for word, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, f"{name} {word}")


VERBS = dict(verbs(cli.app))


@pytest.mark.parametrize("verb", VERBS)
class TestHelp:
    def test_every_option_says_what_it_does_and_what_it_takes(self, verb):
        for one in VERBS[verb].params:
            assert one.help, f"{one.name} has no help"
            if one.param_type_name == "option":
                assert one.is_flag or one.metavar, f"{one.name} takes a {one.type}"

    @pytest.mark.parametrize("width", [80, 120])
    def test_its_help_fits(self, verb, width, monkeypatch, capsys):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli.exit_code([*verb.split()[1:], "--help"]) == 0
        shown = capsys.readouterr().out
        assert max(map(cell_len, shown.splitlines())) <= width
        for name in ("int", "bool", "str", "Path"):
            assert f"<{name}>" not in shown
            assert f"[{name}]" not in shown


def test_an_option_means_one_thing_wherever_it_stands():
    """One name, one metavar; what it does may differ, as --metric shows or compares."""
    found: dict[str, set[str]] = {}
    for verb in VERBS.values():
        for one in verb.params:
            if one.param_type_name == "option":
                found.setdefault(one.opts[-1], set()).add(one.metavar or "")
    assert {name: metavars for name, metavars in found.items() if len(metavars) > 1} == {}
