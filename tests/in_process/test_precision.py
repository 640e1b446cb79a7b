"""Number formats, memory layout and compilation: what each does to the model and its step."""

from __future__ import annotations

import pytest
import torch

from bench import tasks
from bench.suite.case import Case
from bench.tasks import precision
from bench.training import fit, forward_and_loss

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = {"dataset": "fake-images", "image_size": 16, "images": 40, "batch_size": 8, "model": "cnn"}


def case(**axes):
    return Case("tasks", {"batch_size": 256, "epochs": 2, **axes})


def task(**axes):
    torch.manual_seed(0)
    return tasks.build(case(**axes))


def formats_of(made):
    """The formats in which a task computes: of weights, gradients, outputs, and of its loss."""
    inputs, targets = next(iter(made.train_loader))
    outputs, loss = made.step(made, inputs, targets, lambda _: None)
    loss.backward()
    weight = next(made.model.parameters())
    return [str(value.dtype).removeprefix("torch.") for value in (weight, weight.grad, outputs, loss)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, ["float32", "float32", "float32", "float32"]),
        ("fp32", ["float32", "float32", "float32", "float32"]),
        ("bf16", ["bfloat16", "bfloat16", "bfloat16", "bfloat16"]),
        ("bf16-autocast", ["float32", "float32", "bfloat16", "float32"]),
        ("fp16-autocast", ["float32", "float32", "float16", "float32"]),
    ],
)
def test_what_is_computed_in_which_format(name, expected):
    assert formats_of(task(precision=name)) == expected


@pytest.mark.parametrize("name", ["fp32", "bf16", "bf16-autocast", "fp16-autocast"])
def test_every_precision_learns(name):
    first, last = fit(task(precision=name), epochs=2)
    assert last.train_loss < first.train_loss


@pytest.mark.parametrize("name", ["bf16", "fp16-autocast"])
def test_what_is_no_number_of_a_format_stays_as_it_is(name):
    """Codes of characters go into an embedding."""
    assert formats_of(task(precision=name, dataset="text", model="transformer", batch_size=2))


def test_float16_alone_has_a_scaler_and_it_scales():
    assert task(precision="bf16-autocast").scaler is None
    made = task(precision="fp16-autocast")
    fit(made, epochs=1)
    assert made.scaler.get_scale() > 1


def test_without_a_precision_the_step_is_the_textbooks():
    assert task().step is forward_and_loss
    assert task(precision="fp32").step is forward_and_loss


def test_tf32_is_told_to_matrix_products_and_convolutions():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        task(precision="fp32")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
        task(precision="tf32")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_channels_last_holds_for_weights_inputs_and_what_comes_of_them():
    made = task(**IMAGES, memory_format="channels_last")
    seen = []
    made.model[1].register_forward_hook(lambda _, inputs, outputs: seen.extend([*inputs, outputs]))
    inputs, targets = next(iter(made.train_loader))
    made.step(made, inputs, targets, lambda _: None)
    assert made.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert [value.is_contiguous(memory_format=torch.channels_last) for value in seen] == [True, True]


def test_changing_the_inputs_belongs_to_their_transfer():
    made, told = task(precision="bf16"), []
    inputs, targets = next(iter(made.train_loader))
    made.step(made, inputs, targets, told.append)
    assert told == ["transfer", "forward"]


def test_a_model_is_compiled_at_its_first_call(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: asked.append(options))
    task(compile="max-autotune")
    task(compile="default", compile_backend="eager")
    task()
    assert asked == [{"backend": "inductor", "mode": "max-autotune"}, {"backend": "eager"}]


def test_a_compiled_model_trains():
    first, last = fit(task(compile="default", compile_backend="eager"), epochs=2)
    assert last.train_loss < first.train_loss


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"precision": "tf32"}, "tf32 is a format of NVIDIA GPUs"),
        ({"memory_format": "channels_last", "dataset": "text"}, "channels_last is for images"),
        ({"compile_backend": "eager"}, "compile_backend has no meaning without compile"),
        (
            {"compile": "max-autotune", "compile_backend": "eager"},
            "is a mode of inductor; backend eager ignores it",
        ),
        ({"compile": "reduce-overhead"}, "reduce-overhead replays CUDA graphs; device cpu has none"),
        ({"compile": "default", "compile_backend": "cudagraphs"}, "cudagraphs replays CUDA graphs"),
    ],
)
def test_what_contradicts_itself_is_refused(axes, reason):
    assert reason in precision.refusal(case(**axes))


@pytest.mark.parametrize("device", ["cpu", "mps:0", "xpu"])
def test_graphs_are_refused_where_inductor_would_run_without_them(device):
    assert precision.refusal(case(compile="reduce-overhead", device=device)).endswith(
        f"device {device} has none"
    )
    assert precision.refusal(case(compile="reduce-overhead", device="cuda:0")) is None


@pytest.mark.parametrize(
    "axes", [{}, {"precision": "bf16"}, {"compile": "max-autotune"}, {"memory_format": "channels_last"}]
)
def test_what_can_be_had_is_not(axes):
    assert precision.refusal(case(**axes)) is None


def test_a_card_of_amd_has_no_tf32_though_its_version_is_9(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 4))
    case = Case("digits", {"device": "cuda:0", "precision": "tf32"})
    assert precision.refusal(case) is None
    monkeypatch.setattr(torch.version, "hip", "6.3")
    assert "NVIDIA" in precision.refusal(case)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["tf32", "bf16", "fp16-autocast"])
def test_every_precision_learns_on_a_card(name):
    made = task(precision=name, device="cuda:0")
    made.device = torch.device("cuda:0")
    made.model.to(made.device)
    first, last = fit(made, epochs=2)
    assert last.train_loss < first.train_loss
