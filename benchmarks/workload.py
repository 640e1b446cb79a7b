"""The suites that the benchmarks drive, as every suite is declared, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import Suite, tasks
from bench.case import Case
from bench.cli.measure import conditions
from bench.nursery import Workers
from bench.training import Task

FILE = str(Path(__file__).resolve())


def build(case: Case) -> Task:
    """The shipped build, its loaders with as many worker processes as the axis says."""
    task = tasks.build(case)
    if workers := case.get("workers", 0):
        from torch.utils.data import DataLoader

        data = tasks.datasets.load(case["dataset"], case.get("image_size"), case.get("samples"))
        task.train_loader = DataLoader(
            data.train, case.batch_size, shuffle=True, num_workers=workers, persistent_workers=True
        )
    return task


mlp = Suite(name="mlp", build=build, axes={"device": ["cpu"], "dataset": ["digits"], "model": ["mlp"]})

# About 25 ms a step on two cores.
cnn = Suite(
    name="cnn",
    build=build,
    axes={
        "device": ["cpu"],
        "dataset": ["fake-images"],
        "image_size": [32],
        "samples": [640],
        "model": ["cnn"],
        "epochs": [2],
    },
)

with_workers = Suite(
    name="with_workers",
    build=build,
    axes={"device": ["cpu"], "dataset": ["digits"], "model": ["mlp"], "epochs": [2], "workers": [2]},
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
