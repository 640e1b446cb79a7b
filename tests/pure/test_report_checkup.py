"""The page of a checkup: every finding with its state as a word, remedies that can be copied, the noise."""

from __future__ import annotations

import io
import math
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console

from bench.machine.doctor import Finding, Noise
from bench.report.terminal.checkup import Command, page

LONG = "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
FINDINGS = [
    Finding("load", "ok", "0.02 on 4 processors"),
    Finding("clock source", "warning", "hpet: slow", f"Until the next boot: `{LONG}`"),
    Finding("turbo", "unknown", "not reported by the kernel"),
    Finding("swap", "notice", "2.0 GiB, none in use", "While you measure: `sudo swapoff -a`"),
    Finding("swap", "warning", "on a disk", "Plug it out. `first` Then `second`"),
]
NOISE = [
    Noise("cpu", 40, 20, 0.0523, 0.981, 1.0243, 0.0712, 3),
    Noise("cuda:0", 1200, 600, 0.0011, 0.9996, math.nan, math.inf, 0),
]


def shown(findings=(), noise=(), width=80, **console) -> str:
    screen = Console(width=width, file=io.StringIO(), highlight=False, **console)
    screen.print(page(findings, noise))
    return screen.file.getvalue()


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def row(text: str, name: str) -> list[str]:
    """The cells of the one row that begins with this name."""
    (line,) = (line for line in lines(text) if line.startswith(f"{name}  "))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


@pytest.mark.parametrize("width", [80, 160])
def test_a_row_is_name_state_and_what_was_found(width):
    text = shown(FINDINGS, width=width)
    assert row(text, "load") == ["load", "ok", "0.02 on 4 processors"]
    assert row(text, "clock source") == ["clock source", "warning", "hpet: slow"]
    assert row(text, "turbo") == ["turbo", "unknown", "not reported by the kernel"]


def test_rows_keep_the_order_of_the_findings():
    names = [line.partition("  ")[0] for line in lines(shown(FINDINGS))[1:6]]
    assert names == ["load", "clock source", "turbo", "swap", "swap"]


def test_states_are_counted_the_worst_first():
    assert "2 warnings, 1 notice, 1 ok, 1 unknown" in lines(shown(FINDINGS))
    assert "1 warning" in lines(shown(FINDINGS[1:2]))


def test_a_state_is_a_word_where_there_is_no_colour_and_coloured_where_there_is():
    plain, coloured = shown(FINDINGS), shown(FINDINGS, force_terminal=True, color_system="standard")
    assert "\x1b" not in plain
    assert "\x1b[1;31mwarning" in coloured
    assert "\x1b[33mnotice" in coloured
    assert "\x1b[32mok" in coloured


def test_remedies_stand_under_the_table_with_their_commands_on_lines_of_their_own():
    text = lines(shown(FINDINGS, width=160))
    below = text[text.index("2 warnings, 1 notice, 1 ok, 1 unknown") :]
    assert below[2:] == [
        "clock source",
        "  Until the next boot:",
        f"    {LONG}",
        "",
        "swap",
        "  While you measure:",
        "    sudo swapoff -a",
        "  Plug it out.",
        "    first",
        "  Then",
        "    second",
        "",
    ]


def test_what_has_no_remedy_is_not_named_again():
    assert lines(shown(FINDINGS)).count("load") == lines(shown(FINDINGS)).count("turbo") == 0


@pytest.mark.parametrize("width", [80, 100, 160])
def test_nothing_is_cut(width):
    found = "it " * 60 + "/a/path/" + "x" * 100
    text = shown([Finding("huge pages", "notice", found, f"{'Do so. ' * 40}`{LONG}`")], NOISE, width)
    assert "…" not in text
    joined = "".join(text.split())
    assert joined.count("Doso.") == 40
    assert "x" * 100 in joined
    assert joined.count("it") >= 60
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 90, 160])
@pytest.mark.parametrize(
    "command", ["echo one two three four | tr a-z A-Z && echo " + "x" * 30, "echo" + " one-two-three" * 20]
)
def test_a_command_that_is_copied_runs_as_one(width, command):
    screen = Console(width=width, file=io.StringIO())
    screen.print(Command(command))
    copied = screen.file.getvalue()
    assert max(map(len, copied.splitlines())) <= width
    ran = [
        subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
        for text in (command, copied)
    ]
    assert ran[0].stdout == ran[1].stdout
    assert ran[1].stderr == ""


def test_a_command_that_fits_is_one_line_and_one_that_does_not_goes_on_behind_a_backslash():
    for width, number in ((len(LONG) + 4, 1), (len(LONG) + 3, 2)):
        screen = Console(width=width, file=io.StringIO())
        screen.print(Command(LONG))
        copied = screen.file.getvalue().splitlines()
        assert len(copied) == number
        assert all(line.endswith(" \\") for line in copied[:-1])


def test_noise_is_a_row_for_each_device_with_its_numbers_in_percent_and_ratios():
    text = shown((), NOISE)
    assert row(text, "cpu") == ["cpu", "40", "5.23 %", "20", "0.981 to 1.024", "7.12 %", "3"]
    assert row(text, "cuda:0") == ["cuda:0", "1,200", "0.110 %", "600", "1.000 to -", "-", "0"]


@pytest.mark.parametrize(("contaminated", "said"), [(0, False), (20, False), (21, True), (40, True)])
def test_noise_that_was_measured_beside_other_work_says_so(contaminated, said):
    text = " ".join(shown((), [replace(NOISE[0], contaminated=contaminated), NOISE[1]]).split())
    words = f"cpu: {contaminated} of 40 launches were contaminated by other work, so that these figures include it"
    assert (words in text) is said
    assert ("by other work" in text) is said


def test_the_noise_comes_after_the_remedies():
    text = shown(FINDINGS, NOISE)
    assert text.index("second") < text.index("Measured noise") < text.index("0.981 to 1.024")


def test_what_is_not_there_has_no_heading():
    assert "Measured noise" not in shown(FINDINGS)
    assert "check" not in shown((), NOISE)
    assert shown().strip() == ""


def test_brackets_of_what_was_found_are_no_markup():
    text = shown([Finding("huge pages", "ok", "[always] madvise")])
    assert "[always] madvise" in text
