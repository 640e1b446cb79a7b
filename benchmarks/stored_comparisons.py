"""False alarms of comparisons of stored runs: successive runs of the same code, each compared with the one before.

    python -m benchmarks.stored_comparisons [RUNS [FOLDER]]

A suite of two cases is run RUNS (31) times; `bench compare` judges each pair of successive runs, as a build would. In
turn, pytest-benchmark runs the same two epochs and judges them by `--benchmark-compare-fail=mean:5%`. With a FOLDER the
runs are kept there, and runs that it already has are judged again without measuring. About ten minutes.
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
_SHORT = ("--launches", "6", "--repeats", "0", "--no-profile", "-q")
_THEIRS = """
import pytest
from bench import tasks
from bench.suite.case import Case
from bench.training import fit

@pytest.mark.parametrize("batch_size", [64, 256])
def test_epoch(benchmark, batch_size):
    task = tasks.build(Case("vision", {"batch_size": batch_size, "optimizer": "adam"}))
    benchmark(lambda: fit(task, 1))
"""
_FAIL = ("--benchmark-compare", "--benchmark-compare-fail=mean:5%")


def main() -> None:
    options = workload.arguments(runs=31, folder="")
    with TemporaryDirectory() as folder:
        place = Path(options.folder or folder)
        if not (place / "builds.json").exists():
            measure(place, options.runs)
        builds = json.loads((place / "builds.json").read_text())
        judged(place, builds)


def measure(place: Path, number: int) -> None:
    """Runs both tools in turn in this folder."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "test_epochs.py").write_text(_THEIRS)
    spent: list[float] = []
    failed: list[bool] = []
    for run in range(number):
        began = time.monotonic()
        bench(place, "run", workload.VISION, *_CASES, *_SHORT)
        spent.append(time.monotonic() - began)
        failed.append(pytest_benchmark(place, compares=run > 0))
        print(f"run {run + 1}/{number}", file=sys.stderr, flush=True)
    (place / "builds.json").write_text(json.dumps({"seconds": spent, "failed": failed[1:]}))


def judged(place: Path, builds: dict[str, list[float]]) -> None:
    """Compares each run with the one before, with only earlier runs in the folder."""
    times: Counter[str] = Counter()
    others: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    runs = sorted((place / "results").iterdir())
    with TemporaryDirectory() as folder:
        known = Path(folder) / "results"
        known.mkdir()
        for number, run in enumerate(runs):
            (known / run.name).symlink_to(run.resolve())
            if not number:
                continue
            done = bench(Path(folder), "compare", "latest~1", "latest", "--format", "json", may_fail=True)
            codes[done.returncode] += 1
            for row in json.loads(done.stdout)["rows"]:
                counter = times if row["metric"] in ("epoch.time", "train.step_time") else others
                counter[row["verdict"]] += 1
                if row["verdict"] not in ("equivalent", "inconclusive") or (
                    counter is others and row["verdict"] != "equivalent"
                ):
                    print(run.name, *(row[name] for name in ("case", "metric", "ratio", "verdict")))
    print(f"{len(runs)} runs of two cases in a row ({max(builds['seconds']):.1f} s at the longest)")
    print(f"{len(runs) - 1} neighbours judged: time rows {said(times)}; other rows {said(others)}")
    print(f"exit codes {said(codes)}")
    failed = sum(builds["failed"])
    print(f"pytest-benchmark, mean:5%: {failed} of {len(builds['failed'])} builds failed")


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
    """One build with pytest-benchmark; whether it failed because of a slower mean."""
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
