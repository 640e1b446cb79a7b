"""What a change of each metric means for the exit code: thresholds, found for each row of a comparison."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..measurement import Metric

ACTIONS = ("fail", "warn", "ignore")

# What is measured side by side is told apart more sharply than two runs of different times.
SIDE_BY_SIDE = 0.01

# The largest change that is no change, as a share, by the class of a metric; DESIGN's defaults.
THRESHOLDS: Mapping[str, float] = {"time": 0.05, "exact": 0.0, "machine": 0.0, "memory": 0.05, "shown": 0.05}


@dataclass(frozen=True)
class Policy:
    """How one row is judged.

    `relative` is the largest change, as a share, that counts as none; `absolute` the same in the metric's unit,
    in its place where it is given. `regression` and `improvement` are ACTIONS. `named` is True where a threshold
    names the metric, so that it gates whatever its default.
    """

    relative: float
    absolute: float | None = None
    regression: str = "fail"
    improvement: str = "ignore"
    named: bool = False

    def threshold(self, base: float) -> float:
        """As a share of the baseline's value."""
        if self.absolute is None:
            return self.relative
        return self.absolute / abs(base) if base else 0.0


@dataclass(frozen=True)
class Rule:
    """One table of thresholds: what it holds for, by patterns, and what it changes.

    Patterns are those of file names (`train.*`); an empty one holds for all. `place` says where it stands, for
    messages.
    """

    place: str
    metric: str = ""
    suite: str = ""
    case: str = ""
    device: str = ""
    changes: Mapping[str, float | str] = field(default_factory=dict)

    def holds(self, metric: str, suite: str, case: str, device: str) -> bool:
        """Whether the rule is about this row."""
        asked = ((self.metric, metric), (self.suite, suite), (self.case, case), (self.device, device))
        return all(not pattern or fnmatch.fnmatchcase(text, pattern) for pattern, text in asked)


def policy(
    metric: Metric,
    suite: str,
    case: str,
    device: str,
    rules: Sequence[Rule] = (),
    standards: Mapping[str, float] = THRESHOLDS,
) -> Policy:
    """The policy of a row: the standard of its class, changed by each rule that holds, the later the stronger."""
    found = Policy(standards[metric.kind])
    for rule in rules:
        if not rule.holds(metric.name, suite, case, device):
            continue
        changes = dict(rule.changes)
        if "relative" in changes:
            changes.setdefault("absolute", None)  # type: ignore[arg-type]
        named = found.named or bool(rule.metric and rule.metric != "*")
        found = dataclasses.replace(found, **changes, named=named)  # type: ignore[arg-type]
    return found
