"""The number format in which an operator does its arithmetic: not always that of its tensors.

Products of float32 matrices may run in TF32 on a card, or in bfloat16 on a processor, as far as torch is allowed to:
for matrix products, convolutions and recurrent layers separately (`torch.backends`, "fp32_precision").
"""

from __future__ import annotations

import functools
import os
import platform
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...tasks.precision import has_tf32
from ..timing.peaks import FLOAT16_SUMS, TF32

_KINDS = (
    ("attention", re.compile("efficient_attention")),
    ("conv", re.compile("conv(?!ert)")),
    ("rnn", re.compile("rnn|lstm|gru")),
    ("vector", re.compile(r"(mv|dot)_?$")),
)
# CUTLASS emulates float32 by three products in TF32 there, at a rate that no maker states.
EMULATED = "3xtf32"
# oneDNN is not used for products of fewer multiplications: the least of torch's `use_mkldnn_matmul`.
_SMALL = 16**3


def kind_of(operator: str) -> str:
    """Which setting of torch applies to an operator: "conv", "rnn" or "matmul".

    "vector" for products of a matrix or a vector with a vector, "attention" for the one that has no setting.
    """
    return next((kind for kind, pattern in _KINDS if pattern.search(operator)), "matmul")


def kind_of_convolution(operator: str, arguments: Sequence[Any]) -> str:
    """That of a convolution, which depends on who computes it: "matmul" where torch makes it a matrix product itself.

    "depthwise" if each channel has a filter of its own: nothing of that is a matrix product.
    """
    name = operator.rpartition(".")[2]
    if name not in ("convolution", "_convolution", "convolution_backward"):
        return "conv"
    try:
        # image, weight, bias, stride, padding, dilation, transposed, output padding, groups; first comes a gradient
        image, weight, _, *rest = arguments[name.endswith("backward") :][:9]
        if rest[-1] > 1 and weight.shape[1] == 1:
            return "depthwise"
        chosen: str = torch._C._select_conv_backend(image, weight, None, *rest).name
    except (
        AttributeError,
        IndexError,
        RuntimeError,
        TypeError,
        ValueError,
    ):  # a count must not fail a launch
        return "conv"
    return "matmul" if chosen.startswith("Slow") else "conv"


def format_of(kind: str, tensor: Tensor, flops: int) -> str:
    """The format in which an operator of this kind runs on a tensor like this, by the settings of this moment.

    `flops` are those of this call: small products on a processor run in float32 whatever is set.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    device = tensor.device
    if dtype == "float16":
        return FLOAT16_SUMS if device.type == "cuda" and kind == "matmul" and _sums_in_float16() else dtype
    if dtype != "float32" or kind == "depthwise":
        return dtype
    match device.type:
        case "cuda":
            return _on_card(kind, device)
        case "cpu":
            return "bfloat16" if _is_bf16_on_cpu(kind, flops) else dtype
        case "xpu":
            return TF32 if xpu_precision(kind) == "tf32" else dtype
        case _:
            return dtype


def _on_card(kind: str, device: torch.device) -> str:
    """That of float32 tensors on a card. cuBLAS has no TF32 for products with a vector."""
    if kind == "vector" or not may_use_tf32(device):
        return "float32"
    if kind == "attention":
        return EMULATED
    if kind in ("conv", "rnn") and torch.version.hip is not None:
        return "float32"  # MIOpen computes them, to which torch does not pass the setting on
    return TF32 if cuda_precision(kind) == "tf32" else "float32"


@functools.cache
def may_use_tf32(device: torch.device) -> bool:
    """Whether a card has TF32: NVIDIA's from capability 8.0 on, AMD's MI300 and MI350.

    Torch 2.9 uses it on AMD's only if the variable HIPBLASLT_ALLOW_TF32 is 1; later versions do not read that.
    """
    if torch.version.hip is None:
        return has_tf32(str(device))
    major, minor = torch.__version__.split(".")[:2]
    is_allowed = (int(major), int(minor)) >= (2, 10) or os.environ.get("HIPBLASLT_ALLOW_TF32") == "1"
    return is_allowed and torch.cuda.get_device_capability(device) in ((9, 4), (9, 5))


def cuda_precision(kind: str) -> str:
    """What torch may do with float32 on a card: "tf32" or "ieee".

    The older names of these settings (`allow_tf32`) raise once a script has used the newer ones.
    """
    cudnn: Any = torch.backends.cudnn
    of_kind = {"conv": cudnn.conv, "rnn": cudnn.rnn}.get(kind, torch.backends.cuda.matmul)
    return "tf32" if of_kind.fp32_precision == "tf32" else "ieee"  # "none" is the default, and the same


def cpu_precision(kind: str) -> str:
    """What oneDNN may do with float32: "bf16", "tf32", else "ieee" or "none"."""
    of_kind = getattr(torch.backends.mkldnn, kind if kind in ("conv", "rnn") else "matmul")
    return str(of_kind.fp32_precision)


def xpu_precision(kind: str) -> str:
    """That of a GPU by Intel, which oneDNN computes for: it has the settings of the processor, and an older one."""
    mkldnn: Any = torch.backends.mkldnn
    return "tf32" if mkldnn.allow_tf32 else cpu_precision(kind)


def _sums_in_float16() -> bool:
    return bool(torch.backends.cuda.matmul.allow_fp16_accumulation)


def _is_bf16_on_cpu(kind: str, flops: int) -> bool:
    """Whether oneDNN multiplies float32 numbers in bfloat16. Its recurrent layers do not follow their setting."""
    mkldnn: Any = torch.backends.mkldnn
    is_asked = kind != "rnn" and cpu_precision(kind) == "bf16" and bool(mkldnn.enabled)
    return is_asked and has_fast_bf16() and (kind == "conv" or flops > 2 * _SMALL)


@functools.cache
def has_fast_bf16() -> bool:
    """Whether oneDNN takes bfloat16 for float32 on this processor.

    Of Intel's and AMD's only with AMX: with AVX512_BF16 alone it stays with float32.
    """
    try:
        if platform.machine().lower() in ("x86_64", "amd64"):
            return bool(torch.cpu._is_amx_tile_supported())
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
