from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

from bench import tasks
from bench.errors import UsageError
from bench.suite.case import Case
from bench.tasks import datasets, loaders
from bench.training import fit
from bench.worker.suites import check_sizes
from bench.worker.window import windowed

pytestmark = pytest.mark.usefixtures("one_thread")

PLACEMENTS = (None, "memory", "device")
TEN = TensorDataset(torch.arange(10.0), torch.arange(10))


@pytest.fixture(scope="module")
def digits():
    return datasets.build(Case("mine", {"dataset": "digits"}))


def built(data, **axes):
    """The three loaders of such a case, seeded as a launch is."""
    torch.manual_seed(0)
    return loaders.build(data, Case("mine", axes))


def rows(loader) -> list[bytes]:
    """One pass over a loader, row by row."""
    return [
        image.numpy().tobytes() + bytes([int(target)])
        for batch in loader
        for image, target in zip(*batch, strict=True)
    ]


class TestPlacement:
    @pytest.mark.parametrize("placement", PLACEMENTS)
    def test_training_data_comes_in_a_new_order_each_epoch_and_the_rest_in_its_own(self, digits, placement):
        train, validate, test = built(digits, placement=placement)
        assert [len(loader) for loader in (train, validate, test)] == [17, 6, 6]
        epochs = [rows(train) for _ in range(2)]
        assert epochs[0] != epochs[1]
        for epoch in epochs:
            assert sorted(epoch) == sorted(rows([[[image], [target]] for image, target in digits.train]))
        for loader, part in ((validate, digits.validate), (test, digits.test)):
            in_order = rows([[[image], [target]] for image, target in part])
            assert rows(loader) == in_order
            assert rows(loader) == in_order

    @pytest.mark.parametrize("placement", PLACEMENTS)
    @pytest.mark.parametrize("name", ["digits", "text", "fake-images"])
    def test_batches_have_the_sizes_shapes_and_types_of_a_plain_loader(self, name, placement):
        data = datasets.build(Case("mine", {"dataset": name, "image_size": 8, "images": 31}))
        for plain, loader in zip(
            (DataLoader(part, 7) for part in (data.train, data.validate, data.test)),
            built(data, placement=placement, batch_size=7),
            strict=True,
        ):
            wanted, found = (
                [[(t.shape, t.dtype) for t in batch] for batch in one] for one in (plain, loader)
            )
            assert found == wanted
            assert len(loader) == len(plain) == len(found)
            assert len(loader.dataset) == len(plain.dataset)

    def test_the_order_follows_from_the_seed_of_the_launch(self, digits):
        train, _, _ = built(digits, placement="memory")
        first = rows(train)
        torch.manual_seed(0)
        assert rows(train) == first

    def test_the_model_begins_with_the_same_weights_under_every_placement(self):
        made = []
        for placement in PLACEMENTS:
            torch.manual_seed(0)
            made.append(tasks.build(Case("mine", {"placement": placement})).model.state_dict())
        for other in made[1:]:
            assert all(torch.equal(value, other[name]) for name, value in made[0].items())

    def test_items_are_read_once_when_the_task_is_built(self):
        class Counting(TensorDataset):
            reads = 0

            def __getitem__(self, index):
                self.reads += 1
                return super().__getitem__(index)

        source = Counting(*TEN.tensors)
        batches = loaders.Batches(loaders.tensors_of(source), 4)
        assert [[len(part) for part in batch] for _ in range(3) for batch in batches] == [
            [4, 4],
            [4, 4],
            [2, 2],
        ] * 3
        assert source.reads == 10

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_a_batch_that_is_changed_in_place_leaves_the_data_as_it_is(self, shuffle):
        batches = loaders.Batches(TEN, 4, shuffle)
        for inputs, _ in batches:
            inputs.zero_()
        assert sorted(torch.cat([inputs for inputs, _ in batches]).tolist()) == list(range(10))

    def test_targets_stay_with_their_inputs(self):
        given = list(loaders.Batches(TEN, 4, shuffle=True))
        assert len(given) == 3
        for inputs, targets in given:
            assert torch.equal(inputs, targets.float())

    @pytest.mark.parametrize(("placement", "where"), [("memory", "cpu"), ("device", "meta")])
    def test_data_and_its_order_lie_where_the_placement_says(self, digits, monkeypatch, placement, where):
        taken = []

        def take(batches, tensor, rows):
            taken.extend([tensor.device.type, rows.device.type])
            return tensor

        monkeypatch.setattr(loaders.Batches, "_take", take)
        # "meta" is a device that every machine has; its tensors hold no values.
        for loader in built(digits, placement=placement, device="meta", batch_size=512):
            assert len(list(loader)) == len(loader)
        assert set(taken) == {where}

    def test_pinned_batches_are_asked_of_torch_where_the_case_pins(self, monkeypatch):
        asked = []
        plain = torch.Tensor.new_empty

        def new_empty(tensor, size, pin_memory=False):
            asked.append(pin_memory)  # without an accelerator torch cannot pin
            return plain(tensor, size)

        monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
        for pinned in (True, False):
            asked.clear()
            batches = loaders.Batches(TEN, 8, pinned=pinned)
            assert [inputs.tolist() for inputs, _ in batches] == [[*range(8)], [8, 9]]
            assert asked == [pinned] * 4

    def test_a_part_without_items_gives_no_batch(self):
        batches = loaders.Batches(loaders.tensors_of([]), 4)
        assert len(batches) == 0
        assert list(batches) == []

    def test_the_whole_loop_and_a_window_of_it_run(self):
        axes = {"placement": "memory", "batch_size": 512}
        (epoch,) = fit(tasks.build(Case("mine", axes)), epochs=1)
        assert 0 <= epoch.metrics["accuracy"] <= 1
        window = windowed(tasks.build(Case("mine", axes)), train=5)
        assert [len(targets) for _, targets in window.train_loader] == [512] * 5  # two full batches an epoch

    def test_a_batch_larger_than_the_data_is_refused_as_ever(self):
        case = Case("mine", {"placement": "memory", "batch_size": 2000})
        with pytest.raises(
            UsageError, match=r"batch_size 2000 is larger than the training data .* 1,079 samples"
        ):
            check_sizes(case, tasks.build(case))


class TestDataLoader:
    def test_none_everywhere_is_the_loader_that_torch_makes_by_itself(self, digits):
        nothing = dict.fromkeys(loaders.CHOICES)
        for axes in ({}, nothing):
            made = built(digits, **axes)
            for loader, part in zip(made, (digits.train, digits.validate, digits.test), strict=True):
                plain = DataLoader(part, 64, shuffle=part is digits.train)
                assert type(loader) is DataLoader
                assert loader.dataset is part
                assert type(loader.sampler) is type(plain.sampler)
                for option in (
                    "num_workers",
                    "pin_memory",
                    "prefetch_factor",
                    "persistent_workers",
                    "drop_last",
                ):
                    assert getattr(loader, option) == getattr(plain, option)

    def test_every_option_reaches_all_three_loaders(self, digits):
        made = built(digits, workers=2, pin_memory=True, prefetch_factor=5, persistent_workers=True)
        for loader in made:
            assert (loader.num_workers, loader.prefetch_factor) == (2, 5)
            assert loader.pin_memory
            assert loader.persistent_workers
        assert [type(loader.sampler) for loader in made] == [RandomSampler, *[SequentialSampler] * 2]

    def test_workers_that_nothing_is_said_of_begin_anew_each_epoch(self, digits):
        train, _, _ = built(digits, workers=2)
        assert train.persistent_workers is False
        assert train.prefetch_factor == 2  # torch's

    def test_workers_read_the_same_rows(self):
        data = datasets.build(Case("mine", {"dataset": "fake-images", "image_size": 4, "images": 20}))
        one, other = (built(data, workers=workers, batch_size=4)[1] for workers in (None, 1))
        assert rows(one) == rows(other)


class TestChoices:
    @pytest.mark.parametrize(
        ("axis", "value"),
        [
            ("workers", -1), ("workers", 1.5), ("workers", True), ("prefetch_factor", 0),
            ("pin_memory", "yes"), ("persistent_workers", 2), ("placement", "gpu"),
        ],
    )  # fmt: skip
    def test_what_an_axis_cannot_be_is_said(self, axis, value):
        with pytest.raises(UsageError, match=f"unknown {axis} {value!r}; there are none"):
            tasks.build(Case("mine", {axis: value}))

    @pytest.mark.parametrize(
        ("axes", "reason"),
        [
            ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing"),
            ({"prefetch_factor": 2, "workers": 0}, "prefetch_factor option could only be specified"),
            ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
            ({"pin_memory": True}, "pin_memory is for copies to an accelerator; device cpu has none"),
            ({"pin_memory": True, "placement": "memory"}, "device cpu has none"),
            (
                {"placement": "memory", "workers": 2},
                "placement=memory takes batches by indexing; it has no workers",
            ),
            ({"placement": "memory", "prefetch_factor": 2}, "it has no workers"),
            ({"placement": "memory", "persistent_workers": False}, "it has no workers"),
            (
                {"placement": "device", "workers": 2, "device": "cuda:0"},
                "placement=device takes batches by indexing; it has no workers",
            ),
            ({"placement": "device"}, "on device cpu use placement=memory"),
            (
                {"placement": "device", "pin_memory": True, "device": "cuda:0"},
                "placement=device copies no batch",
            ),
        ],
    )
    def test_what_contradicts_itself_is_refused_with_the_reason(self, axes, reason):
        said = tasks.exclude(Case("mine", axes))
        assert said is not None
        assert reason in said
        assert "\n" not in said

    @pytest.mark.parametrize(
        "axes",
        [
            {},
            dict.fromkeys(loaders.CHOICES),
            {"workers": 0, "persistent_workers": False, "pin_memory": False},
            {"workers": 2, "prefetch_factor": 4, "persistent_workers": True},
            {"workers": 2, "pin_memory": True, "device": "cuda:0"},
            {"placement": "memory", "workers": 0, "pin_memory": False},
            {"placement": "memory", "pin_memory": True, "device": "cuda:0"},
            {"placement": "device", "device": "cuda:0"},
        ],
    )
    def test_what_goes_together_is_let_through(self, axes):
        assert tasks.exclude(Case("mine", axes)) is None


def test_torch_is_imported_for_its_own_words_alone():
    script = (
        "import sys\nfrom bench import tasks\nfrom bench.suite.case import Case\n"
        "for axes in ({}, {'workers': 2}, {'placement': 'memory', 'workers': 2}, {'pin_memory': True}):\n"
        "    tasks.exclude(Case('mine', axes))\n"
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "False"
