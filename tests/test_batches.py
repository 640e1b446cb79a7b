from __future__ import annotations

import dataclasses
from collections import UserDict, namedtuple

import numpy
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bench.batches import agrees, samples_in, samples_of_pass, sizes_of

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = torch.zeros(7, 3)
Three = namedtuple("Three", "ids mask labels")
Two = namedtuple("Two", "left right")


@dataclasses.dataclass
class Fields:
    image: torch.Tensor
    name: str = "one"


class Graphs:
    """As PyTorch Geometric has it: nodes, edges, and a target for each graph."""

    def __init__(self):
        self.x, self.y = torch.zeros(20, 4), torch.zeros(7)


@pytest.mark.parametrize(
    "batch",
    [
        (ROWS, torch.zeros(7)),
        [ROWS, torch.zeros(7, 2)],
        (ROWS, None),
        (ROWS, 1.0),
        (ROWS, torch.tensor(1.0)),
        (ROWS, {"labels": torch.zeros(7, 3), "note": "the first"}),
        (ROWS, (torch.zeros(7), torch.zeros(7, 2))),
        (ROWS, [{"boxes": torch.zeros(1, 4)}] * 7),
        (ROWS, [torch.zeros(5)] * 7),
        (ROWS, [torch.zeros(n) for n in range(7)]),
        (ROWS, ["a text"] * 7),
        (ROWS, [["two", "captions"]] * 7),
        (ROWS, [("a",) * 7, ("b",) * 7]),
        (ROWS, ["a text", torch.zeros(7)]),
        ([torch.zeros(3, 9, 9)] * 7, [{"boxes": torch.zeros(2, 4), "labels": torch.zeros(2)}] * 7),
        ([ROWS, ROWS], torch.zeros(7)),
        ({"left": ROWS, "right": [ROWS, ROWS]}, torch.zeros(7)),
        (Two(ROWS, ROWS), Two(torch.zeros(7), torch.zeros(7))),
        (pack_sequence([torch.zeros(4, 2)] * 7), torch.zeros(7)),
        (numpy.zeros((7, 2)), numpy.zeros(7)),
        (Fields(ROWS), torch.zeros(7)),
        (ROWS, torch.zeros(7), 1.0),
        (ROWS,),
        ROWS,
        Three(ROWS, ROWS, torch.zeros(7)),
        Fields(ROWS),
        {"ids": ROWS, "labels": torch.zeros(7)},
        UserDict({"ids": ROWS, "labels": torch.zeros(7)}),
        ["a text"] * 7,
        torch.zeros(7).to_sparse(),
    ],
)
def test_all_parts_of_a_batch_tell_how_many_samples_it_has(batch):
    assert samples_in(batch) == 7


@pytest.mark.parametrize(
    "batch",
    [
        (torch.zeros(9, 7, 3), torch.zeros(7)),  # sequence first
        (ROWS, torch.zeros(7 * 3)),  # a target for each place
        ([ROWS, ROWS], [ROWS, ROWS]),  # two rows, or two parts of seven
        (Graphs(), None),
    ],
)
def test_what_parts_do_not_agree_in_the_sizes_of_the_loader_decide(batch):
    assert samples_in(batch) is None
    assert samples_in(batch, (64, 7)) == 7
    assert samples_in(batch, (64,)) is None


@pytest.mark.parametrize(
    "batch", [("a text", None), None, 3, {}, {"note": "a text"}, object(), torch.tensor(1.0)]
)
def test_what_tells_nothing_has_no_samples(batch):
    assert samples_in(batch) is None
    assert samples_in(batch, (7,)) is None


def test_a_list_of_as_many_samples_as_the_loader_says_is_a_batch_of_these():
    assert samples_in([(torch.zeros(3), 1)] * 7, (7,)) == 7


DATA = TensorDataset(torch.zeros(50, 3), torch.zeros(50))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.zeros(50, 3))

    def __len__(self):
        return 50


class Broken(TensorDataset):
    def __len__(self):
        raise OSError("the share is gone")


class Own(DataLoader):
    """Each batch is halved on its way."""

    def __iter__(self):
        return (inputs[::2] for inputs, _ in super().__iter__())


@pytest.mark.parametrize(
    ("loader", "sizes", "samples"),
    [
        (DataLoader(DATA, 16), (16, 2), 50),
        (DataLoader(DATA, 25), (25,), 50),
        (DataLoader(DATA, 16, drop_last=True), (16,), 48),
        (DataLoader(DATA, 16, shuffle=True), (16, 2), 50),
        (DataLoader(DATA, 16, sampler=SubsetRandomSampler(range(20))), (16, 4), 20),
        (DataLoader(DATA, 16, sampler=WeightedRandomSampler([1.0] * 50, 80)), (16,), 80),
        (DataLoader(DATA, 16, sampler=DistributedSampler(DATA, 3, 0)), (16, 1), 17),
        (DataLoader(Stream(), 16), (16,), None),
        (DataLoader(DATA, batch_size=None), (), None),
        (DataLoader(DATA, batch_sampler=[[0, 1], [2]]), (), None),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 16, False)), (), None),
        (DataLoader(Broken(torch.zeros(50)), 16, sampler=SequentialSampler(range(50))), (16, 2), 50),
        (Own(DATA, 16), (16, 2), None),
        ([(ROWS, ROWS)], (), None),
    ],
)
def test_a_loader_tells_of_its_samples_what_is_certain(loader, sizes, samples):
    assert sizes_of(loader) == sizes
    assert samples_of_pass(loader) == samples
    if samples is not None:
        assert sum(samples_in(batch) for batch in loader) == samples


@pytest.mark.parametrize(
    ("loader", "samples", "whether"),
    [
        (DataLoader(DATA, 16), [16, 16, 16, 2], True),
        (DataLoader(DATA, 16), [16, 16, 16, 1], True),  # a broken one was left out
        (DataLoader(DATA, 16), [5, 5, 5, 5], False),  # the length of each target
        (DataLoader(DATA, 16), [32, 32, 32, 4], False),
        (DataLoader(DATA, 16), [16, 16, 16, 3], False),
        (DataLoader(DATA, 16, drop_last=True), [16, 16, 16], True),
        (DataLoader(Stream(), 16), [16, 16, 16, 2], True),
        (DataLoader(Stream(), 16), [5, 5, 5, 2], False),
        (DataLoader(Stream(), 16), [7], None),  # may be all that there is
        (DataLoader(Stream(), 16, num_workers=2), [9, 9], None),  # of a worker that has no more
        (DataLoader(Stream(), batch_size=None), [3, 3], None),
        (DataLoader(DATA, batch_sampler=[[0, 1], [2]]), [2, 1], None),
        (Own(DATA, 16), [8, 8, 8, 1], None),
        ([(ROWS, ROWS)], [7], None),
    ],
)
def test_the_samples_of_a_pass_are_held_against_what_its_loader_tells(loader, samples, whether):
    assert agrees(loader, samples) is whether
