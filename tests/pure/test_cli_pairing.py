"""What is seen of an A/B while it goes on, on a clock that a test moves."""

from __future__ import annotations

import io
from dataclasses import dataclass

import fakes
import pytest

from bench.ab.pairs import Launched
from bench.analysis.compare.comparable import ComparisonOptions
from bench.analysis.compare.policy import SIDE_BY_SIDE, THRESHOLDS
from bench.analysis.compare.side_by_side import Matched, SideBySide
from bench.analysis.compare.sides import CaseSide
from bench.cli.progress import LINE_EVERY, PairProgress, row_text

NAMES = ["fake/one", "fake/two"]


@dataclass
class Watched:
    """An A/B and what is said of it."""

    quiet: bool = False

    def __post_init__(self):
        self.now = 100.0
        self.out = io.StringIO()
        cases = [Matched(name, CaseSide("fake", "cpu"), CaseSide("fake", "cpu")) for name in NAMES]
        self.judge = SideBySide(cases, ComparisonOptions(standards={**THRESHOLDS, "time": SIDE_BY_SIDE}), 16)
        self.verdicts = PairProgress(self.judge, list(NAMES), self.out, self.quiet, lambda: self.now)

    def pairs(self, name, number, ratio=1.0):
        """So many pairs from the first on, each a tenth of a second long."""
        for pair in range(1, number + 1):
            seconds = 1.0 + pair / 1e5
            records = tuple(
                fakes.measurement(stages=fakes.stages(steps=(each, each)))
                for each in (seconds, seconds * ratio)
            )
            self.verdicts.begin(name, f"pair {pair}")
            for side in (0, 1):
                self.verdicts.end(Launched(side, name, records[side]))
            self.now += 0.1
            self.judge.add(name, pair, records, pair % 2 == 0)

    @property
    def lines(self):
        return self.out.getvalue().splitlines()


@pytest.fixture
def watched():
    return Watched()


class TestSignsOfLife:
    def test_the_first_pair_is_announced_and_then_one_every_few_seconds(self, watched):
        watched.verdicts.begin(NAMES[0], "counts")
        watched.verdicts.begin(NAMES[1], "counts")
        watched.now += LINE_EVERY - 1
        watched.verdicts.begin(NAMES[0], "pair 1")
        watched.now += 1
        watched.verdicts.begin(NAMES[1], "pair 1")
        assert watched.lines == [
            "counts, 0 of 2 cases decided, 0:00 elapsed: fake/one",
            "pair 1, 0 of 2 cases decided, 0:10 elapsed: fake/two",
        ]

    def test_they_say_how_many_cases_are_decided(self, watched):
        watched.pairs(NAMES[0], 14)
        watched.now += LINE_EVERY
        watched.verdicts.end(Launched(0, NAMES[1], fakes.measurement()))
        watched.now += LINE_EVERY
        watched.verdicts.begin(NAMES[1], "pair 1")
        assert watched.lines[-1] == "pair 1, 1 of 2 cases decided, 0:21 elapsed: fake/two"

    def test_a_name_that_is_no_line_is_said_in_one(self, watched):
        watched.verdicts.begin("fake/a\nb\x1b[31m", "pair 1")
        assert len(watched.lines) == 1
        assert "\x1b" not in watched.lines[0]


class TestVerdicts:
    def test_each_is_said_once_when_it_falls(self, watched):
        watched.pairs(NAMES[0], 14)
        watched.pairs(NAMES[1], 3)
        watched.verdicts.close()
        said = [line for line in watched.lines if line.startswith("after")]
        assert len(said) == 1
        assert said[0].startswith("after 14 pairs: fake/one: ")
        assert "epoch.time equivalent, 1.000 (1.000 to 1.000)" in said[0]
        assert "train.step_time equivalent" in said[0]
        assert "memory" not in said[0]

    def test_the_last_one_is_said_at_the_end(self, watched):
        watched.pairs(NAMES[1], 14, ratio=1.5)
        assert watched.lines[1:] == []
        watched.pairs(NAMES[1], 16, ratio=1.5)
        watched.verdicts.close()
        assert "fake/two" in watched.lines[-1]

    @pytest.mark.parametrize("quiet", [False, True])
    def test_failures_are_said_whatever_else_is_not(self, quiet):
        watched = Watched(quiet)
        watched.verdicts.begin(NAMES[0], "counts")
        watched.verdicts.end(Launched(1, NAMES[0], fakes.failure()))
        watched.verdicts.end(Launched(0, NAMES[0], fakes.measurement()))
        failed = [line for line in watched.lines if "ValueError" in line]
        assert len(failed) == 1
        assert failed[0].startswith("candidate: ")
        assert (len(watched.lines) == 1) is quiet

    def test_a_quiet_command_says_no_verdict(self):
        watched = Watched(quiet=True)
        watched.pairs(NAMES[0], 14)
        watched.verdicts.close()
        assert watched.lines == []


class TestARow:
    def rows(self, noise, number=14):
        watched = Watched()
        for pair in range(1, number + 1):
            seconds = (1.0, 1.0 + noise * (-1) ** (pair // 2) * (1 + pair / 10))
            records = tuple(fakes.measurement(stages=fakes.stages(steps=(each, each))) for each in seconds)
            watched.judge.add(NAMES[0], pair, records, pair % 2 == 0)
        return {row.metric.name: row for row in watched.judge.rows_of(NAMES[0])}

    def test_one_that_is_not_decided_says_what_it_could_have_seen(self):
        said = row_text(self.rows(0.2, 14)["epoch.time"])
        assert said.startswith("epoch.time inconclusive, ")
        assert ", detectable from " in said

    def test_one_that_is_decided_does_not(self):
        assert row_text(self.rows(1e-5)["epoch.time"]) == "epoch.time equivalent, 1.000 (1.000 to 1.000)"

    def test_one_without_an_interval_is_its_verdict(self):
        assert row_text(self.rows(0.2, 3)["epoch.time"]) == "epoch.time inconclusive"
