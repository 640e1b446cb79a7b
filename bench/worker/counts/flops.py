"""FLOPs of one dispatched operator, by the formulas of torch.utils.flop_counter and those that it lacks.

The convention is torch's and that of papers: a multiplication with its addition is two operations, and only
contractions count (matrix products, convolutions, attention, recurrent layers); causal attention counts in full.
Pointwise operators, reductions, normalisations and interpolations have no FLOPs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import flop_counter

Formula = Callable[..., int]
aten = torch.ops.aten


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(flop_counter.sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> int:
    return int(flop_counter.sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape))


def _added_product(_added: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    return 2 * left.numel() * right.shape[-1]


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _self_attention(sequence: Tensor, width: int) -> int:
    """Scores and their product with the values, for each pair of positions: sequences may differ in length."""
    lengths = (
        sequence._nested_tensor_size()[:, 0].tolist()
        if sequence.is_nested
        else [sequence.shape[1]] * sequence.shape[0]
    )
    return 4 * width * sum(int(length) ** 2 for length in lengths)


def _encoder_layer(sequence: Tensor, width: int, _heads: int, *rest: Any, **_: Any) -> int:
    """The one operator that evaluates a whole nn.TransformerEncoderLayer: four matrices and the attention."""
    matrices = _numbers(rest[place] for place in (0, 2, 11, 13))
    return 2 * (sequence.numel() // width) * matrices + _self_attention(sequence, width)


def _multi_head_attention(
    query: Tensor, _key: Tensor, _value: Tensor, width: int, _heads: int, *rest: Any, **_: Any
) -> int:
    """The one operator that evaluates nn.MultiheadAttention, always self-attention."""
    matrices = _numbers([rest[0], rest[2]])
    return 2 * (query.numel() // width) * matrices + _self_attention(query, width)


def _matrix_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _added_matrix_vector(_added: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _recurrent(rows: int, weights: Sequence[Tensor]) -> int:
    """Each row of each step goes once through each weight matrix."""
    return 2 * rows * _numbers(weight for weight in weights if weight.ndim == 2)


def _onednn_rnn(sequence: Tensor, *rest: Any, **_: Any) -> int:
    # The two after the matrices are biases; a layer without biases passes the matrices once more.
    return _recurrent(sequence.numel() // sequence.shape[-1], rest[:2])


def _onednn_rnn_backward(sequence: Tensor, *rest: Any, **_: Any) -> int:
    return 2 * _onednn_rnn(sequence, *rest)


def _cudnn_rnn(sequence: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    return _recurrent(sequence.numel() // sequence.shape[-1], weights)


def _cudnn_rnn_backward(sequence: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    return 2 * _cudnn_rnn(sequence, weights)


_OWN: dict[str, Formula] = {
    "mv": _matrix_vector,
    "addbmm": _added_product,
    "_addmm_activation": _added_product,
    "dot": _matrix_vector,
    "vdot": _matrix_vector,
    "addmv": _added_matrix_vector,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "_scaled_dot_product_fused_attention_overrideable_backward": _attention_backward,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_native_multi_head_attention": _multi_head_attention,
    "mkldnn_rnn_layer": _onednn_rnn,
    "mkldnn_rnn_layer_backward": _onednn_rnn_backward,
    "_cudnn_rnn": _cudnn_rnn,
    "_cudnn_rnn_backward": _cudnn_rnn_backward,
}

# Parts of aten names that mean a contraction. All other aten operators are pointwise, reductions, copies or views.
_CONTRACTION = re.compile(
    r"(mm|mv|gemm|matmul|conv|convolution|conv\w*[123]d|rnn|lstm|gru|attention|cdist|pdist|euclidean_dist|"
    r"solve|cholesky|svd|eig|qr|geqrf|inverse|tensordot|linear|trilinear)(_|\d|$)|"
    r"(^|_)(fft|linalg|conv|lstm|gru|rnn|linear)_"
)

# Names that look like a contraction but are not: interpolations, norms, checks, layout changes, gates after the
# product.
_NONE = re.compile(
    r"^_?upsample|vector_norm|powsum|linalg_cross|linalg_diagonal|linalg_vander|check_errors|fftfreq|fftshift|"
    r"slice_inverse|resolve_|_convert_|flatten_weight|reorder|pack$|_thnn_"
)


def formula(operator: Any) -> Formula | None:
    """The function that gives an operator's FLOPs from (*arguments, out_val=result, **named); None if unknown."""
    packet = operator._overloadpacket
    if packet in flop_counter.flop_registry:
        return flop_counter.flop_registry[packet]  # type: ignore[no-any-return]
    if operator.namespace != "aten":
        return None
    name = packet.__name__.removesuffix("_")  # the in-place variant computes the same
    return _OWN.get(name) or flop_counter.flop_registry.get(getattr(aten, name, None))


def computes(operator: Any) -> bool:
    """Whether an operator without a formula may do contractions: its FLOPs are unknown then, not zero."""
    if operator.namespace != "aten":
        return operator.namespace not in ("prim", "prims", "profiler", "inductor", "c10d")
    name = operator._overloadpacket.__name__
    return _CONTRACTION.search(name) is not None and _NONE.search(name) is None
