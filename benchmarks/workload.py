"""What the benchmarks share: their suites, their arguments, and launches of a plan."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import Suite, tasks
from bench.analysis.run.estimate import estimate
from bench.cli.options import conditions
from bench.machine.telemetry import Telemetry
from bench.measurement import Measurement
from bench.running.launching import launch
from bench.running.plan import Job, Plan
from bench.running.preparation import describe, probe
from bench.running.workers import Workers
from bench.suite.case import AxisValue, Case, Schedule
from bench.training import Task

FILE = str(Path(__file__).resolve())
ROOT = Path(__file__).resolve().parents[1]
VISION = str(ROOT / "suites" / "vision.py")


def build(case: Case) -> Task:
    """The shipped build, with images in memory for the cnn."""
    import torch  # in the worker only
    from torch.utils.data import DataLoader, TensorDataset

    task = tasks.build(case)
    if case["model"] == "cnn":
        # Generating them would take as long as the step.
        images = TensorDataset(torch.randn(IMAGES, 3, 32, 32), torch.randint(10, (IMAGES,)))
        task.train_loader = DataLoader(images, case.batch_size, shuffle=True)
    return task


IMAGES = 640
TWO_EPOCHS = {"device": ["cpu"], "epochs": [2]}
SHORT = {**TWO_EPOCHS, "dataset": ["digits"], "model": ["mlp"], "batch_size": [256]}

mlp = Suite(name="mlp", build=build, axes={"device": ["cpu"], "dataset": ["digits"], "model": ["mlp"]})
short = Suite(name="short", build=build, axes=SHORT)
with_workers = Suite(
    name="with_workers", build=build, axes={**SHORT, "workers": [2], "persistent_workers": [True]}
)
# About 25 ms a step on two cores.
cnn = Suite(
    name="cnn",
    build=build,
    axes={**TWO_EPOCHS, "dataset": ["fake-images"], "image_size": [32], "images": [64], "model": ["cnn"]},
)


def parser(**defaults: int | float | str) -> argparse.ArgumentParser:
    """Optional positional arguments with these defaults; --help shows the docstring of the command."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        parser.add_argument(
            name, nargs="?", type=type(default), default=default, help=f"default: {default!r}"
        )
    return parser


def arguments(**defaults: int | float | str) -> argparse.Namespace:
    """The values of these arguments in the command."""
    return parser(**defaults).parse_args()


@contextmanager
def workers(**flags: object) -> Iterator[Workers]:
    """Workers under the default conditions of this machine, changed by `flags`; their logs are deleted."""
    with TemporaryDirectory() as logs, Workers(conditions(**flags), Path(logs)) as started:
        yield started


def plan_of(
    workers: Workers,
    file: str,
    suite: str = "",
    axes: Mapping[str, Sequence[AxisValue]] | None = None,
    timeout: float | None = None,
) -> Plan:
    """The plan of one suite of a file (of the only one, without a name), its cases probed."""
    (listing,) = (one for one in describe(workers, [file], axes or {}) if suite in ("", one.name))
    schedule = Schedule() if timeout is None else Schedule(timeout=timeout)
    return probe(workers, Plan(listing.expansion.cases, {listing.name: listing.file}, schedule)).plan


def measured(workers: Workers, plan: Plan, job: Job, telemetry: Telemetry | None = None) -> Measurement:
    """One launch, which must not fail."""
    record = launch(workers, plan, job, telemetry)
    assert isinstance(record, Measurement), record
    return record


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """The median ratio of pairs with its interval, which fewer than six pairs do not have."""
    found = estimate([a / b for a, b in zip(over, under, strict=True)])
    if found.low is None or found.high is None:
        return f"{found.value:.4f} (of {found.launches} pairs there is no interval)"
    return f"{found.value:.4f} (95 % {found.low:.4f} to {found.high:.4f})"


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """Minimum, median and maximum."""
    ordered = sorted(values)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """One process that computes endlessly, if requested."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
