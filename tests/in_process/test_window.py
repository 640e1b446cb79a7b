from __future__ import annotations

import pytest
import torch
from fakes import batches, small_task
from torch.utils.data import DataLoader

from bench.batches import sizes_of
from bench.training import fit
from bench.worker.window import Window, windowed


class TestWindow:
    @pytest.mark.parametrize(
        ("samples", "steps", "places"),
        [
            (12, 2, [0, 1]),
            (12, 3, [0, 1, 2]),
            (12, 5, [0, 1, 2, 0, 1]),
            (10, 4, [0, 1, 0, 1]),  # the third batch has two rows
            (3, 3, [0, 0, 0]),  # the only batch is as full as they get
        ],
    )
    def test_it_gives_the_first_full_batches_and_begins_again_where_they_are_too_few(
        self, samples, steps, places
    ):
        loader = batches(samples, 4)
        given = list(Window(loader, steps))
        assert [next(n for n, own in enumerate(loader) if own is batch) for batch in given] == places

    def test_it_can_be_iterated_again(self):
        window = Window(batches(12, 4), 2)
        assert len(list(window)) == len(list(window)) == 2

    def test_it_asks_the_loader_for_no_batch_more_than_it_gives(self):
        asked = []

        def loader():
            for batch in batches(12, 4):
                asked.append(batch)
                yield batch

        assert len(list(Window(loader(), 2))) == len(asked) == 2

    def test_it_ends_before_its_last_where_it_is_told_that_there_are_enough(self):
        given = []
        for batch in Window(batches(12, 4), 9, has_enough=lambda: len(given) == 4):
            given.append(batch)
        assert len(given) == 4

    def test_it_gives_one_at_the_least(self):
        assert len(list(Window(batches(12, 4), 9, has_enough=lambda: True))) == 1

    def test_a_loader_that_cannot_begin_again_ends_it(self):
        assert len(list(Window(iter(batches(8, 4)), 5))) == 2

    @pytest.mark.parametrize("stage", ["train", "validate", "test"])
    def test_an_empty_loader_is_told_by_the_loop_itself(self, stage):
        task = small_task(**{f"{stage}_loader": []})
        with pytest.raises(ValueError, match=f"the {stage} loader gave no batch"):
            fit(windowed(task, 2, 2, 2), 1)


class TestWindowed:
    def test_a_stage_without_a_number_stays_whole(self):
        task = small_task()
        short = windowed(task, 2)
        assert len(list(short.train_loader)) == 2
        assert short.validate_loader is task.validate_loader
        assert short.test_loader is task.test_loader

    def test_each_stage_has_its_own_number(self):
        short = windowed(small_task(), 2, 1, 5)
        loaders = (short.train_loader, short.validate_loader, short.test_loader)
        assert [len(list(loader)) for loader in loaders] == [2, 1, 5]

    def test_a_stage_that_the_task_lacks_is_still_not_there(self):
        short = windowed(small_task(validate_loader=None, test_loader=None), 2, 2, 2)
        assert (short.validate_loader, short.test_loader) == (None, None)

    def test_what_the_task_says_of_samples_tells_which_batches_are_full(self):
        rows = [(x.unsqueeze(0), y.unsqueeze(0)) for x, y in batches(10, 4)]  # of 4, 4 and 2, in one
        task = small_task(train_loader=rows, samples=lambda inputs, targets: inputs.shape[1])
        given = list(windowed(task, 3).train_loader)
        assert [inputs.shape[1] for inputs, _ in given] == [4, 4, 4]

    def test_the_sizes_of_its_loader_still_tell_where_parts_do_not_agree(self):
        data = [(torch.zeros(3), torch.zeros(()))] * 10
        loader = DataLoader(
            data, 4, collate_fn=lambda some: (torch.zeros(9, len(some)), torch.zeros(len(some)))
        )
        task = small_task(train_loader=loader)
        short = windowed(task, 2)
        assert [task.samples_of(*batch, sizes_of(short.train_loader)) for batch in short.train_loader] == [
            4,
            4,
        ]

    def test_the_original_keeps_its_loaders_and_shares_the_rest(self):
        task = small_task()
        before = task.train_loader
        short = windowed(task, 1, 1, 1)
        assert task.train_loader is before
        assert len(task.train_loader) == 3
        assert (short.model, short.optimizer, short.loss) == (task.model, task.optimizer, task.loss)

    def test_the_loop_over_it_is_the_loop_over_those_batches(self):
        whole, short = small_task(), small_task()
        whole.train_loader = whole.train_loader[:2]
        fit(whole, 1)
        fit(windowed(short, 2), 1)
        assert torch.equal(whole.model.weight, short.model.weight)
