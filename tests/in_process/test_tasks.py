from __future__ import annotations

import math
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import tasks
from bench.errors import UsageError
from bench.suite.case import Case
from bench.tasks import datasets, models
from bench.training import Task, fit
from bench.worker.axis_reads import Reads

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"dataset": "fake-images", "image_size": 32, "images": 20, "batch_size": 4}  # 12, 4 and 4 images


def task(**axes):
    torch.manual_seed(0)
    return tasks.build(Case("tasks", axes))


def data_of(name, **axes):
    return datasets.build(Case("tasks", {"dataset": name, **axes}))


def losses_of_steps(made: Task, steps: int) -> list[float]:
    """The loss of one and the same batch before each of so many optimizer steps on it."""
    inputs, targets = next(iter(made.train_loader))
    made.model.train()
    seen = []
    for _ in range(steps):
        loss = made.loss(made.model(inputs), targets)
        made.optimizer.zero_grad()
        loss.backward()
        made.optimizer.step()
        seen.append(loss.item())
    return seen


# -- every name builds and trains --


@pytest.mark.parametrize(
    "axes",
    [
        {"dataset": "digits", "model": "mlp"},
        {"dataset": "digits", "model": "cnn"},
        {"dataset": "text", "model": "transformer", "batch_size": 16},
        {**SMALL, "model": "mlp"},
        {**SMALL, "model": "cnn"},
        {**SMALL, "model": "resnet18"},
        {**SMALL, "model": "mobilenet_v3_small"},
        {**SMALL, "model": "vit_b_16_reduced"},
    ],
    ids=lambda axes: f"{axes['model']}-{axes['dataset']}",
)
def test_every_model_computes_a_finite_loss_and_moves(axes):
    made = task(**axes)
    before = [parameter.clone() for parameter in made.model.parameters()]
    assert all(math.isfinite(loss) for loss in losses_of_steps(made, 2))
    pairs = zip(before, made.model.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)


def test_a_model_of_torchvision_goes_through_the_whole_loop():
    (epoch,) = fit(task(**SMALL, model="resnet18"), epochs=1)
    assert math.isfinite(epoch.test_loss)
    assert 0 <= epoch.metrics["accuracy"] <= 1


def test_the_reduced_vision_transformer_is_a_small_one():
    size = sum(p.numel() for p in models.build("vit_b_16_reduced", (3, 32, 32), 10).parameters())
    assert size < 86_000_000 / 10  # a tenth of vit_b_16


# -- the split --


def rows(part):
    return [(inputs.numpy().tobytes(), int(target.sum())) for inputs, target in part]


def test_the_digits_are_split_in_sixty_twenty_twenty():
    data = data_of("digits")
    assert [len(part) for part in (data.train, data.validate, data.test)] == [1079, 359, 359]
    assert (data.shape, data.classes) == ((1, 8, 8), 10)
    inputs, target = data.train[0]
    assert inputs.shape == data.shape
    assert 0 <= inputs.min() < inputs.max() <= 1
    assert 0 <= target < data.classes


@pytest.mark.parametrize("name", ["digits", "text"])
def test_no_row_is_in_two_parts_and_none_is_lost(name):
    data = data_of(name)
    parts = [set(part.indices) for part in (data.train, data.validate, data.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == len(data.train.dataset)


@pytest.mark.parametrize("name", ["digits", "text"])
def test_the_split_is_the_same_in_every_run_whatever_the_seed(name):
    torch.manual_seed(1)
    one = data_of(name)
    torch.manual_seed(2)
    other = data_of(name)
    assert rows(one.test) == rows(other.test)
    assert rows(one.train)[:50] == rows(other.train)[:50]


def test_fake_images_have_the_size_and_number_that_was_asked_for():
    data = data_of("fake-images", image_size=16, images=10)
    assert [len(part) for part in (data.train, data.validate, data.test)] == [6, 2, 2]
    inputs, target = data.train[0]
    assert inputs.shape == data.shape == (3, 16, 16)
    assert 0 <= target < 10


def test_fake_images_are_the_same_each_time_they_are_read():
    data = data_of("fake-images", image_size=8, images=10)
    again = data_of("fake-images", image_size=8, images=10)
    for (one, label), (other, same) in zip(data.test, again.test, strict=True):
        assert torch.equal(one, other)
        assert label == same


def test_each_character_of_the_text_has_the_next_one_as_its_target():
    data = data_of("text")
    (length,) = data.shape
    inputs, targets = data.train.dataset.tensors
    assert inputs.shape == targets.shape == (len(inputs), length)
    assert torch.equal(inputs.flatten()[1:], targets.flatten()[:-1])
    assert inputs.min() >= 0
    assert inputs.max() < data.classes
    assert len(inputs.unique()) > 50  # real text, not one letter


# -- data that must be fetched --


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, and nothing asked of the network."""
    monkeypatch.setenv("EPOCHBENCH_DATA", str(tmp_path))
    monkeypatch.delenv("EPOCHBENCH_DOWNLOAD", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_data_that_is_not_there_names_the_folder_and_the_flag(name, folder):
    with pytest.raises(UsageError) as problem:
        data_of(name)
    message = str(problem.value)
    assert repr(name) in message
    assert str(folder) in message
    assert "--download" in message
    assert "\n" not in message
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_a_download_that_fails_is_said_in_one_line(name, folder, monkeypatch):
    from torchvision.datasets import CIFAR10, FashionMNIST

    nobody = "http://127.0.0.1:9/"  # the discard port, where nothing listens
    monkeypatch.setattr(FashionMNIST, "mirrors", [nobody])
    monkeypatch.setattr(CIFAR10, "url", nobody + CIFAR10.filename)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("EPOCHBENCH_DOWNLOAD", "1")
    with pytest.raises(UsageError) as problem:
        data_of(name)
    message = str(problem.value)
    assert repr(name) in message
    assert str(folder) in message
    assert "urlopen error" in message  # the cause, not only the name of the file
    assert "check the network" in message
    assert "\n" not in message


def write_idx(path, *shape):
    """A file in the format of MNIST: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = math.prod(shape)
    content = bytes(number % 10 for number in range(size))
    path.write_bytes(struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape) + content)


def test_fashion_mnist_is_read_from_its_files(folder):
    raw = folder / "FashionMNIST/raw"
    write_idx(raw / "train-images-idx3-ubyte", 20, 28, 28)
    write_idx(raw / "train-labels-idx1-ubyte", 20)
    write_idx(raw / "t10k-images-idx3-ubyte", 6, 28, 28)
    write_idx(raw / "t10k-labels-idx1-ubyte", 6)
    data = data_of("fashion-mnist")
    assert [len(part) for part in (data.train, data.validate, data.test)] == [16, 4, 6]
    assert not set(data.train.indices) & set(data.validate.indices)
    inputs, target = data.test[3]
    assert inputs.shape == data.shape == (1, 28, 28)
    assert target == 3
    assert inputs.flatten()[:3].tolist() == pytest.approx([value / 255 for value in (2, 3, 4)])  # 3 * 784
    assert all(math.isfinite(loss) for loss in losses_of_steps(task(dataset="fashion-mnist"), 2))


def test_cifar10_is_read_from_its_files(folder, monkeypatch):
    from torchvision.datasets import CIFAR10

    # The real layout with fewer files, whose checksums are therefore not known.
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    base = folder / CIFAR10.base_folder
    base.mkdir()
    for file, count in (("data_batch_1", 10), ("test_batch", 4)):
        images = torch.arange(count).repeat_interleave(3072).to(torch.uint8).view(count, 3072).numpy()
        (base / file).write_bytes(pickle.dumps({"data": images, "labels": list(range(count))}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(n) for n in range(10)]}))
    data = data_of("cifar10")
    assert [len(part) for part in (data.train, data.validate, data.test)] == [8, 2, 4]
    inputs, target = data.test[2]
    assert inputs.shape == data.shape == (3, 32, 32)
    assert target == 2
    assert all(math.isfinite(loss) for loss in losses_of_steps(task(dataset="cifar10", model="cnn"), 2))


# -- names that are none, and models that do not fit --


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"dataset": "digit"}, "unknown dataset 'digit'; there are digits, text"),
        ({"loss": "mae"}, "unknown loss 'mae'; there are cross-entropy"),
        (
            {"optimizer": "adan"},
            "unknown optimizer 'adan'; there are adafactor, .*, any other by its dotted name",
        ),
        ({"scheduler": "plateau"}, "unknown scheduler 'plateau'; there are lambda, .*, none"),
        (
            {"model": "mlpp"},
            "unknown model 'mlpp'; there are mlp, cnn, embedding-mlp, transformer.*did you mean mlp",
        ),
        ({"model": "resnet81"}, "unknown model 'resnet81'.*did you mean resnet18"),
        ({"model": "qqqq"}, "unknown model 'qqqq'.*and any classification model of torchvision"),
        ({"model": "transformer"}, "model 'transformer' does not fit the data"),
        ({"dataset": "text", "model": "mlp"}, "model 'mlp' does not fit the data"),
        ({"dataset": "text", "model": "resnet18"}, "model 'resnet18' does not fit the data"),
        ({"model": "resnet18"}, "model 'resnet18' takes images of 3 channels, the data has 1; choose mlp"),
        ({"model": "vit_b_16_reduced"}, "model 'vit_b_16_reduced' takes images of 3 channels"),
        (
            {**SMALL, "image_size": 40, "model": "vit_b_16_reduced"},
            "takes images of a multiple of 16 pixels, the data has 40; choose another image_size",
        ),
    ],
)
def test_what_cannot_be_built_is_named_with_the_remedy(axes, says):
    with pytest.raises(UsageError, match=says):
        task(**axes)


@pytest.mark.parametrize("axis", tasks.CHOICES)
def test_every_choice_of_an_axis_is_a_value_that_a_case_can_have(axis):
    for name in tasks.CHOICES[axis]:
        assert Case("tasks", {axis: name})[axis] == name


# -- the transformer --


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_later_character_does_not_change_what_was_said_before_it(mode):
    torch.manual_seed(0)
    model = models.build("transformer", (16,), 30).train(mode == "train")
    codes = torch.randint(30, (2, 16))
    changed = codes.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 30
    with torch.no_grad():
        before, after = model(codes), model(changed)
    assert before.shape == (2, 30, 16)  # the classes on dimension 1, for cross-entropy
    torch.testing.assert_close(before[..., :9], after[..., :9])
    assert not torch.allclose(before[..., 9:], after[..., 9:])


def test_the_transformer_knows_where_a_character_stands():
    torch.manual_seed(0)
    model = models.build("transformer", (4,), 10).eval()
    with torch.no_grad():
        (scores,) = model(torch.full((1, 4), 7))  # the same character four times
    for place in range(1, 4):
        assert not torch.allclose(scores[:, 0], scores[:, place], atol=1e-4)


# -- imports --


def test_a_suite_is_declared_without_torch():
    script = (
        "import sys, bench.tasks; print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("dataset", "unread"), [("digits", ("image_size", "images")), ("fake-images", ())])
def test_a_data_set_reads_no_axis_that_it_has_no_use_for(dataset, unread):
    """Another size of image would else measure the same digits under another name."""
    reads = Reads(Case("mine", {"dataset": dataset, "image_size": 8, "images": 10}))
    datasets.build(reads.case())
    assert reads.unread == unread
