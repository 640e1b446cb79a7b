"""How long it takes to compare two large runs.

    python -m benchmarks.compare_large [STEPS]

Two runs of STEPS (a million) steps are generated, their tables written as a run writes them, and compared ten times in
fresh processes. The imports of a comparison are timed separately, alternating with them. About a minute.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measurement import TIMED, Measurement, StageRecord
from bench.results import tables
from bench.results.folder import RunFolder
from bench.results.journal import Journal
from bench.suite.case import Case
from benchmarks import workload

_CASES, _LAUNCHES, _EPOCHS = 10, 10, 5
_IMPORTS = "import bench.cli.verbs.compare, pyarrow.parquet"


def main() -> None:
    steps = workload.arguments(steps=1_000_000).steps
    with TemporaryDirectory() as folder:
        for name in ("first", "second"):
            make(Path(folder) / name, steps, random.Random(name))
        compares, imports = [], []
        for _ in range(10):
            imports.append(timed(folder, "-c", _IMPORTS))
            compares.append(timed(folder, "-m", "bench", "compare", "first", "second"))
    print(f"two runs of {steps:,} steps each; seconds: minimum, median, maximum")
    for name, values in (("bench compare", compares), ("its imports alone", imports)):
        print(f"{name:20}" + "".join(f"{value:8.2f}" for value in workload.quantiles(values)))


def make(path: Path, steps: int, order: random.Random) -> None:
    """Writes a run folder with this number of steps."""
    path.mkdir()
    folder = RunFolder(path)
    journal = Journal(folder.journal)
    each = steps // (_CASES * _LAUNCHES * _EPOCHS)
    for number in range(_LAUNCHES):
        for width in range(_CASES):
            case = Case("large", {"device": "cpu", "width": width})
            speed = order.gauss(1e-3, 1e-5)
            stages = tuple(stage(epoch, each, speed, order) for epoch in range(_EPOCHS))
            journal.append(Measurement(case, TIMED, number + 1, 1, 1, "2026-01-01T00:00:00", "host", stages))
    journal.close()
    tables.write(folder, tables.read(path))


def stage(epoch: int, steps: int, speed: float, order: random.Random) -> StageRecord:
    seconds = tuple(round(order.gauss(speed, speed / 50), 9) for _ in range(steps))
    return StageRecord(epoch, "train", sum(seconds), seconds, (64,) * steps)


def timed(folder: str, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(workload.ROOT)},
        capture_output=True,
        check=False,  # its exit code is a result
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
