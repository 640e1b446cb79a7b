"""The format of each operator's arithmetic: on cards that are only named, and on this processor for real."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.worker.counts import formats
from bench.worker.counts.formats import EMULATED, cpu_precision, cuda_precision, format_of, kind_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def settings():
    """What the tests set is taken back."""
    kinds = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    kinds += (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    yield
    for kind, value in zip(kinds, before, strict=True):
        kind.fp32_precision = value


@pytest.fixture
def a_card(monkeypatch):
    """A tensor on a card of this compute capability."""

    def made(dtype=torch.float32, capability=(9, 0), hip=None):
        formats.may_use_tf32.cache_clear()
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.version, "hip", hip)
        return SimpleNamespace(dtype=dtype, device=torch.device("cuda", 0))

    yield made
    formats.may_use_tf32.cache_clear()


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten.mm", "matmul"),
        ("aten.addmm", "matmul"),
        ("aten.baddbmm", "matmul"),
        ("aten.convolution", "conv"),
        ("aten.convolution_backward", "conv"),
        ("aten.cudnn_convolution", "conv"),
        ("aten._cudnn_rnn", "rnn"),
        ("aten._thnn_fused_lstm_cell", "rnn"),
        ("aten._scaled_dot_product_efficient_attention_backward", "attention"),
        ("aten._scaled_dot_product_flash_attention", "matmul"),
        ("aten._convert_weight_to_int4pack", "matmul"),
    ],
)
def test_which_setting_applies_follows_from_the_name(operator, kind):
    assert kind_of(operator) == kind


class TestCards:
    def test_products_are_float32_unless_they_may_be_tf32(self, a_card):
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        assert format_of("matmul", a_card()) == "float32"
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert format_of("matmul", a_card()) == "tf32"

    def test_convolutions_have_a_setting_of_their_own_which_is_on_by_default(self, a_card):
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        assert format_of("conv", a_card()) == "tf32"
        assert format_of("matmul", a_card()) == "float32"
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        assert format_of("conv", a_card()) == "float32"

    def test_recurrent_layers_too(self, a_card):
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.backends.cudnn.rnn.fp32_precision = "tf32"
        assert format_of("rnn", a_card()) == "tf32"
        assert format_of("conv", a_card()) == "float32"

    def test_the_older_names_of_the_settings_hold(self, a_card):
        torch.set_float32_matmul_precision("high")
        assert format_of("matmul", a_card()) == "tf32"
        torch.set_float32_matmul_precision("highest")
        assert format_of("matmul", a_card()) == "float32"
        before = torch.backends.cudnn.allow_tf32
        try:
            torch.backends.cudnn.allow_tf32 = False
            assert format_of("conv", a_card()) == "float32"
        finally:
            torch.backends.cudnn.allow_tf32 = before

    def test_reading_them_never_raises_where_a_script_mixes_old_and_new_names(self, a_card):
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            torch.get_float32_matmul_precision()
        assert format_of("matmul", a_card()) == "tf32"

    def test_a_card_before_ampere_has_no_tf32(self, a_card):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert format_of("matmul", a_card(capability=(7, 5))) == "float32"

    def test_a_card_of_amd_has_it_only_where_its_library_is_told_so(self, a_card, monkeypatch):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        monkeypatch.delenv("HIPBLASLT_ALLOW_TF32", raising=False)
        assert format_of("matmul", a_card(capability=(9, 4), hip="6.4")) == "float32"
        monkeypatch.setenv("HIPBLASLT_ALLOW_TF32", "1")
        assert format_of("matmul", a_card(capability=(9, 4), hip="6.4")) == "tf32"

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
    def test_other_formats_are_those_of_the_tensors(self, dtype, a_card):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert format_of("matmul", a_card(dtype)) == str(dtype).removeprefix("torch.")

    def test_attention_in_float32_is_emulated_at_a_rate_that_nobody_states(self, a_card):
        assert format_of("attention", a_card()) == EMULATED
        assert format_of("attention", a_card(torch.bfloat16)) == "bfloat16"

    def test_it_is_decided_at_each_operator(self, a_card):
        found = []
        for value in ("ieee", "tf32", "ieee"):
            torch.backends.cuda.matmul.fp32_precision = value
            found.append(format_of("matmul", a_card()))
        assert found == ["float32", "tf32", "float32"]


class TestProcessors:
    def test_a_product_may_run_in_bfloat16_where_the_processor_has_it(self, monkeypatch):
        tensor = torch.ones(1)
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        for has, expected in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(formats, "_has_bf16", lambda has=has: has)
            assert format_of("matmul", tensor) == expected
        torch.backends.mkldnn.matmul.fp32_precision = "ieee"
        monkeypatch.setattr(formats, "_has_bf16", lambda: True)
        assert format_of("matmul", tensor) == "float32"

    @pytest.mark.parametrize("kind", ["matmul", "conv", "rnn", "attention"])
    def test_every_kind_has_a_setting(self, kind):
        assert isinstance(cpu_precision(kind), str)
        assert isinstance(cuda_precision(kind), str)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
@pytest.mark.parametrize(("value", "expected"), [("ieee", "float32"), ("tf32", "tf32")])
def test_a_real_card_counts_products_in_the_format_that_is_set(value, expected):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("a card without TF32")
    from bench.worker.counts.counters import Operators

    torch.backends.cuda.matmul.fp32_precision = value
    with Operators() as operators:
        torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    operators.assign("train", "forward")
    assert {one.dtype for one in operators.counts() if one.flops} == {expected}
