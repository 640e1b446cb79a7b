"""The suites that the benchmarks drive, as every suite is declared, and what they have in common."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import Suite, tasks
from bench.cli.options import conditions
from bench.running.fork_server import Workers
from bench.suite.case import Case
from bench.training import Task

FILE = str(Path(__file__).resolve())
ROOT = Path(__file__).resolve().parents[1]
VISION = str(ROOT / "suites" / "vision.py")


def build(case: Case) -> Task:
    """The shipped build, with images that lie in memory for the cnn."""
    import torch  # in the worker only
    from torch.utils.data import DataLoader, TensorDataset

    task = tasks.build(case)
    if case["model"] == "cnn":
        # Making them would take as long as the step that is meant.
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


@contextmanager
def workers(**flags: object) -> Iterator[Workers]:
    """Workers under the default conditions of this machine, changed by `flags`; their logs are dropped."""
    with TemporaryDirectory() as logs, Workers(conditions(**flags), Path(logs)) as started:
        yield started


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """Minimum, median and maximum."""
    ordered = sorted(values)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """One process that computes without end, where it is wanted."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
