"""How many samples a batch of a script has, and when that is a guess."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from bench.worker.script.samples import (
    UNTOLD,
    Counted,
    Samples,
    SamplesError,
    checked,
    read,
    rows_given,
    said_of,
)


class Texts(list):
    """A data set of so many sentences of five words."""

    def __init__(self, number):
        super().__init__((torch.arange(5), torch.arange(5)) for _ in range(number))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Texts(10))


class Bar:
    """As tqdm: it shows a loader."""

    def __init__(self, iterable):
        self.iterable = iterable

    def __iter__(self):
        return iter(self.iterable)


def in_time(rows):
    """Sentences put together with time as the first dimension."""
    return tuple(torch.stack(parts, dim=1) for parts in zip(*rows, strict=True))


def apart(rows):
    """Inputs in a tensor, targets as a list of tensors, none of which has as many rows."""
    return torch.stack([words for words, _ in rows]), [target for _, target in rows]


def flat(rows):
    """All words in one tensor: nothing shows how many sentences they are of."""
    return torch.cat([words for words, _ in rows])


def numbers(loader, said=None):
    return [samples for _, samples in Counted(loader, said)]


def known(*found):
    return [Samples(number, True) for number in found]


@pytest.mark.parametrize("collate", [None, in_time, apart, list])
@pytest.mark.parametrize("seen_through", [lambda loader: loader, Bar])
def test_what_a_loader_draws_are_its_samples_in_whatever_shape_they_come(collate, seen_through):
    loader = seen_through(DataLoader(Texts(10), 4, collate_fn=collate))
    assert numbers(loader) == known(4, 4, 2)
    assert numbers(loader) == known(4, 4, 2), "each pass begins anew"


def test_one_that_was_given_its_batches_of_rows_says_how_large_they_are():
    """As accelerate makes its loaders, and Hugging Face's Trainer."""
    sampler = DataLoader(Texts(10), 4).batch_sampler
    assert numbers(DataLoader(Texts(10), batch_sampler=sampler)) == known(4, 4, 2)


def test_a_loader_that_drops_its_last_batch_draws_none_for_it():
    assert numbers(DataLoader(Texts(10), 4, drop_last=True)) == known(4, 4)


def test_what_no_part_of_a_batch_agrees_with_is_a_guess():
    assert numbers(DataLoader(Texts(8), 4, collate_fn=flat)) == [Samples(20, False)] * 2


@pytest.mark.parametrize("collate", [None, apart, list])
def test_a_stream_has_full_batches_of_the_size_that_its_loader_says(collate):
    assert numbers(DataLoader(Stream(), 4, collate_fn=collate))[:2] == known(4, 4)


@pytest.mark.parametrize("collate", [flat, in_time])
def test_batches_that_are_larger_than_their_loader_says_are_a_guess(collate):
    assert not any(found.is_known for found in numbers(DataLoader(Stream(), 4, collate_fn=collate)))


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(35, 20, dtype=torch.long),
        (torch.zeros(35, 20, dtype=torch.long), torch.zeros(35, 20, dtype=torch.long)),
        {"words": torch.zeros(35, 20, dtype=torch.long)},
        ((torch.zeros(4, 3), torch.zeros(4)), (torch.zeros(8, 3), torch.zeros(8))),
        (torch.zeros(4, 3), torch.zeros(5)),
    ],
    ids=["text", "text and its next words", "text in a dict", "two loaders", "nothing in common"],
)
def test_a_batch_that_does_not_tell_is_a_guess(batch):
    assert not read(batch).is_known
    assert read(batch).number > 1


@pytest.mark.parametrize("batch", [3, None, "a name", ()])
def test_a_batch_without_rows_tells_nothing(batch):
    assert read(batch) == UNTOLD


def test_two_loaders_of_one_batch_size_agree():
    pair = (torch.zeros(4, 3), torch.zeros(4))
    assert read((pair, pair)) == Samples(4, True)


def test_rows_that_were_drawn_are_believed_where_a_batch_tells_nothing():
    assert checked(object(), 7) == Samples(7, True)


class TestWhatTheScriptSays:
    @pytest.mark.parametrize("said", [20, lambda batch: batch.shape[1], lambda _: torch.tensor(20)])
    def test_it_is_believed(self, said):
        loader = [torch.zeros(35, 20)] * 2
        assert numbers(loader, said) == known(20, 20)

    @pytest.mark.parametrize("said", [lambda batch: batch, lambda _: 0, lambda _: 2.5, lambda _: None])
    def test_what_is_no_number_is_told_in_one_line(self, said):
        with pytest.raises(SamplesError, match="give a whole number of at least 1") as told:
            said_of(said, torch.zeros(35, 20))
        assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ([torch.zeros(600, 64)], Samples(600, True)),
        ([torch.zeros(8, 3, 32, 32)], Samples(8, True)),
        ([torch.zeros(35, 20, 8)], Samples(35, False)),  # sequences
        ([torch.zeros(35, 20, dtype=torch.long)], Samples(35, False)),  # text
        ([torch.zeros(4)], Samples(4, False)),  # the state of an environment
        ([torch.zeros(1, 4)], Samples(1, False)),
        ([3, "a name"], UNTOLD),
    ],
)
def test_what_a_module_is_called_with_is_sure_only_of_plain_rows_and_pictures(inputs, rows):
    assert rows_given(inputs) == rows


def test_inside_of_vmap_the_rows_are_not_there_to_be_seen():
    found = []

    def look(inputs):
        found.append(rows_given([inputs]))
        return inputs.sum()

    torch.func.vmap(look)(torch.zeros(6, 5, 3))
    assert not found[0].is_known


def test_of_a_data_set_of_tensors_the_samples_are_its_rows():
    data = TensorDataset(torch.zeros(10, 3), torch.zeros(10))
    assert sum(number for number, _ in numbers(DataLoader(data, 3, shuffle=True))) == 10
