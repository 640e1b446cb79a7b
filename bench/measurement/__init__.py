"""The schema: what a launch reports, and what every metric is.

A launch reports one `Measurement` or one `Failure`; `Environment` describes the machine and software. The records are
frozen, hold raw samples and plain SI numbers, and go through JSON both ways. `METRICS` is the table of all metrics with
unit, class and better direction.
"""

from .detail import (
    REMAINDER,
    AutogradGraph,
    Counts,
    GraphNode,
    MemoryTimeline,
    OperatorCount,
    OperatorTime,
    Profile,
)
from .metrics import METRICS, OF_NO_STEP, PER_STEP, QUALITY, Metric, direction, metric
from .record import (
    COUNTED,
    FAILURES,
    PHASED,
    PHASES,
    PROFILED,
    SEARCHED,
    STACKED,
    STAGES,
    TIMED,
    WARMUP_EPOCHS,
    Bandwidth,
    Device,
    Environment,
    Failure,
    Measurement,
    Peak,
    StageRecord,
    samples_known,
)

__all__ = [
    "COUNTED",
    "FAILURES",
    "METRICS",
    "OF_NO_STEP",
    "PER_STEP",
    "PHASED",
    "PHASES",
    "PROFILED",
    "QUALITY",
    "REMAINDER",
    "SEARCHED",
    "STACKED",
    "STAGES",
    "TIMED",
    "WARMUP_EPOCHS",
    "AutogradGraph",
    "Bandwidth",
    "Counts",
    "Device",
    "Environment",
    "Failure",
    "GraphNode",
    "Measurement",
    "MemoryTimeline",
    "Metric",
    "OperatorCount",
    "OperatorTime",
    "Peak",
    "Profile",
    "StageRecord",
    "direction",
    "metric",
    "samples_known",
]
