"""The number format in which an operator does its arithmetic: not always that of its tensors.

Products of float32 matrices may run in TF32 on a card, or in bfloat16 on a processor, as far as torch is allowed to:
for matrix products, convolutions and recurrent layers separately (`torch.backends`, "fp32_precision").
"""

from __future__ import annotations

import functools
import os
import re
from typing import Any

import torch
from torch import Tensor

from ..timing.peaks import TF32, has_tf32

_KINDS = (("conv", re.compile("conv(?!ert)")), ("rnn", re.compile("rnn|lstm|gru")))
# CUTLASS emulates float32 by three products in TF32 there, at a rate that no maker states.
_EMULATED = re.compile("efficient_attention")
EMULATED = "3xtf32"


def kind_of(operator: str) -> str:
    """Which setting of torch applies to an operator: "conv", "rnn" or "matmul"; "attention" for one with its own."""
    if _EMULATED.search(operator):
        return "attention"
    return next((kind for kind, pattern in _KINDS if pattern.search(operator)), "matmul")


def format_of(kind: str, tensor: Tensor) -> str:
    """The format in which an operator of this kind runs on a tensor like this, by the settings of this moment."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != "float32":
        return dtype
    device = tensor.device
    if device.type == "cuda":
        if not may_use_tf32(device):
            return dtype
        if kind == "attention":
            return EMULATED
        return TF32 if cuda_precision(kind) == "tf32" else dtype
    if device.type == "cpu" and cpu_precision(kind) == "bf16" and _has_bf16():
        return "bfloat16"
    return dtype


@functools.cache
def may_use_tf32(device: torch.device) -> bool:
    """Whether a card has TF32: NVIDIA's from capability 8.0 on, AMD's only if its library is told so."""
    return has_tf32(device) or (
        torch.version.hip is not None and os.environ.get("HIPBLASLT_ALLOW_TF32") == "1"
    )


def cuda_precision(kind: str) -> str:
    """What torch may do with float32 on a card: "tf32" or "ieee".

    The older names of these settings (`allow_tf32`) raise once a script has used the newer ones.
    """
    cudnn: Any = torch.backends.cudnn
    if kind == "matmul" or torch.version.hip is not None:
        set_to = torch.backends.cuda.matmul.fp32_precision
    else:
        set_to = (cudnn.rnn if kind == "rnn" else cudnn.conv).fp32_precision
    return "tf32" if set_to == "tf32" else "ieee"  # "none" is the default, and the same


def cpu_precision(kind: str) -> str:
    """What oneDNN may do with float32: "bf16", "tf32", else "ieee" or "none"."""
    of_kind = getattr(torch.backends.mkldnn, "matmul" if kind == "attention" else kind)
    return str(of_kind.fp32_precision)


@functools.cache
def _has_bf16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
