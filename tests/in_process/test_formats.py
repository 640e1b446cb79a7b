"""The format of each operator's arithmetic: on cards that are only named, and on this processor for real."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.worker.counts import formats
from bench.worker.counts.counters import Operators
from bench.worker.counts.formats import (
    EMULATED,
    cpu_precision,
    cuda_precision,
    has_fast_bf16,
    kind_of,
    kind_of_convolution,
    xpu_precision,
)
from bench.worker.timing.peaks import FLOAT16_SUMS

pytestmark = pytest.mark.usefixtures("one_thread")

needs_bf16 = pytest.mark.skipif(
    not has_fast_bf16(), reason="needs a processor that multiplies bfloat16 (AMX)"
)


def format_of(kind, tensor, flops=10**9):
    return formats.format_of(kind, tensor, flops)


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
        ("aten._scaled_mm", "matmul"),
        ("aten.mv", "vector"),
        ("aten.addmv_", "vector"),
        ("aten.vdot", "vector"),
        ("aten._scaled_dot_product_cudnn_attention", "matmul"),
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

    @pytest.mark.parametrize(
        ("capability", "version", "variable", "expected"),
        [
            ((9, 4), "2.9.1+rocm6.4", None, "float32"),
            ((9, 4), "2.9.1+rocm6.4", "1", "tf32"),
            ((9, 4), "2.10.0+rocm7.1", None, "tf32"),  # which no longer reads the variable
            ((9, 5), "2.10.0+rocm7.1", None, "tf32"),
            ((9, 0), "2.10.0+rocm7.1", None, "float32"),  # an MI250X
            ((11, 0), "2.10.0+rocm7.1", None, "float32"),
        ],
    )
    def test_an_mi300_has_it_and_old_torch_needs_a_variable(
        self, capability, version, variable, expected, a_card, monkeypatch
    ):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        monkeypatch.setattr(torch, "__version__", version)
        monkeypatch.delenv("HIPBLASLT_ALLOW_TF32", raising=False)
        if variable is not None:
            monkeypatch.setenv("HIPBLASLT_ALLOW_TF32", variable)
        assert format_of("matmul", a_card(capability=capability, hip="7.1")) == expected

    def test_amds_convolutions_and_recurrent_layers_do_not_follow_a_setting(self, a_card, monkeypatch):
        monkeypatch.setattr(torch, "__version__", "2.10.0+rocm7.1")
        for kind in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            kind.fp32_precision = "tf32"
        card = a_card(capability=(9, 4), hip="7.1")
        assert [format_of(kind, card) for kind in ("conv", "rnn")] == ["float32", "float32"]

    def test_products_with_a_vector_have_no_tf32(self, a_card):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert format_of("vector", a_card()) == "float32"

    def test_a_convolution_with_a_filter_for_each_channel_is_no_matrix_product(self, a_card):
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        assert format_of("depthwise", a_card()) == "float32"
        assert format_of("depthwise", a_card(torch.bfloat16)) == "bfloat16"

    def test_float16_that_is_added_in_float16_is_a_format_of_its_own(self, a_card):
        """A GeForce card does that at twice the rate: as plain float16 it would exceed its peak."""
        matmul = torch.backends.cuda.matmul
        assert format_of("matmul", a_card(torch.float16)) == "float16"
        matmul.allow_fp16_accumulation = True
        try:
            assert format_of("matmul", a_card(torch.float16)) == FLOAT16_SUMS
            assert format_of("conv", a_card(torch.float16)) == "float16"
            assert format_of("matmul", a_card(torch.bfloat16)) == "bfloat16"
            assert format_of("matmul", torch.ones(1, dtype=torch.float16)) == "float16"
        finally:
            matmul.allow_fp16_accumulation = False

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


class TestConvolutions:
    """Torch itself tells who would compute one: real tensors on this processor."""

    ARGUMENTS = (None, [1, 1], [1, 1], [1, 1], False, [0, 0])

    def kind(self, groups=1, **changes):
        image, weight = torch.ones(2, 8, 16, 16), torch.ones(8, 8 // groups, 3, 3)
        gradient = torch.ones(2, 8, 16, 16)
        forward = kind_of_convolution("aten.convolution", (image, weight, *self.ARGUMENTS, groups))
        backward = kind_of_convolution(
            "aten.convolution_backward", (gradient, image, weight, *self.ARGUMENTS, groups, [True] * 3)
        )
        assert forward == backward
        return forward

    def test_a_library_for_convolutions_has_the_setting_of_those(self):
        assert self.kind() == self.kind(groups=2) == "conv"

    def test_without_one_torch_multiplies_matrices(self):
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
            assert self.kind() == "matmul"

    def test_a_filter_for_each_channel(self):
        assert self.kind(groups=8) == "depthwise"

    @pytest.mark.parametrize(
        "name", ["CudaDepthwise2d", "Cudnn", "Miopen", "SlowTranspose2d", "SlowDilated3d"]
    )
    def test_the_choice_on_a_card(self, name, monkeypatch):
        monkeypatch.setattr(torch._C, "_select_conv_backend", lambda *_: SimpleNamespace(name=name))
        assert self.kind() == ("matmul" if name.startswith("Slow") else "conv")

    def test_operators_of_a_library_and_unusual_arguments_do_not_fail(self):
        assert kind_of_convolution("aten.cudnn_convolution", ()) == "conv"
        assert kind_of_convolution("aten.convolution", (torch.ones(1),)) == "conv"
        assert (
            kind_of_convolution("aten.convolution", (torch.ones(1), torch.ones(1), *self.ARGUMENTS, 1))
            == "conv"
        )


class TestOtherGpus:
    """Intel's are computed for by oneDNN; Apple's have float32 only."""

    @pytest.mark.parametrize(
        ("older", "newer", "expected"),
        [
            (None, "none", "float32"),
            (False, "ieee", "float32"),
            (True, "none", "tf32"),
            (None, "tf32", "tf32"),
        ],
    )
    def test_intels_have_tf32_by_either_setting(self, older, newer, expected, monkeypatch):
        monkeypatch.setattr(torch._C, "_get_onednn_allow_tf32", lambda: older)
        settings = SimpleNamespace(allow_tf32=older, matmul=SimpleNamespace(fp32_precision=newer))
        monkeypatch.setattr(torch.backends, "mkldnn", settings)
        assert xpu_precision("matmul") == (newer if not older else "tf32")
        assert (
            format_of("matmul", SimpleNamespace(dtype=torch.float32, device=torch.device("xpu"))) == expected
        )

    def test_apples_do_not(self):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert (
            format_of("matmul", SimpleNamespace(dtype=torch.float32, device=torch.device("mps"))) == "float32"
        )


def counted(call):
    with Operators() as operators:
        call()
    operators.assign("train", "forward")
    return {one.dtype for one in operators.counts() if one.flops}


class TestProcessors:
    def test_a_product_may_run_in_bfloat16_where_the_processor_has_it(self, monkeypatch):
        tensor = torch.ones(1)
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        for has, expected in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(formats, "has_fast_bf16", lambda has=has: has)
            assert format_of("matmul", tensor) == expected
        torch.backends.mkldnn.matmul.fp32_precision = "ieee"
        monkeypatch.setattr(formats, "has_fast_bf16", lambda: True)
        assert format_of("matmul", tensor) == "float32"

    @pytest.mark.parametrize("kind", ["matmul", "conv", "rnn", "attention", "vector"])
    def test_every_kind_has_a_setting(self, kind):
        assert isinstance(cpu_precision(kind), str)
        assert isinstance(cuda_precision(kind), str)

    @pytest.mark.parametrize(("machine", "amx", "other"), [("x86_64", True, False), ("aarch64", False, True)])
    def test_what_a_processor_needs_for_it(self, machine, amx, other, monkeypatch):
        monkeypatch.setattr(formats.platform, "machine", lambda: machine)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: other, raising=False)
        assert has_fast_bf16.__wrapped__()

    def calls(self):
        square, long, heads = torch.randn(64, 64), torch.randn(256, 256), torch.randn(1, 2, 64, 64)
        small, layer = square[:16, :16].contiguous(), torch.nn.LSTM(64, 64)
        image, filters = torch.randn(1, 16, 8, 8), torch.randn(16, 16, 3, 3)
        single = filters[:, :1].contiguous()
        return {
            "product": lambda: square @ square,
            "small product": lambda: small @ small,
            "vector": lambda: long @ long[0],
            "short vector": lambda: square @ square[0],
            "attention": lambda: torch.nn.functional.scaled_dot_product_attention(heads, heads, heads),
            "convolution": lambda: torch.conv2d(image, filters),
            "depthwise": lambda: torch.conv2d(image, single, groups=16),
            "recurrent": lambda: layer(square.view(4, 16, 64))[0],
        }

    @needs_bf16
    @pytest.mark.parametrize("mkldnn", [True, False])
    @pytest.mark.parametrize(
        "name",
        [
            "product",
            "small product",
            "vector",
            "short vector",
            "attention",
            "convolution",
            "depthwise",
            "recurrent",
        ],
    )
    def test_the_format_is_that_of_the_arithmetic(self, name, mkldnn):
        """bfloat16 has 8 bits of precision: where it is used, results differ from those of float32."""
        call = self.calls()[name]
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=mkldnn, allow_tf32=None):
            for kind in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
                kind.fp32_precision = "ieee"
            exact = call()
            for kind in (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
                kind.fp32_precision = "bf16"
            differs = ((call() - exact).norm() / exact.norm()).item() > 1e-4
            assert counted(call) == {"bfloat16" if differs else "float32"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
@pytest.mark.parametrize(("value", "expected"), [("ieee", "float32"), ("tf32", "tf32")])
def test_a_real_card_counts_products_in_the_format_that_is_set(value, expected):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("a card without TF32")
    torch.backends.cuda.matmul.fp32_precision = value
    square = torch.ones(64, 64, device="cuda")
    assert counted(lambda: square @ square) == {expected}
