"""What a change of each metric means for the exit code: thresholds, found for each row of a comparison."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...measurement import QUALITY, Metric

ACTIONS = ("fail", "warn", "ignore")

# The threshold of times measured side by side, which show smaller changes than runs at different times.
SIDE_BY_SIDE = 0.01

# The tolerated change as a share, by the class of a metric.
THRESHOLDS: Mapping[str, float] = {
    "time": 0.05,
    "exact": 0.0,
    "machine": 0.0,
    "memory": 0.05,
    "quality": 0.05,
    "shown": 0.05,
}

# The tolerated change of an accuracy, and of all quality of which more is better: in its unit for values up to 1, as a
# share above. The same work summed in another order stays within it (docs/methodology.md).
SHARE = 0.02


@dataclass(frozen=True)
class Policy:
    """How one row is judged.

    `relative` is the tolerated change as a share, but never less than `least` in the metric's unit; `absolute`, if
    given, replaces it by a change in that unit. `regression` and `improvement` are ACTIONS. `named` is True where a
    threshold names the metric, so that it gates whatever its default; `better` is the direction that a rule gives a
    metric which has none of its own.
    """

    relative: float
    absolute: float | None = None
    regression: str = "fail"
    improvement: str = "ignore"
    named: bool = False
    least: float = 0.0
    better: str = ""

    def tolerance(self, base: float) -> float:
        """In the metric's unit."""
        return max(self.relative * abs(base), self.least) if self.absolute is None else self.absolute

    def threshold(self, base: float) -> float:
        """As a share of the baseline's value."""
        if self.absolute is None and not self.least:
            return self.relative
        return self.tolerance(base) / abs(base) if base else 0.0


@dataclass(frozen=True)
class ThresholdRule:
    """One table of thresholds: the patterns of the rows that it applies to, and what it changes.

    Patterns are those of file names (`train.*`); an empty one matches everything. `place` is its place in the file, for
    messages.
    """

    place: str
    metric: str = ""
    suite: str = ""
    case: str = ""
    device: str = ""
    changes: Mapping[str, float | str] = field(default_factory=dict)

    def holds(self, metric: str, suite: str, case: str, device: str) -> bool:
        """Whether the rule applies to this row."""
        patterns = ((self.metric, metric), (self.suite, suite), (self.case, case), (self.device, device))
        return all(not pattern or fnmatch.fnmatchcase(text, pattern) for pattern, text in patterns)

    def names(self, metric: Metric) -> bool:
        """Whether the rule chooses this metric, and not only all of them.

        "quality.*" does not match `quality.time_to_loss`, which is a time and must be named itself.
        """
        if metric.name.startswith(QUALITY) and metric.kind != "quality":
            return self.metric == metric.name
        return self.metric not in ("", "*")


def policy(
    metric: Metric,
    suite: str,
    case: str,
    device: str,
    rules: Sequence[ThresholdRule] = (),
    standards: Mapping[str, float] = THRESHOLDS,
    requested: bool = False,
) -> Policy:
    """The policy of a row: the standard of its class, changed by each rule that applies; later rules override earlier
    ones.

    A metric that is `requested` by its name gates. A fall of quality that is named neither there nor by a rule's
    `metric` only warns, whatever the default is.
    """
    share = standards[metric.kind]
    more_is_better = metric.kind == "quality" and metric.better == "more"
    found = Policy(min(share, SHARE), least=SHARE) if more_is_better else Policy(share)
    for rule in rules:
        if not rule.holds(metric.name, suite, case, device):
            continue
        changes = dict(rule.changes)
        if "relative" in changes:
            changes |= {"absolute": None, "least": 0.0}  # type: ignore[dict-item]
        found = dataclasses.replace(found, **changes, named=found.named or rule.names(metric))  # type: ignore[arg-type]
    found = dataclasses.replace(found, named=found.named or requested)
    if metric.kind == "quality" and not found.named and found.regression == "fail":
        return dataclasses.replace(found, regression="warn")
    return found


def directed(metric: Metric, policy: Policy) -> Metric:
    """The metric with the direction that the policy gives it, where it has none of its own."""
    return metric if metric.better or not policy.better else dataclasses.replace(metric, better=policy.better)
