from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict, namedtuple
from types import MappingProxyType

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

from bench.batches import (
    Keywords,
    agrees,
    description,
    detached,
    parts_of,
    samples_in,
    samples_of_pass,
    sizes_of,
    to_device,
)

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


# -- inputs and targets --

TARGETS = torch.zeros(7)


@pytest.mark.parametrize(
    ("batch", "inputs", "targets"),
    [
        ((ROWS, TARGETS), ROWS, TARGETS),
        ([ROWS, None], ROWS, None),
        ([ROWS, ["a text"] * 7], ROWS, ["a text"] * 7),
        (Two(ROWS, TARGETS), ROWS, TARGETS),
        ({"x": ROWS, "y": TARGETS}, ROWS, TARGETS),
        (UserDict({"labels": TARGETS, "x": ROWS}), ROWS, TARGETS),
        ({"x": ROWS, "mask": 1, "label": TARGETS}, Keywords(x=ROWS, mask=1), TARGETS),
        (Three(ROWS, 1, TARGETS), Keywords(ids=ROWS, mask=1), TARGETS),
    ],
)
def test_the_parts_of_a_batch_are_its_inputs_and_targets(batch, inputs, targets):
    found = parts_of(batch)
    assert found is not None
    assert type(found[0]) is type(inputs)
    assert found[0] is inputs or found[0] == inputs
    assert found[1] is targets or found[1] == targets


def test_of_an_object_with_targets_the_inputs_are_the_object():
    batch = Graphs()
    inputs, targets = parts_of(batch)
    assert inputs is batch
    assert targets is batch.y


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        (torch.zeros(2, 3), "a Tensor of shape (2, 3)"),
        (numpy.zeros((2, 3)), "a ndarray of shape (2, 3)"),
        (["one", "two"], "a list of 2"),
        ((ROWS,), "a tuple of 1: Tensor of shape (7, 3)"),
        ((ROWS, TARGETS, "a text"), "a tuple of 3: Tensor of shape (7, 3), Tensor of shape (7,), str"),
        ([[1, 2]] * 9, "a list of 9: list of 2, list of 2, list of 2, list of 2, list of 2, list of 2, ..."),
        (
            {f"part{n}": n for n in range(9)},
            "a dict with part0: int, part1: int, part2: int, part3: int, part4: ",
        ),
        ({}, "an empty dict"),
        ({"x": ROWS}, "a dict with x: Tensor of shape (7, 3)"),
        ({"y": TARGETS}, "a dict with y: Tensor of shape (7,)"),
        ({"x": ROWS, "y": 1, "labels": None}, "a dict with x: Tensor of shape (7, 3), y: int, labels: None"),
        (Fields(ROWS), "a Fields with image: Tensor of shape (7, 3), name: str"),
        (Three(1, 2, [3])._replace(labels=1)._asdict() | {"y": 1}, "a dict with ids: int"),
        (object(), "an object"),
        (None, "None"),
    ],
)
def test_what_is_no_pair_is_told_by_its_parts(batch, told):
    assert parts_of(batch) is None
    assert description(batch).startswith(told)


# -- on another device --


class Moving:
    """Something of a user's own that knows how to move."""

    def __init__(self, device="cpu"):
        self.device = torch.device(device)

    def to(self, device):
        return Moving(device)


META = torch.device("meta")  # a device of shapes without data: every machine has it


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(2),
        Moving(),
        (torch.zeros(2), Moving()),
        [torch.zeros(2), torch.zeros(3)],
        {"image": torch.zeros(2), "mask": torch.zeros(3)},
        Two(torch.zeros(2), torch.zeros(3)),
        {"pair": Two(torch.zeros(1), [torch.zeros(2), (torch.zeros(3),)])},
    ],
    ids=["tensor", "own", "tuple", "list", "dict", "namedtuple", "nested"],
)
def test_a_batch_moves_whole_and_keeps_its_shape(batch):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        return (
            [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple | list) else [value]
        )

    def outline(value):
        if isinstance(value, dict):
            return {name: outline(part) for name, part in value.items()}
        parts = [outline(part) for part in value] if isinstance(value, tuple | list) else []
        return (type(value), parts)

    moved = to_device(batch, META)
    assert [leaf.device for leaf in leaves(moved)] == [META] * len(leaves(batch))
    assert outline(moved) == outline(batch)


class Moved(torch.Tensor):
    """Notes how it is moved, to a device that need not be there."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        if function is torch.Tensor.to:
            Moved.asked = (*arguments[1:], keywords)
            return arguments[0]
        return super().__torch_function__(function, types, arguments, keywords)


@pytest.mark.parametrize(("kind", "non_blocking"), [("cuda", True), ("xpu", True), ("mps", False)])
def test_the_host_waits_for_a_copy_only_where_its_source_may_be_gone_before(kind, non_blocking):
    to_device({"x": torch.zeros(2).as_subclass(Moved)}, torch.device(kind))
    assert Moved.asked == (torch.device(kind), {"non_blocking": non_blocking})


@pytest.mark.parametrize("value", ["text", 7, None])
def test_what_cannot_move_stays_as_it_is(value):
    assert to_device({"note": value}, META) == {"note": value}


def test_a_named_tuple_keeps_its_names():
    assert to_device(Two(torch.zeros(2), 1), META).left.device == META


class Encoding(UserDict):
    """As tokenizers give it: a mapping with more than its items, that moves itself."""

    def __init__(self, data, lengths):
        super().__init__(data)
        self.lengths = lengths

    def to(self, device):
        return Encoding({name: value.to(device) for name, value in self.data.items()}, self.lengths)


class Settled:
    """Something that moves in place."""

    def __init__(self):
        self.x = torch.zeros(2)

    def to(self, device):
        self.x = self.x.to(device)


class Noted(dict):
    note = "none"


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    y: torch.Tensor
    size: int = dataclasses.field(init=False, default=2)


def test_what_has_a_to_of_its_own_moves_by_it():
    moved = to_device(Encoding({"ids": torch.zeros(2)}, lengths=[2]), META)
    assert type(moved) is Encoding
    assert moved["ids"].device == META
    assert moved.lengths == [2]
    settled = Settled()
    assert to_device(settled, META) is settled
    assert settled.x.device == META
    packed = to_device(pack_sequence([torch.zeros(2), torch.zeros(1)]), META)
    assert packed.data.device == META


@pytest.mark.parametrize(
    "change", [lambda value: to_device(value, META), detached], ids=["moved", "detached"]
)
def test_what_has_none_keeps_its_type_and_its_attributes(change):
    def told(tensor):
        return tensor.device == META or not tensor.requires_grad

    def leaf():
        return torch.zeros(2, requires_grad=True)

    noted = Noted(x=leaf())
    noted.note = "mine"
    made = change(noted)
    assert type(made) is Noted
    assert made.note == "mine"
    assert told(made["x"])
    assert not told(noted["x"])  # that of the user is as it was
    frozen = change(Frozen(leaf(), leaf()))
    assert type(frozen) is Frozen
    assert told(frozen.x)
    assert told(frozen.y)
    assert frozen.size == 2
    ordered = change(OrderedDict(b=leaf(), a=[leaf(), "a text"]))
    assert type(ordered) is OrderedDict
    assert list(ordered) == ["b", "a"]
    assert told(ordered["a"][0])
    assert told(change(MappingProxyType({"x": leaf()}))["x"])
    assert type(change(Keywords(x=leaf()))) is Keywords
    assert type(change(torch.return_types.max([leaf(), leaf()]))) is torch.return_types.max


def test_what_is_there_already_is_not_copied():
    batch = [{"x": torch.zeros(2)}, Two(torch.zeros(2), "a text"), Frozen(torch.zeros(1), torch.zeros(1))]
    assert to_device(batch, torch.device("cpu")) is batch
