"""Signs of life while a run goes on: on a terminal, in a log, and for those who asked for quiet."""

from __future__ import annotations

import dataclasses
import io
import re
import sys

import pytest
from fakes import failure, measurement, stages
from rich.console import Console

from bench.analysis.run.largest_batch import Search, Try
from bench.analysis.run.stopping import StopRule
from bench.cli.progress import (
    BarProgress,
    LineProgress,
    QuietProgress,
    RunEstimate,
    clock_time,
    run_progress,
    search_line,
    searching,
    waiting,
)
from bench.cli.screen import FailurePrinter, failure_line
from bench.measurement import COUNTED, PHASED, PROFILED, TIMED
from bench.running.plan import Job, Plan
from bench.suite.case import Case, Schedule, UntimedLaunches

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


class Run:
    """A run of which a test says what each launch came to; the stop rule hears of it first, as in a real one."""

    def __init__(self, plan: Plan = PLAN, before: int = 0) -> None:
        self.clock = Seconds()
        self.rule = StopRule(plan.schedule)
        self.estimate = RunEstimate(plan, self.rule, before, self.clock)

    def end(self, view, record, seconds: float = 0.0) -> None:
        self.clock.now += seconds
        self.rule.add(record)
        view.end(record)

    def launch(self, case: Case = CASES[0], took: float = 1.0, seconds: float = 1.0, **changes) -> None:
        """A launch of a case whose steps take so long, in as many seconds of the run."""
        self.end(self.estimate, measurement(case=case, stages=stages(steps=(took, took)), **changes), seconds)

    def fail(self, case: Case = CASES[0], seconds: float = 1.0) -> None:
        self.end(self.estimate, failure(case=case), seconds)


@pytest.fixture
def going():
    return Run()


class TestRunEstimate:
    def test_a_fixed_number_of_launches_is_told_exactly_all_along(self, going):
        estimate = going.estimate
        for done in range(6):
            assert (estimate.done, estimate.total) == (done, 6)
            going.launch(CASES[done % 3], took=1.0 + done)
        assert (estimate.done, estimate.total) == (6, 6)

    def test_the_total_is_the_least_at_first_and_grows_where_a_case_does_not_settle(self):
        one = Run(Plan(CASES[:1], {"s": "s.py"}, Schedule(launches=6, max_launches=20)))
        totals = [one.estimate.total]
        for number in range(20):
            one.launch(took=1.0 + number % 2)
            totals.append(one.estimate.total)
        assert totals[:6] == [6] * 6
        assert totals[6:] == [20] * 15, (
            "a spread of one half is not narrowed to 2 % by any number up to the most"
        )

    def test_the_total_stays_where_every_case_settles(self):
        one = Run(Plan(CASES[:1], {"s": "s.py"}, Schedule(launches=6, max_launches=20)))
        for _ in range(6):
            one.launch()
            assert one.estimate.total == 6
        assert one.estimate.cases == "1 of 1 case done"

    def test_cases_that_need_no_more_are_counted_though_they_failed(self, going):
        said = [going.estimate.cases]
        for case in (*CASES, *CASES[:1]):
            going.launch(case)
        said.append(going.estimate.cases)
        going.launch(CASES[1])
        going.fail(CASES[2])
        said.append(going.estimate.cases)
        going.fail(CASES[2])
        said.append(going.estimate.cases)
        assert said == [f"{done} of 3 cases done" for done in (0, 1, 2, 3)]

    def test_a_case_that_fails_at_once_is_launched_no_more(self, going):
        going.fail()
        assert (going.estimate.done, going.estimate.total) == (1, 1 + 2 * 2)

    def test_the_launches_for_phases_on_a_device_are_part_of_it(self):
        cases = [*CASES[:1], Case("s", {"device": "cuda:0"})]
        one = Run(Plan(cases, {"s": "s.py"}, Schedule(launches=2)))
        assert one.estimate.total == 2 * 2 + 1
        one.launch(cases[1], kind=PHASED)
        assert (one.estimate.done, one.estimate.total) == (1, 5)
        for case in cases * 2:
            one.launch(case)
        assert (one.estimate.done, one.estimate.total) == (5, 5)

    def test_time_passes_by_the_clock(self, going):
        going.clock.now += 7.5
        assert going.estimate.elapsed == 7.5

    def test_nothing_is_said_of_what_is_left_before_the_first_launch(self, going):
        going.clock.now += 60
        assert going.estimate.left is None
        going.launch(seconds=0)
        assert going.estimate.left == 5 * 60

    def test_what_is_left_goes_on_as_it_went(self, going):
        left = []
        for number in range(6):
            going.launch(CASES[number % 3], seconds=10.0)
            left.append(going.estimate.left)
        assert left == [50, 40, 30, 20, 10, 0]

    @pytest.mark.parametrize(("budget", "left"), [(1000.0, 50), (45.0, 35), (10.0, 0), (4.0, 0)])
    def test_what_is_left_ends_with_the_time_budget(self, budget, left):
        one = Run(dataclasses.replace(PLAN, schedule=Schedule(launches=2, time_budget=budget)))
        one.launch(seconds=10.0)
        assert one.estimate.left == left

    def test_an_earlier_part_is_done_and_says_nothing_of_how_fast_this_one_goes(self):
        one = Run(before=2)
        for case in CASES[:2]:
            one.rule.add(measurement(case=case))
        assert (one.estimate.done, one.estimate.total) == (2, 6)
        assert one.estimate.launches == 0
        assert one.estimate.left is None
        one.launch(CASES[2], seconds=10.0)
        assert (one.estimate.done, one.estimate.total) == (3, 6)
        assert one.estimate.left == 30.0

    def test_a_run_that_was_cut_off_at_its_very_end_has_nothing_left(self):
        one = Run(before=5)
        for case in (*CASES, *CASES[:2]):
            one.rule.add(measurement(case=case))
        one.launch(CASES[2], seconds=10.0)
        assert (one.estimate.done, one.estimate.total, one.estimate.left) == (6, 6, 0.0)


class TestLaunchesApart:
    """Those for counts and profiles: a case is not done before it has had them."""

    COUNTS = Plan(CASES[:1], {"s": "s.py"}, Schedule(launches=0), UntimedLaunches(counts=True, profile=True))

    def test_a_case_is_done_when_its_last_launch_of_any_kind_is(self):
        one = Run(self.COUNTS)
        said = [(one.estimate.done, one.estimate.total, one.estimate.cases)]
        for kind in (COUNTED, PROFILED):
            one.end(one.estimate, measurement(case=CASES[0], kind=kind, stages=()))
            said.append((one.estimate.done, one.estimate.total, one.estimate.cases))
        assert said == [(0, 2, "0 of 1 case done"), (1, 2, "0 of 1 case done"), (2, 2, "1 of 1 case done")]


class TestFailures:
    """What --debug adds: the traceback of the user's own step."""

    TRACED = failure(
        detail='Traceback (most recent call last):\n  File "mine.py", line 7\n    step()\nValueError'
    )

    def test_a_failure_is_a_line_without_it(self):
        assert FailurePrinter().text(self.TRACED) == SAID

    def test_its_traceback_stands_below_once(self):
        printer = FailurePrinter(debug=True)
        lines = printer.text(self.TRACED).splitlines()
        assert lines[0] == SAID
        assert lines[1:] == [
            "    Traceback (most recent call last):",
            '      File "mine.py", line 7',
            "        step()",
            "    ValueError",
        ]
        assert printer.text(self.TRACED) == SAID, "the next launch fails alike"
        assert printer.text(dataclasses.replace(self.TRACED, message="another"), "base: ").count("\n") == 4

    def test_no_line_of_it_is_an_order(self):
        text = FailurePrinter(debug=True).text(failure(detail="::error::no\n\x1b[31mred\n  ##[error]x"))
        assert text.splitlines()[1:] == ["    : :error::no", "    \\x1b[31mred", "      # #[error]x"]

    @pytest.mark.parametrize(("quiet", "terminal"), [(True, False), (False, False), (False, True)])
    def test_every_kind_of_progress_says_it(self, monkeypatch, quiet, terminal):
        monkeypatch.setattr(sys, "stderr", screen := Terminal() if terminal else io.StringIO())
        shown = run_progress(PLAN, StopRule(PLAN.schedule), quiet, debug=True)
        shown.end(self.TRACED)
        shown.close()
        assert "Traceback (most recent call last):" in screen.getvalue()


class TestLines:
    @pytest.fixture
    def out(self):
        return io.StringIO()

    @pytest.fixture
    def lines(self, out, going):
        return LineProgress(going.estimate, out, FailurePrinter(), going.clock)

    def run(self, going, lines, seconds: float, jobs=None):
        """Launches that take so many seconds each."""
        for one in jobs or [job(number, case=case) for number in (1, 2) for case in CASES]:
            lines.begin(one)
            going.end(lines, measurement(case=one.case), seconds)

    def test_each_round_begins_with_a_line_and_a_short_one_has_no_other(self, going, lines, out):
        self.run(going, lines, 1.0)
        assert out.getvalue().splitlines() == [
            "round 1, launch 1 of about 6, 0 of 3 cases done, 0:00 elapsed: s cpu 1",
            "round 2, launch 4 of about 6, 0 of 3 cases done, 0:03 elapsed, about 0:03 left: s cpu 1",
        ]

    def test_no_value_of_an_axis_is_an_order(self, going, lines, out):
        own = Case("s", {"own": "a\n::error::b\x1b[31m##[error]"})
        lines.begin(job(1, case=own))
        (line,) = out.getvalue().splitlines()
        assert line.endswith("a ::error::b\\x1b[31m# #[error]")

    def test_a_long_round_has_a_line_every_ten_seconds_and_no_more(self, going, lines, out):
        self.run(going, lines, 4.0, [job(case=CASES[0])] * 9)
        launches = [re.search(r"launch (\d+) of", line)[1] for line in out.getvalue().splitlines()]
        assert launches == ["1", "4", "7"]

    def test_launches_of_ten_seconds_have_a_line_each(self, going, lines, out):
        self.run(going, lines, 10.0)
        assert len(out.getvalue().splitlines()) == 6

    def test_the_time_that_is_left_is_that_of_the_launches_to_come(self, going, lines, out):
        self.run(going, lines, 1800.0, [job(case=CASES[0]), job(case=CASES[1]), job(2)])
        assert out.getvalue().splitlines() == [
            "round 1, launch 1 of about 6, 0 of 3 cases done, 0:00 elapsed: s cpu 1",
            "round 1, launch 2 of about 6, 0 of 3 cases done, 30:00 elapsed, about 2:30:00 left: s cpu 2",
            "round 2, launch 3 of about 6, 0 of 3 cases done, 1:00:00 elapsed, about 2:00:00 left: s cpu 1",
        ]

    def test_a_run_that_goes_on_says_how_far_it_had_come(self, out):
        one = Run(before=4)
        lines = LineProgress(one.estimate, out, FailurePrinter(), one.clock)
        for case in (*CASES, CASES[0]):
            one.rule.add(measurement(case=case))
        lines.begin(job(2, case=CASES[1]))
        assert out.getvalue() == ("round 2, launch 5 of about 6, 1 of 3 cases done, 0:00 elapsed: s cpu 2\n")

    def test_a_failure_is_always_said(self, going, lines, out):
        lines.begin(job())
        for _ in range(3):
            going.end(lines, failure())
        assert out.getvalue().splitlines()[1:] == [SAID] * 3

    def test_a_failure_counts_as_a_launch_that_is_done(self, going, lines, out):
        lines.begin(job())
        going.end(lines, failure(case=CASES[0]), 5.0)
        lines.begin(job(2))
        assert out.getvalue().splitlines()[-1] == (
            "round 2, launch 2 of about 5, 1 of 3 cases done, 0:05 elapsed, about 0:20 left: s cpu 1"
        )

    def test_each_line_is_seen_at_once(self, going):
        flushed = []

        class Out(io.StringIO):
            def flush(self) -> None:
                flushed.append(self.getvalue().count("\n"))

        lines = LineProgress(going.estimate, Out(), FailurePrinter(), going.clock)
        lines.begin(job())
        lines.end(failure())
        assert flushed == [1, 2]

    def test_an_end_says_nothing(self, lines, out):
        lines.close()
        assert out.getvalue() == ""


class TestQuietProgress:
    def test_only_failures_are_said_and_on_standard_error(self, capsys):
        silent = QuietProgress(FailurePrinter())
        silent.begin(job())
        silent.end(measurement())
        silent.end(failure())
        silent.close()
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", f"{SAID}\n")


class TestBarProgress:
    def run(self):
        going = Run()
        bar = BarProgress(going.estimate, FailurePrinter())
        try:
            bar.begin(job(case=Case("s", {"width": "[red]w[/] [/nothing]"})))
            going.end(bar, measurement(case=CASES[0]), 10.0)
            bar.begin(job(2))
            going.end(bar, failure(case=CASES[1], message="no [bold]such[/bold] [/thing]"), 10.0)
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
        assert "2 of 5 launches, 1 of 3 cases done" in seen
        assert "s cpu 1" in seen
        assert "0:30 left" in seen
        assert "no [bold]such[/bold] [/thing] (suites/mine.py:7)" in seen
        assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1, "the cursor is given back"

    def test_a_case_is_shown_as_it_is_called(self, wide, monkeypatch):
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        bar = BarProgress(Run().estimate, FailurePrinter())
        bar.begin(job(case=Case("s", {"width": "[red]w[/] [/nothing]"})))
        bar.close()
        assert "s [red]w[/] [/nothing]" in screen.getvalue()

    def test_it_may_end_before_the_first_launch(self, wide, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        bar = BarProgress(Run().estimate, FailurePrinter())
        bar.close()
        bar.close()

    @pytest.fixture
    def shown(self, monkeypatch):
        """What is seen of a bar on a terminal of some width."""
        monkeypatch.setattr(sys, "stderr", io.StringIO())

        def show(bar: BarProgress, width: int) -> str:
            console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True)
            console.print(bar._bar.get_renderable())
            return console.export_text().rstrip("\n")

        return show

    LARGE = Plan(
        [
            Case("vision", {"device": "cpu", "batch_size": 2**size, "mode": "inference_mode"})
            for size in range(34)
        ],
        {"vision": "vision.py"},
        Schedule(launches=20),
    )

    @pytest.mark.parametrize("width", [80, 120])
    def test_nothing_that_matters_is_cut_off_in_a_large_run(self, shown, width):
        one = Run(self.LARGE, before=123)
        bar = BarProgress(one.estimate, FailurePrinter())
        bar.begin(job(12, case=self.LARGE.cases[6]))
        one.end(bar, measurement(case=self.LARGE.cases[6]), 30.0)
        line = shown(bar, width)
        bar.close()
        assert len(line.splitlines()) == 1
        assert f" 124 of {124 + 34 * 20 - 1} launches, 0 of 34 cases done " in line
        assert re.search(r" done \d:\d\d:\d\d ", line), "the time that has passed"
        assert " 5:39:30 left " in line
        assert re.search(r"[━╸╺]{5}", line), "the bar itself"
        assert ("vision cpu 64 inference_mode" if width == 120 else "vision cpu") in line

    @pytest.mark.parametrize("width", [80, 120])
    def test_the_whole_of_a_small_run_is_seen(self, shown, width):
        one = Run()
        bar = BarProgress(one.estimate, FailurePrinter())
        before = shown(bar, width)
        bar.begin(job(1, case=CASES[2]))
        one.end(bar, measurement(case=CASES[2]), 3.0)
        after = shown(bar, width)
        bar.close()
        assert re.fullmatch(r"━+ 0 of 6 launches, 0 of 3 cases done \d:\d\d:\d\d +starting *", before)
        assert re.fullmatch(
            r"[━╸╺]+ 1 of 6 launches, 0 of 3 cases done \d:\d\d:\d\d 0:15 left s cpu 3 *", after
        )

    def test_a_run_that_goes_on_says_no_total_before_the_rule_has_heard_of_its_earlier_part(self, shown):
        one = Run(before=4)
        bar = BarProgress(one.estimate, FailurePrinter())
        before = shown(bar, 80)
        for case in (*CASES, CASES[0]):
            one.rule.add(measurement(case=case))
        bar.begin(job(2, case=CASES[1]))
        after = shown(bar, 80)
        bar.close()
        assert " 4 launches made " in before
        assert "cases" not in before
        assert " 4 of 6 launches, 1 of 3 cases done " in after


class TestChoice:
    @pytest.mark.parametrize(
        ("quiet", "terminal", "kind"),
        [
            (True, True, QuietProgress),
            (True, False, QuietProgress),
            (False, False, LineProgress),
            (False, True, BarProgress),
        ],
    )
    def test_the_kind_fits_where_standard_error_goes(self, monkeypatch, quiet, terminal, kind):
        monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
        chosen = run_progress(PLAN, StopRule(PLAN.schedule), quiet)
        try:
            assert type(chosen) is kind
        finally:
            chosen.close()

    def test_it_is_told_how_far_an_earlier_part_had_come(self, monkeypatch):
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        run_progress(PLAN, StopRule(PLAN.schedule), quiet=False, done=3).begin(job())
        assert "launch 4 of about " in screen.getvalue()


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


class TestSearching:
    CASE = Case("s", {"device": "cpu", "batch_size": "max"})

    @pytest.mark.parametrize(
        ("tries", "known"),
        [
            ([], ""),
            ([Try(16)], " (16 fits)"),
            ([Try(32, failure="error"), Try(16, failure="crash")], " (16 does not fit)"),
            (
                [Try(16), Try(64, failure="error"), Try(32), Try(48, failure="timeout")],
                " (32 fits, 48 does not)",
            ),
        ],
    )
    def test_the_line_says_what_is_tried_and_what_is_known(self, tries, known):
        assert search_line(Search(self.CASE, tries), 7) == f"largest batch of s cpu max: trying 7{known}"

    def test_a_log_has_a_line_for_each(self, capsys):
        with searching(quiet=False) as announce:
            announce(Search(self.CASE), 16)
            announce(Search(self.CASE, [Try(16)]), 32)
        assert capsys.readouterr().err.splitlines() == [
            "largest batch of s cpu max: trying 16",
            "largest batch of s cpu max: trying 32 (16 fits)",
        ]

    def test_a_terminal_shows_it_and_takes_no_name_for_markup(self, monkeypatch):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with searching(quiet=False) as announce:
            announce(Search(Case("[red]s", {"batch_size": "max"})), 16)
        assert "largest batch of [red]s max: trying 16" in terminal.getvalue()

    def test_quiet_is_quiet(self, capsys):
        with searching(quiet=True) as announce:
            announce(Search(self.CASE), 16)
        assert capsys.readouterr().err == ""
