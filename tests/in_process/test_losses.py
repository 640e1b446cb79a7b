from __future__ import annotations

import math
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import tasks
from bench.errors import UsageError
from bench.suite.case import Case
from bench.suite.matrix import Suite
from bench.tasks import loss_arguments, losses
from bench.training import fit

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")

IMAGE_LOSSES = [name for name in losses.LOSSES if name != "ctc"]
TEXT = {"dataset": "text", "model": "transformer", "batch_size": 8}


def case(**axes):
    return Case("tasks", axes)


def loss_of(name, **axes):
    return losses.build(case(loss=name, dataset="text", **axes))


def batch(*length, classes=5, dtype=torch.float32):
    """Outputs of six rows, and the numbers of their right classes; every class is one at least once."""
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(6, classes, *length, generator=generator).to(dtype).requires_grad_()
    numbers = torch.arange(6 * math.prod(length)) % 5
    return outputs, numbers.view(6, *length)


# -- every loss trains --


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_every_loss_falls_while_images_are_trained(name):
    torch.manual_seed(0)
    first, last = fit(tasks.build(case(loss=name, batch_size=512)), epochs=2)
    assert math.isfinite(last.test_loss)
    assert last.train_loss < first.train_loss
    assert 0 <= last.metrics["accuracy"] <= 1


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_falls_while_text_is_trained(name):
    torch.manual_seed(0)
    made = tasks.build(case(loss=name, **TEXT))
    made.train_loader = list(islice(made.train_loader, 4))
    made.validate_loader = made.test_loader = list(islice(made.test_loader, 1))
    first, last = fit(made, epochs=2)
    assert math.isfinite(last.test_loss)
    assert last.train_loss < first.train_loss
    assert set(last.metrics) == (set() if name == "ctc" else {"accuracy"})


def test_only_ctc_has_an_output_more_than_there_are_classes():
    inputs = torch.zeros(1, 64, dtype=torch.long)
    found = {name: tasks.build(case(loss=name, **TEXT)).model(inputs).shape[1] for name in ("nll", "ctc")}
    assert found["ctc"] == found["nll"] + 1


# -- values: torch's functional forms on targets adapted by hand --


def signed(hot):
    return hot * 2 - 1


def padded(numbers):
    return torch.tensor([[number, -1, -1, -1, -1] for number in numbers.tolist()])


# name -> the value for outputs (rows, 5), numbers (rows) and their one-hot form (rows, 5)
BY_HAND = {
    "cross-entropy": lambda x, y, hot: F.cross_entropy(x, y),
    "nll": lambda x, y, hot: F.nll_loss(F.log_softmax(x, 1), y),
    "mse": lambda x, y, hot: F.mse_loss(x, hot),
    "l1": lambda x, y, hot: F.l1_loss(x, hot),
    "huber": lambda x, y, hot: F.huber_loss(x, hot),
    "smooth-l1": lambda x, y, hot: F.smooth_l1_loss(x, hot),
    "bce": lambda x, y, hot: F.binary_cross_entropy(torch.sigmoid(x), hot),
    "bce-with-logits": lambda x, y, hot: F.binary_cross_entropy_with_logits(x, hot),
    "kl-div": lambda x, y, hot: F.kl_div(F.log_softmax(x, 1), hot, reduction="batchmean"),
    "multi-margin": lambda x, y, hot: F.multi_margin_loss(x, y),
    "soft-margin": lambda x, y, hot: F.soft_margin_loss(x, signed(hot)),
    "multilabel-margin": lambda x, y, hot: F.multilabel_margin_loss(x, padded(y)),
    "multilabel-soft-margin": lambda x, y, hot: F.multilabel_soft_margin_loss(x, hot),
    "poisson-nll": lambda x, y, hot: F.poisson_nll_loss(x, hot),
    "gaussian-nll": lambda x, y, hot: F.gaussian_nll_loss(x, hot, torch.ones(len(x), 5)),
}


def test_every_loss_of_images_is_held_against_a_value_by_hand():
    assert sorted(BY_HAND) == sorted(IMAGE_LOSSES)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_the_value_of_images_is_that_of_torch_itself(name):
    outputs, numbers = batch()
    expected = BY_HAND[name](outputs, numbers, F.one_hot(numbers, 5).float())
    torch.testing.assert_close(loss_of(name)(outputs, numbers), expected)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_the_value_of_sequences_is_the_mean_over_their_places(name):
    outputs, numbers = batch(7)
    scores = torch.stack([outputs[row, :, place] for row in range(6) for place in range(7)])
    flat = torch.tensor([numbers[row, place].item() for row in range(6) for place in range(7)])
    expected = BY_HAND[name](scores, flat, F.one_hot(flat, 5).float())
    torch.testing.assert_close(loss_of(name)(outputs, numbers), expected)


def test_the_value_of_ctc_is_that_of_torch_on_the_first_half_with_the_blank_first():
    outputs, numbers = batch(8, classes=6)
    scores = torch.stack([F.log_softmax(outputs[:, :, place], 1) for place in range(8)])
    aligned = torch.tensor([[number + 1 for number in row[:4]] for row in numbers.tolist()])
    expected = F.ctc_loss(scores, aligned, torch.full((6,), 8), torch.full((6,), 4))
    torch.testing.assert_close(loss_of("ctc")(outputs, numbers), expected)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_a_target_of_one_character_repeated_still_fits_its_inputs(length):
    value = loss_of("ctc")(torch.zeros(2, 4, length), torch.full((2, length), 2))
    assert math.isfinite(value)


def test_targets_are_made_as_the_classes_document_them():
    outputs, numbers = torch.zeros(2, 3), torch.tensor([2, 0])
    assert loss_arguments.one_hot(outputs, numbers)[1].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert loss_arguments.plus_minus_one(outputs, numbers)[1].tolist() == [[-1, -1, 1], [1, -1, -1]]
    assert loss_arguments.class_lists(outputs, numbers)[1].tolist() == [[2, -1, -1], [0, -1, -1]]
    sequence = loss_arguments.one_hot_rows(torch.zeros(1, 3, 2), torch.tensor([[2, 0]]))
    assert sequence[1].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_kl_div_against_one_class_is_cross_entropy():
    outputs, numbers = batch(7)
    torch.testing.assert_close(loss_of("kl-div")(outputs, numbers), F.cross_entropy(outputs, numbers))


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_label_smoothing_is_given_to_cross_entropy(smoothing):
    outputs, numbers = batch()
    made = loss_of("cross-entropy", label_smoothing=smoothing)
    torch.testing.assert_close(
        made(outputs, numbers), F.cross_entropy(outputs, numbers, label_smoothing=smoothing)
    )


# -- on any device, in any number format --


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("autocast", [False, True], ids=["weights", "autocast"])
def test_every_loss_takes_outputs_of_half_precision(name, autocast):
    for length in ((), (8,)) if name != "ctc" else ((8,),):
        single, numbers = batch(*length, classes=6)
        outputs = single.detach().bfloat16().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss_of(name)(outputs, numbers)
        value.backward()
        assert outputs.grad.dtype == torch.bfloat16
        assert outputs.grad.abs().sum() > 0
        expected = loss_of(name)(single, numbers)
        torch.testing.assert_close(value.float(), expected, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("name", [name for name in losses.LOSSES if losses.LOSSES[name][1]])
def test_no_value_is_read_and_what_is_made_lies_where_the_outputs_lie(name):
    """On the device `meta`, where there are no values."""
    make = loss_of(name).arguments
    for length in ((), (8,)) if name != "ctc" else ((8,),):
        for format_ in (torch.float32, torch.bfloat16):
            outputs, numbers = (tensor.to("meta") for tensor in batch(*length, dtype=format_))
            made = [given for given in make(outputs, numbers) if isinstance(given, torch.Tensor)]
            assert {given.device.type for given in made} == {"meta"}
            floats = {given.dtype for given in made if given.is_floating_point()}
            assert floats in ({format_}, {torch.float32})
            assert made[0].requires_grad
            assert not any(given.requires_grad for given in made[1:])


def test_gaussian_nll_reads_no_variance():
    outputs, numbers = (tensor.to("meta") for tensor in batch())
    assert loss_of("gaussian-nll")(outputs, numbers).shape == ()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_no_loss_changes_what_it_is_given(name):
    outputs, numbers = batch(8, classes=6)
    before = outputs.clone(), numbers.clone()
    loss_of(name)(outputs, numbers)
    assert torch.equal(outputs, before[0])
    assert torch.equal(numbers, before[1])


@pytest.mark.parametrize("name", ["ctc", "multi-margin", "multilabel-margin"])
def test_double_precision_stays(name):
    outputs, numbers = batch(8, classes=6, dtype=torch.float64)
    assert loss_of(name)(outputs, numbers).dtype == torch.float64


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_no_loss_waits_for_the_device(name):
    outputs, numbers = (tensor.detach().cuda().clone() for tensor in batch(8))
    outputs.requires_grad_()
    made = loss_of(name)
    try:
        torch.cuda.set_sync_debug_mode("error")
        made(outputs, numbers).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# -- what cannot be had --


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_label_smoothing_is_refused_beside_every_other_loss(smoothing):
    for name in set(losses.LOSSES) - {"cross-entropy"}:
        refused = case(loss=name, label_smoothing=smoothing, dataset="text")
        says = f"loss '{name}' has no label_smoothing; in torch only cross-entropy has it"
        assert tasks.exclude(refused) == says
        with pytest.raises(UsageError, match=says):
            losses.build(refused)


@pytest.mark.parametrize("dataset", ["digits", "fake-images"])
def test_ctc_is_refused_where_targets_are_no_sequences(dataset):
    says = f"loss 'ctc' aligns sequences, and dataset '{dataset}' has none; choose dataset text"
    assert tasks.exclude(case(loss="ctc", dataset=dataset)) == says
    with pytest.raises(UsageError, match=says):
        tasks.build(case(loss="ctc", dataset=dataset))
    assert tasks.exclude(case(loss="ctc", dataset="text")) is None


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_can_be_had_in_the_formats_without_autocast(name):
    for precision in (None, "fp32", "tf32", "bf16"):
        assert losses.refusal(case(loss=name, dataset="text", precision=precision)) is None


def test_a_suite_says_which_numbers_label_smoothing_may_be():
    suite = Suite("mine", build=tasks.build, choices=tasks.CHOICES)
    suite.check("label_smoothing", 0.5)
    with pytest.raises(
        UsageError, match="unknown label_smoothing 1; there are none, a number from 0 to belo"
    ):
        suite.check("label_smoothing", 1)


UNSAFE = "BCELoss are unsafe to autocast.\nMany models use a sigmoid layer right before."


@pytest.fixture
def unsafe(monkeypatch):
    """BCELoss as a GPU has it: it raises under autocast, and says so in several lines. How often it was requested."""
    asked = []

    def forward(self, outputs, targets):
        asked.append(outputs.dtype)
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError(UNSAFE)
        return outputs.sum()

    monkeypatch.setattr(nn.BCELoss, "forward", forward)
    losses.autocast_error.cache_clear()
    yield asked
    losses.autocast_error.cache_clear()


@pytest.mark.parametrize(
    ("precision", "number_format"), [("bf16-autocast", torch.bfloat16), ("fp16-autocast", torch.float16)]
)
def test_what_torch_refuses_under_autocast_is_refused_in_its_words(unsafe, precision, number_format):
    refused = case(loss="bce", precision=precision)
    says = f"loss 'bce' under precision '{precision}': BCELoss are unsafe to autocast"
    assert tasks.exclude(refused) == says
    assert losses.refusal(refused) == says
    assert unsafe == [number_format]  # tried once for both, in the format of outputs under autocast


@pytest.mark.parametrize("precision", [None, "fp32", "tf32", "bf16"])
def test_nothing_is_tried_outside_autocast(unsafe, precision):
    assert losses.refusal(case(loss="bce", precision=precision)) is None
    assert unsafe == []


@pytest.mark.parametrize("precision", losses.AUTOCAST)
def test_every_loss_can_be_had_under_autocast_on_a_cpu(precision):
    """Torch computes BCELoss there in single precision, other than on a GPU."""
    for name in losses.LOSSES:
        for dataset in ("text",) if name == "ctc" else ("text", "digits"):
            assert losses.refusal(case(loss=name, precision=precision, dataset=dataset)) is None, name


def test_a_name_that_is_none_is_left_to_the_build():
    assert losses.refusal(case(loss="mae", precision="bf16-autocast")) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
def test_bce_is_unsafe_under_autocast_on_a_gpu_and_its_form_with_logits_is_not():
    axes = {"device": "cuda:0", "precision": "bf16-autocast"}
    assert "unsafe to autocast" in (losses.refusal(case(loss="bce", **axes)) or "")
    assert losses.refusal(case(loss="bce-with-logits", **axes)) is None


def test_listing_asks_torch_only_under_autocast():
    script = f"""
import sys
from bench import tasks
from bench.suite.case import Case
for loss in {list(losses.LOSSES)}:
    for precision in (None, "fp32", "bf16"):
        tasks.exclude(Case("t", dict(loss=loss, precision=precision, dataset="text")))
print([name for name in ("torch", "torchvision") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


# -- the page --


def section(title):
    """Rows of the table under a heading, as lists of cells without their code marks."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_names_every_loss_with_its_class():
    assert [(name, kind) for name, kind, *_ in section("Available losses")] == [
        (name, kind) for name, (kind, _) in losses.LOSSES.items()
    ]


def unnamed(classes):
    """Those classes of torch that are neither a loss here nor on the page with a reason why not."""
    reasons = {kind: reason for kind, reason in section("Unavailable losses") if reason}
    return [
        kind
        for kind in classes
        if kind not in reasons and kind not in {kind for kind, _ in losses.LOSSES.values()}
    ]


def test_every_loss_of_the_installed_torch_is_there_or_has_a_reason_why_not():
    assert unnamed(nn.modules.loss.__all__) == []


def test_a_new_loss_of_torch_would_be_seen():
    assert unnamed(["L1Loss", "TripletMarginLoss", "TomorrowLoss"]) == ["TomorrowLoss"]


def test_no_class_is_both_there_and_not():
    assert not {kind for kind, _ in section("Unavailable losses")} & {
        kind for kind, _ in losses.LOSSES.values()
    }


# -- the metric --


def test_accuracy_is_the_share_of_right_answers():
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]])
    assert losses.accuracy(outputs, torch.tensor([0, 1, 1, 1])).item() == 0.75


def test_accuracy_of_text_is_over_every_character():
    outputs = torch.tensor([[[9.0, 0.0, 9.0], [0.0, 9.0, 0.0]]])  # one text of three, two classes
    assert losses.accuracy(outputs, torch.tensor([[0, 1, 1]])).item() == pytest.approx(2 / 3)
