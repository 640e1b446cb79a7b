"""Signs of life while a run goes on: on a terminal, in a log, and for those who asked for quiet."""

from __future__ import annotations

import io
import sys

import pytest
from fakes import failure, measurement

from bench.case import Case, Schedule
from bench.cli.progress import Bar, Lines, Silent, clock_time, failure_line, progress, remaining, waiting
from bench.measurement import TIMED
from bench.runner import Job, Plan

CASES = [Case("s", {"device": "cpu", "width": width}) for width in (1, 2, 3)]
PLAN = Plan(CASES, {"s": "s.py"}, Schedule(launches=2))
SAID = "error: fake/device=cpu/batch_size=4/optimizer=sgd/mode=train: ValueError: no such thing (suites/mine.py:7)"


class Seconds:
    """A clock in seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def job(round: int = 1, position: int = 1, case: Case = CASES[0]) -> Job:
    return Job(case, TIMED, round, position)


class TestLines:
    @pytest.fixture
    def clock(self):
        return Seconds()

    @pytest.fixture
    def out(self):
        return io.StringIO()

    @pytest.fixture
    def lines(self, out, clock):
        return Lines(PLAN, out, clock)

    def run(self, lines, clock, seconds: float, jobs=None):
        """Launches that take so many seconds each."""
        for one in jobs or [job(number, case=case) for number in (1, 2) for case in CASES]:
            lines.begin(one)
            clock.now += seconds
            lines.end(measurement())

    def test_each_round_begins_with_a_line_and_a_short_one_has_no_other(self, lines, out, clock):
        self.run(lines, clock, 1.0)
        assert out.getvalue().splitlines() == [
            "round 1/2, launch 1/6, 0:00 elapsed: s cpu 1",
            "round 2/2, launch 4/6, 0:03 elapsed, about 0:03 left: s cpu 1",
        ]

    def test_a_long_round_has_a_line_every_ten_seconds_and_no_more(self, lines, out, clock):
        self.run(lines, clock, 4.0, [job(case=CASES[0])] * 9)
        launches = [line.split(",")[1] for line in out.getvalue().splitlines()]
        assert launches == [" launch 1/6", " launch 4/6", " launch 7/6"]

    def test_launches_of_ten_seconds_have_a_line_each(self, lines, out, clock):
        self.run(lines, clock, 10.0)
        assert len(out.getvalue().splitlines()) == 6

    def test_the_time_that_is_left_is_that_of_the_launches_to_come(self, lines, out, clock):
        self.run(lines, clock, 1800.0, [job(case=CASES[0]), job(case=CASES[1]), job(2)])
        assert out.getvalue().splitlines() == [
            "round 1/2, launch 1/6, 0:00 elapsed: s cpu 1",
            "round 1/2, launch 2/6, 30:00 elapsed, about 2:30:00 left: s cpu 2",
            "round 2/2, launch 3/6, 1:00:00 elapsed, about 2:00:00 left: s cpu 1",
        ]

    def test_a_failure_is_always_said(self, lines, out):
        lines.begin(job())
        for _ in range(3):
            lines.end(failure())
        assert out.getvalue().splitlines()[1:] == [SAID] * 3

    def test_a_failure_counts_as_a_launch_that_is_done(self, lines, out, clock):
        lines.begin(job())
        clock.now += 5
        lines.end(failure())
        lines.begin(job(2))
        assert out.getvalue().splitlines()[-1] == (
            "round 2/2, launch 2/6, 0:05 elapsed, about 0:25 left: s cpu 1"
        )

    def test_each_line_is_seen_at_once(self, clock):
        flushed = []

        class Out(io.StringIO):
            def flush(self) -> None:
                flushed.append(self.getvalue().count("\n"))

        lines = Lines(PLAN, Out(), clock)
        lines.begin(job())
        lines.end(failure())
        assert flushed == [1, 2]

    def test_an_end_says_nothing(self, lines, out):
        lines.close()
        assert out.getvalue() == ""


class TestSilent:
    def test_only_failures_are_said_and_on_standard_error(self, capsys):
        silent = Silent()
        silent.begin(job())
        silent.end(measurement())
        silent.end(failure())
        silent.close()
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", f"{SAID}\n")


class TestBar:
    def run(self):
        bar = Bar(PLAN)
        try:
            bar.begin(job(case=Case("s", {"width": "[red]w[/] [/nothing]"})))
            bar.end(measurement())
            bar.begin(job(2))
            bar.end(failure(message="no [bold]such[/bold] [/thing]"))
        finally:
            bar.close()

    @pytest.fixture
    def wide(self, monkeypatch):
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("TERM", "xterm-256color")

    def test_on_what_is_no_terminal_failures_are_seen(self, wide, monkeypatch, capsys):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        self.run()
        printed = capsys.readouterr()
        assert "ValueError" not in printed.out
        assert "no [bold]such[/bold] [/thing] (suites/mine.py:7)" in printed.err

    def test_on_a_terminal_case_round_and_count_are_seen_as_they_are(self, wide, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        self.run()
        seen = screen.getvalue()
        assert "round 2/2" in seen
        assert "2/6" in seen
        assert "s cpu 1" in seen
        assert "no [bold]such[/bold] [/thing] (suites/mine.py:7)" in seen
        assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1, "the cursor is given back"

    def test_a_case_is_shown_as_it_is_called(self, wide, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        bar = Bar(PLAN)
        bar.begin(job(case=Case("s", {"width": "[red]w[/] [/nothing]"})))
        bar.close()
        assert "s [red]w[/] [/nothing]" in screen.getvalue()

    def test_it_may_end_before_the_first_launch(self, wide, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        bar = Bar(PLAN)
        bar.close()
        bar.close()


class TestChoice:
    @pytest.mark.parametrize(
        ("quiet", "terminal", "kind"),
        [
            (True, True, Silent),
            (True, False, Silent),
            (False, False, Lines),
            (False, True, Bar),
        ],
    )
    def test_the_kind_fits_where_standard_error_goes(self, monkeypatch, quiet, terminal, kind):
        monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
        chosen = progress(PLAN, quiet)
        try:
            assert type(chosen) is kind
        finally:
            chosen.close()


class TestWaiting:
    @pytest.mark.parametrize(
        ("quiet", "terminal", "seen"), [(False, True, True), (True, True, False), (False, False, False)]
    )
    def test_a_sign_of_life_on_a_terminal_and_nothing_in_a_log(self, monkeypatch, quiet, terminal, seen):
        monkeypatch.setenv("TERM", "xterm-256color")
        screen = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        with waiting("reading suites", quiet):
            pass
        assert ("reading suites" in screen.getvalue()) is seen
        assert bool(screen.getvalue()) is seen

    def test_what_goes_wrong_inside_comes_out(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        with pytest.raises(KeyError), waiting("reading suites", quiet=False):
            raise KeyError


class TestFailureLine:
    def test_it_says_what_why_and_where(self):
        assert failure_line(failure()) == SAID

    def test_it_is_one_line_whatever_the_message_holds(self):
        line = failure_line(failure(message="one\n\n  two\tthree\r\n", where=""))
        assert line.endswith("mode=train: one two three")


@pytest.mark.parametrize(
    ("elapsed", "done", "total", "left"),
    [(10.0, 1, 4, 30.0), (10.0, 4, 4, 0.0), (9.0, 3, 4, 3.0), (10.0, 5, 4, 0.0), (0.0, 1, 4, 0.0)],
)
def test_the_rest_takes_as_long_as_what_came_before(elapsed, done, total, left):
    assert remaining(elapsed, done, total) == left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (9.6, "0:10"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.7, "1:00:00"),
        (3661, "1:01:01"),
        (100 * 3600, "100:00:00"),
    ],
)
def test_a_clock_time_is_minutes_and_seconds_or_hours_before_them(seconds, text):
    assert clock_time(seconds) == text
