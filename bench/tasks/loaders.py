"""Loaders of batches, by the axes of a case.

`workers`, `pin_memory`, `prefetch_factor` and `persistent_workers` are options of torch's DataLoader; None leaves each
to torch. With `placement` there is no DataLoader in the loop: all items are read once into tensors, in host memory or
on the device, and batches are made by indexing these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..suite.case import AxisValue, Case
from .axis_values import SWITCH, Numbers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    from .datasets import Data

    Loader: TypeAlias = DataLoader[Any] | "Batches"

CHOICES: Mapping[str, Collection[AxisValue]] = {
    "workers": Numbers(0),
    "pin_memory": SWITCH,
    "prefetch_factor": Numbers(1),
    "persistent_workers": SWITCH,
    "placement": (None, "memory", "device"),
}

WORKER_OPTIONS = ("prefetch_factor", "persistent_workers")


def refusal(case: Case) -> str | None:
    """Why a case cannot have these loaders, with torch's message if there is one; None if it can."""
    placement, on_cpu = case.get("placement"), case.device == "cpu"
    if case.get("pin_memory") and on_cpu:
        return f"pin_memory is for copies to an accelerator; device {case.device} has none"
    if placement is not None:
        return _placement_refusal(case)
    options = {option: case.get(option) for option in WORKER_OPTIONS if case.get(option) is not None}
    if not options or case.get("workers"):
        return None
    from torch.utils.data import DataLoader, Dataset  # only if torch's message is needed

    try:
        DataLoader(Dataset[Any](), **options)
    except ValueError as problem:
        return str(problem)
    return None


def _placement_refusal(case: Case) -> str | None:
    placement = case["placement"]
    if case.get("workers") or any(case.get(option) is not None for option in WORKER_OPTIONS):
        return f"placement={placement} takes batches by indexing; it has no workers"
    if placement == "memory":
        return None
    if case.device == "cpu":
        return f"placement=device is for an accelerator; on device {case.device} use placement=memory"
    if case.get("pin_memory"):
        return "placement=device copies no batch; pin_memory has nothing to speed up"
    return None


def build(data: Data, case: Case) -> tuple[Loader, Loader, Loader]:
    """Loaders of batches of (inputs, targets): training data in a new order each epoch, the rest in order."""
    parts = ((data.train, True), (data.validate, False), (data.test, False))
    train, validate, test = (_loader(part, shuffle, case) for part, shuffle in parts)
    return train, validate, test


def _loader(part: Dataset[Any], shuffle: bool, case: Case) -> Loader:
    if case.get("placement") is not None:
        device = case.device if case["placement"] == "device" else "cpu"
        return Batches(tensors_of(part, device), case.batch_size, shuffle, bool(case.get("pin_memory")))
    from torch.utils.data import DataLoader  # in the worker only

    return DataLoader(
        part,
        case.batch_size,
        shuffle=shuffle,
        num_workers=case.get("workers") or 0,
        pin_memory=bool(case.get("pin_memory")),
        prefetch_factor=case.get("prefetch_factor"),
        persistent_workers=bool(case.get("persistent_workers")),
    )


class Batches:
    """The batches of a data set of tensors; the last one may be smaller.

    Each batch is a copy, as from a DataLoader: changing it in place does not change the data. The order of an epoch is
    a tensor on the same device, so that no step copies anything to it. `pinned` batches are in page-locked memory, from
    which a device reads asynchronously; indexing page-locked tensors would not give such memory.
    """

    def __init__(
        self, dataset: TensorDataset, batch_size: int, shuffle: bool = False, pinned: bool = False
    ) -> None:
        self.dataset = dataset
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._pinned = pinned

    def __len__(self) -> int:
        return -(-len(self.dataset) // self._batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        import torch  # in the worker only

        order_of = torch.randperm if self._shuffle else torch.arange
        order = order_of(len(self.dataset), device=self.dataset.tensors[0].device)
        for first in range(0, len(order), self._batch_size):
            rows = order[first : first + self._batch_size]
            yield [self._take(tensor, rows) for tensor in self.dataset.tensors]

    def _take(self, tensor: Tensor, rows: Tensor) -> Tensor:
        import torch

        # Torch caches page-locked memory, and reuses it only after the device has read it.
        batch = tensor.new_empty((len(rows), *tensor.shape[1:]), pin_memory=self._pinned)
        return torch.index_select(tensor, 0, rows, out=batch)


def tensors_of(part: Any, device: str = "cpu") -> TensorDataset:
    """All items of a part, read once, as tensors on a device.

    Each is copied to its place at once: a list of all items in addition would double the peak of memory.
    """
    import torch  # in the worker only
    from torch.utils.data import TensorDataset, default_collate

    whole: list[Tensor] = []
    for index in range(len(part)):
        item = default_collate([part[index]])
        whole = whole or [value.new_empty((len(part), *value.shape[1:])) for value in item]
        for tensor, value in zip(whole, item, strict=True):
            tensor[index] = value[0]
    # A part without items gives no batch, as from a DataLoader; the loop raises an error for that.
    return TensorDataset(*[tensor.to(device) for tensor in whole or [torch.empty(0)]])
