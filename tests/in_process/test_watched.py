"""A watched loader is what it was, for whoever else has it."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import pickle
from collections.abc import Sized

import pytest
import torch
from loops import seen
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import bench
from bench.worker.script.watched_loader import is_watched, original, unwatched

pytestmark = pytest.mark.usefixtures("one_thread")


def data(rows=12):
    return TensorDataset(torch.ones(rows, 3), torch.zeros(rows, dtype=torch.long))


class Own(DataLoader):
    """A loader of the user's own, that knows its epoch."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch


class Slotted(DataLoader):
    __slots__ = ("extra",)


class Bar:
    """As tqdm."""

    def __init__(self, iterable):
        self.iterable, self.closed, self.postfix = iterable, False, None

    def __iter__(self):
        yield from self.iterable

    def __len__(self):
        return len(self.iterable)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def set_postfix(self, text):
        self.postfix = text


class TestDataLoaders:
    @pytest.mark.parametrize("kind", [DataLoader, Own, Slotted])
    def test_it_is_one_of_its_kind(self, recorder, kind):
        watched = bench.watch(kind(data(), 4))
        assert isinstance(watched, kind)
        assert type(watched).__name__ == kind.__name__
        assert len(watched) == 3
        assert watched.batch_size == 4

    def test_what_is_set_on_one_both_have(self, recorder):
        loader = Own(data(), 4)
        watched = bench.watch(loader)
        loader.set_epoch(7)
        watched.mark = "mine"
        assert (watched.epoch, loader.mark) == (7, "mine")
        watched.set_epoch(8)
        assert loader.epoch == 8
        assert vars(watched) is vars(loader)
        with pytest.raises(ValueError, match="batch_size attribute should not be set"):
            watched.batch_size = 5

    def test_workers_that_stay_are_those_of_the_loader(self, own, meter, recorder):
        loader = DataLoader(data(), 4, num_workers=1, persistent_workers=True)
        workers = set()
        for _ in range(2):
            own.train(bench.watch(loader))
            workers |= {worker.pid for worker in loader._iterator._workers}
        assert len(workers) == 1

    def test_the_loader_itself_is_not_watched(self, own, meter, recorder):
        loader = DataLoader(data(), 4)
        own.train(bench.watch(loader))
        own.train(loader)
        assert seen(meter) == [(0, "train", 3)]

    def test_it_is_watched_once_and_can_be_named_later(self, own, meter, recorder):
        watched = bench.watch(DataLoader(data(), 4))
        assert bench.watch(watched) is watched
        own.train(bench.watch(watched, "train"))
        assert seen(meter) == [(0, "train", 3)]

    def test_a_copy_is_watched_and_what_goes_to_another_process_is_not(self, recorder):
        watched = bench.watch(DataLoader(data(), 4))
        copied = copy.copy(watched)
        assert is_watched(copied)
        assert copied.dataset is watched.dataset
        copied.mark = "its own"
        assert not hasattr(watched, "mark")
        sent = pickle.loads(pickle.dumps(watched))
        assert type(sent) is DataLoader
        assert len(sent) == 3

    def test_one_that_was_made_anew_from_its_type_is_watched(self, own, meter, recorder):
        """As Lightning makes one with another sampler."""
        watched = bench.watch(DataLoader(data(), 4))
        own.train(type(watched)(data(8), 4))
        assert seen(meter) == [(0, "train", 2)]

    def test_one_that_was_made_from_its_sampler_is_watched(self, own, meter, recorder):
        watched = bench.watch(DataLoader(data(), 4, shuffle=True))
        own.train(DataLoader(watched.dataset, batch_sampler=watched.batch_sampler))
        assert seen(meter) == [(0, "train", 3)]

    def test_another_over_the_same_data_is_not(self, own, meter, recorder):
        watched = bench.watch(DataLoader(data(), 4))
        assert not is_watched(DataLoader(watched.dataset, 4))
        stream = Stream()
        assert bench.watch(DataLoader(stream, 4)).dataset is stream
        assert not is_watched(DataLoader(stream, 4)), "the script itself has made it"

    def test_what_was_watched_can_be_found_again(self, recorder):
        loader, batches = DataLoader(data(), 4), [1, 2]
        for one in (loader, batches):
            assert original(bench.watch(one)) is unwatched(bench.watch(one)) is original(one) is one
        assert type(unwatched(bench.watch(DataLoader(data(), 4)))) is DataLoader


class Stream(IterableDataset):
    def __iter__(self):
        return iter(data())


class TestAllElse:
    def test_a_bar_can_be_entered_and_told_things(self, own, meter, recorder):
        bar = Bar(own.train_loader)
        with bench.watch(bar) as watched:
            for batch in watched:
                own.step(*batch)
                watched.set_postfix("a loss")
        assert (bar.closed, bar.postfix) == (True, "a loss")
        assert isinstance(watched, Bar)
        assert len(watched) == 3
        watched.closed = False
        assert bar.closed is False
        assert seen(meter) == [(0, "train", 3)]

    def test_a_list_can_be_looked_into(self, own, recorder):
        watched = bench.watch(own.train_loader)
        assert isinstance(watched, list)
        assert watched[0] is own.train_loader[0]
        assert watched[-2:] == own.train_loader[-2:]
        assert [*reversed([1, 2])] == [*reversed(bench.watch([1, 2]))]
        assert 2 in bench.watch([1, 2])
        assert bench.watch([1]) * 2 == [1, 1]
        assert bench.watch([1]) == [1]
        assert bench.watch({"a": 1})["a"] == 1
        assert bench.watch(range(5))[1:3] == range(1, 3)

    def test_what_a_thing_cannot_do_it_cannot_when_it_is_watched(self, recorder):
        generator = bench.watch(one for one in [1])
        assert not isinstance(generator, Sized)
        for ask in (len, hash, lambda watched: watched[0]):
            with pytest.raises(TypeError):
                ask(bench.watch([1]) if ask is hash else generator)
        with pytest.raises(AttributeError):
            generator.no_such_thing  # noqa: B018
        assert not hasattr(bench.watch([1]), "__next__")

    def test_copies_are_watched_and_what_is_sent_away_is_not(self, recorder):
        watched = bench.watch([1, 2])
        assert is_watched(copy.copy(watched))
        assert type(pickle.loads(pickle.dumps(watched))) is list

    def test_whether_there_is_anything_in_it(self, recorder):
        assert [bool(bench.watch(one)) for one in ([], [1], itertools.count(), range(0))] == [
            *(False, True, True, False)
        ]


def needs(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


class TestLibraries:
    @pytest.mark.parametrize("kind", ["rows", "stream"])
    def test_what_accelerate_makes_of_one_is_measured(self, own, meter, recorder, kind):
        """It makes the loader anew, and fetches one batch ahead."""
        needs("accelerate")
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        loader = DataLoader(data() if kind == "rows" else Stream(), 4)
        model, optimizer, loader = accelerator.prepare(own.model, own.optimizer, bench.watch(loader))
        for _ in range(2):
            for inputs, targets in loader:
                with accelerator.accumulate(model):
                    accelerator.backward(own.criterion(model(inputs), targets))
                    optimizer.step()
                    optimizer.zero_grad()
            own.clock.advance(1000.0)  # saves something
        recorder.finish()
        assert seen(meter) == [(0, "train", 3), (1, "train", 3)]
        for record in meter.stages:
            assert record.samples == (4, 4, 4)
            assert record.optimizer_steps == 2
            assert record.wall == sum(record.steps) == 3 * (2.0 + 4.0 + 8.0) + 2 * 16.0
            assert record.phases["forward"] == 3 * 2.0

    def test_fabric_takes_one(self, own, meter, recorder):
        needs("lightning")
        from lightning.fabric import Fabric

        fabric = Fabric(accelerator="cpu", devices=1)
        loader = fabric.setup_dataloaders(bench.watch(DataLoader(data(), 4)))
        model, optimizer = fabric.setup(own.model, own.optimizer)
        for inputs, targets in loader:
            optimizer.zero_grad()
            fabric.backward(own.criterion(model(inputs), targets))
            optimizer.step()
        assert seen(meter) == [(0, "train", 3)]
        assert meter.stages[0].samples == (4, 4, 4)
        assert meter.stages[0].phases["optimizer"] == 3 * 16.0
