"""What is known of the gate on a machine: the decisions of a self-test, kept beside the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..analysis.compare.environments import differences
from ..errors import ResultsError
from ..measurement import Environment
from .folder import RESULTS, SELFTEST, RunFolder


def write(place: Path, decisions: Iterable[Any], environment: Environment) -> None:
    """Whole or not at all; `decisions` are dataclasses. Raises ResultsError where the disk takes no more."""
    RunFolder(place).write_json(
        SELFTEST,
        {"decisions": list(decisions), "environment": environment},
    )


def latest(environment: Environment, root: Path = RESULTS) -> list[Mapping[str, Any]]:
    """The decisions of the latest self-test on a machine and software like this; none where there was none."""
    for path in sorted(root.glob(f"*/{SELFTEST}"), reverse=True):
        try:
            data = RunFolder(path.parent).read_json(SELFTEST)
            if not differences(Environment.from_json(data["environment"]), environment):
                return list(data["decisions"])
        except (ResultsError, KeyError, TypeError, ValueError, AttributeError):
            continue  # damaged, or of another version
    return []
