"""How honest comparisons of stored runs are: runs of the same code in a row, each judged against the one before.

    python -m benchmarks.stored_comparisons [RUNS]

A suite of two cases is run again and again; `bench compare` judges each pair of neighbours, as a build would. In turn
with it the real pytest-benchmark runs the same two epochs and judges its own by `--benchmark-compare-fail=mean:5%`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import workload

_CASES = ("-k", "(batch_size=64 or batch_size=256) and adam")
_THEIRS = """
import pytest
from bench import tasks
from bench.case import Case
from bench.training import fit

@pytest.mark.parametrize("batch_size", [64, 256])
def test_epoch(benchmark, batch_size):
    task = tasks.build(Case("vision", {"batch_size": batch_size, "optimizer": "adam"}))
    benchmark(lambda: fit(task, 1))
"""
_FAIL = ("--benchmark-compare", "--benchmark-compare-fail=mean:5%")


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    verdicts: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    theirs: Counter[str] = Counter()
    spent: list[float] = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "test_epochs.py").write_text(_THEIRS)
        for run in range(number):
            began = time.monotonic()
            bench(
                place,
                "run",
                workload.VISION,
                *_CASES,
                "--launches",
                "6",
                "--repeats",
                "0",
                "--no-profile",
                "-q",
            )
            spent.append(time.monotonic() - began)
            failed = pytest_benchmark(place, compares=run > 0)
            if run:
                done = bench(place, "compare", "latest~1", "latest", "--format", "json", may_fail=True)
                codes[done.returncode] += 1
                rows = json.loads(done.stdout)["rows"]
                verdicts.update(
                    row["verdict"] for row in rows if row["metric"] in ("epoch.time", "train.step_time")
                )
                theirs["failed" if failed else "passed"] += 1
            print(f"run {run + 1}/{number}", file=sys.stderr, flush=True)
    pairs = number - 1
    print(
        f"{number} runs of two cases in a row ({max(spent):.1f} s at the longest), {pairs} neighbours judged"
    )
    print(f"time rows of bench compare: {said(verdicts)}; exit codes {said(codes)}")
    print(f"pytest-benchmark, mean:5%: {said(theirs)} of {pairs} builds")


def said(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=str))


def bench(place: Path, *arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert may_fail or done.returncode == 0, done.stderr
    return done


def pytest_benchmark(place: Path, compares: bool) -> bool:
    """One build under pytest-benchmark; whether it failed for a mean that is slower."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "test_epochs.py",
            "--benchmark-autosave",
            *(_FAIL if compares else ()),
        ],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or "Performance has regressed" in done.stdout + done.stderr, done.stdout
    return done.returncode != 0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(workload.ROOT)}


if __name__ == "__main__":
    main()
