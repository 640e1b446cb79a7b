"""A suite whose own code raises where it is called: each value of the axis `raises` does so in its way and place."""

import warnings

import torch
from torch import nn
from torch.utils.data import ChainDataset, DataLoader, IterableDataset, TensorDataset

from bench import Suite
from bench.training import Task


class Own(BaseException):
    """Caught by no `except Exception`, and without words."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Rows(IterableDataset):
    def __iter__(self):
        return iter(TensorDataset(torch.randn(64, 3), torch.randint(2, (64,))))


class Silent:
    """A loader that tells of neither its length nor its data set."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)

    def __len__(self):
        raise ValueError("no length")

    @property
    def dataset(self):
        raise ValueError("no data set")


class Breaking:
    """A loader that ends in the midst of an epoch by what it was given."""

    def __init__(self, problem):
        self.problem = problem

    def __iter__(self):
        yield torch.randn(4, 3), torch.randint(2, (4,))
        raise self.problem


BUILDING = {
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "Own": Own(),
}


def fail(problem):
    raise problem


def build(case):
    how = case["raises"]
    if how in BUILDING:
        raise BUILDING[how]
    if how == "nothing is built":
        return None
    rows = TensorDataset(torch.randn(64, 3), torch.randint(2, (64,)))
    train = loader = DataLoader(rows, 16)
    metrics, parts = {}, {}
    match how:
        case "a metric":
            metrics = {"mine": lambda outputs, targets: fail(KeyboardInterrupt())}
        case "a metric without a name":
            metrics = {"\udcff": lambda outputs, targets: torch.zeros(())}
        case "a metric with a name of parts":
            metrics = {("a", 1): lambda outputs, targets: torch.zeros(())}
        case "a loader":
            train = Breaking(KeyboardInterrupt())
        case "a loader that stops":
            train = Breaking(StopIteration())
        case "setup":
            parts = {"setup": lambda: fail(SystemExit(3))}
        case "no validation":
            parts = {"validate_loader": None}
        case "a chain without a length":
            train = DataLoader(ChainDataset([Rows(), Rows()]), 16)
        case "a loader without a length":
            train = Silent(loader)
        case "warnings":
            warnings.simplefilter("error")
    model = nn.Linear(3, 2)
    return Task(
        **{
            "model": model,
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
            "train_loader": train,
            "validate_loader": loader,
            "test_loader": loader,
            "metrics": metrics,
            **parts,
        }
    )


RAISES = (
    *BUILDING,
    *("nothing is built", "a metric", "a metric without a name", "a metric with a name of parts"),
    *("a loader", "a loader that stops", "setup"),
)
MEASURED = ("no validation", "a chain without a length", "a loader without a length", "warnings")

suite = Suite(
    name="awkward",
    build=build,
    axes={"device": ["cpu"], "epochs": [2], "raises": [*RAISES, *MEASURED]},
)
