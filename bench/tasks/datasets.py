"""Data by name, split into train, validate and test with a fixed seed.

`digits` and `text` come with installed packages and need no network. `fashion-mnist` and `cifar10` are read from the
data folder, and downloaded into it only with `--download`. A new data set is an entry of DATASETS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import AxisValue, Case

if TYPE_CHECKING:
    from torch.utils.data import Dataset

SPLIT_SEED = 0  # the same split in every run, independent of the seed of the schedule
SHARES = (0.6, 0.2, 0.2)  # train, validate, test

TEXT_CONTEXT = 64  # characters that the model sees
TEXT_SEQUENCES = 2048  # of about 11,000: an epoch of a second or two on a small CPU

# Each reads only the axes of a case that it uses.
DATASETS: Mapping[str, Callable[[Case], Data]] = {
    "digits": lambda _: digits(),
    "text": lambda _: text(),
    "fake-images": lambda case: fake_images(case.get("image_size") or 64, case.get("images") or 256),
    "fashion-mnist": lambda _: downloadable("fashion-mnist", "FashionMNIST", (1, 28, 28)),
    "cifar10": lambda _: downloadable("cifar10", "CIFAR10", (3, 32, 32)),
}

CHOICES: Mapping[str, Collection[AxisValue]] = {"dataset": tuple(DATASETS)}


@dataclass(frozen=True)
class Data:
    """The three parts of one data set.

    `shape` is that of one input, without the batch: (channels, height, width) of an image, (length,) of a text.
    `classes` is how many values a target may have.
    """

    train: Dataset[Any]
    validate: Dataset[Any]
    test: Dataset[Any]
    shape: tuple[int, ...]
    classes: int


def build(case: Case) -> Data:
    """The data set of a case. Raises UsageError where it is not available."""
    return DATASETS[case["dataset"]](case)


def digits() -> Data:
    """1,797 real handwritten digits of 8 x 8 pixels (scikit-learn), scaled to 0..1."""
    import torch
    from sklearn.datasets import load_digits
    from torch.utils.data import TensorDataset

    source = load_digits()
    inputs = torch.tensor(source.images, dtype=torch.float32).unsqueeze(1) / 16
    return split(TensorDataset(inputs, torch.tensor(source.target)), (1, 8, 8), 10)


def text() -> Data:
    """Real English: the help texts in Python's `pydoc_data`, as sequences of characters.

    The target of each character is the one that follows it.
    """
    from pydoc_data.topics import topics

    import torch
    from torch.utils.data import TensorDataset

    whole = "\n".join(topics[name] for name in sorted(topics))
    alphabet = {character: code for code, character in enumerate(sorted(set(whole)))}
    length = min(len(whole) - 1, TEXT_SEQUENCES * TEXT_CONTEXT) // TEXT_CONTEXT * TEXT_CONTEXT
    codes = torch.tensor([alphabet[character] for character in whole[: length + 1]])
    inputs = codes[:-1].view(-1, TEXT_CONTEXT)
    targets = codes[1:].view(-1, TEXT_CONTEXT)
    return split(TensorDataset(inputs, targets), (TEXT_CONTEXT,), len(alphabet))


def fake_images(size: int, images: int) -> Data:
    """Random images of 3 x size x size in 10 classes, generated as they are read (torchvision FakeData)."""
    from torchvision.datasets import FakeData
    from torchvision.transforms import ToTensor

    shape = (3, size, size)
    source = FakeData(images, shape, num_classes=10, transform=ToTensor())
    return split(source, shape, 10)


def downloadable(name: str, dataset: str, shape: tuple[int, ...]) -> Data:
    """A data set of torchvision in the data folder: its own test part, its training part split into two."""
    import torchvision
    from torch.utils.data import random_split
    from torchvision.transforms import ToTensor

    root = Path(os.environ.get("EPOCHBENCH_DATA", "data"))
    download = bool(os.environ.get("EPOCHBENCH_DOWNLOAD"))
    make = getattr(torchvision.datasets, dataset)
    try:
        training = make(root, train=True, transform=ToTensor(), download=download)
        test = make(root, train=False, transform=ToTensor(), download=download)
    except (OSError, RuntimeError) as problem:
        if download:
            # The last line has the cause; before it torchvision names the file and the mirrors that it tried.
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]
            raise UsageError(
                f"dataset {name!r} could not be downloaded into {root}: {reason}; check the network, or put "
                f"its files there by hand"
            ) from problem
        raise UsageError(
            f"dataset {name!r} is not in {root}; run once with --download, or name its folder with --data"
        ) from problem
    train, validate = random_split(training, [0.8, 0.2], _generator())
    return Data(train, validate, test, shape, 10)


def split(source: Dataset[Any], shape: tuple[int, ...], classes: int) -> Data:
    """The data in three parts by SHARES, shuffled with SPLIT_SEED."""
    from torch.utils.data import random_split

    train, validate, test = random_split(source, SHARES, _generator())
    return Data(train, validate, test, shape, classes)


def _generator() -> Any:
    import torch

    return torch.Generator().manual_seed(SPLIT_SEED)
