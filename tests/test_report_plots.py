"""Pictures of made-up runs: which files come, what stands in them, and that no table breaks them."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.case import Case
from bench.measurement import Device, Environment, Failure, Measurement, StageRecord
from bench.report.plots import PICTURES, draw
from bench.results.journal import Records
from bench.results.tables import build

MODES = ("train", "eval", "no_grad", "inference_mode")
PHASES = {"data": 0.2, "transfer": 0.01, "forward": 0.25, "loss": 0.04, "zero_grad": 0.05}
PHASES |= {"backward": 0.3, "optimizer": 0.12, "metrics": 0.02, "other": 0.01}


def launch(case: Case, number: int, step: float = 1e-3, memory: int = 40 * 2**20) -> Measurement:
    """A launch of two epochs whose steps take `step` seconds, a little longer in each round."""
    seconds = step * (1 + number / 100)
    batch = case.batch_size

    def stage(epoch: int, name: str, factor: float) -> StageRecord:
        wall = 4 * seconds * factor
        phases = {phase: share * wall for phase, share in PHASES.items()}
        steps = (seconds * factor,) * 4
        return StageRecord(epoch, name, wall, steps, (batch,) * 4, phases if name == "train" else {}, loss=0.5)

    names = {"train": 1.0, "validate": 0.4, "test": 0.4}
    if case.mode != "train":
        names.pop("train")
    stages = tuple(stage(epoch, name, factor) for epoch in (0, 1) for name, factor in names.items())
    where = "peak_rss" if case.device == "cpu" else "peak_allocated"
    held = {"peak_rss": 2**28, where: memory + number * 4096}
    return Measurement(case, "timed", number, 1, 1, "2026-01-02T03:04:05Z", "host", stages, held)


def failure(case: Case) -> Failure:
    return Failure(case, "timed", 1, 1, 1, "2026-01-02T03:04:05Z", "out_of_memory", "no room")


def matrix(suite: str = "made_up", **axes) -> list[Case]:
    """All combinations, without those that an evaluation mode does not tell apart."""
    cases = [Case(suite, dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    return list(dict.fromkeys(cases))


def run(cases: list[Case], launches: int = 6, spread: float = 1.0, **plan):
    """The tables of a run of these cases; every case is a little slower than the one before."""
    records = Records()
    for place, case in enumerate(cases):
        for number in range(1, launches + 1):
            records.add(launch(case, number, 1e-3 * spread ** (place / len(cases)) * (1 + place / 50)))
    return build(records, plan)
