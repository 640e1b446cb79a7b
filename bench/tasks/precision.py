"""Number formats, memory layout and compilation of a model, by name.

None means torch's default. "bf16" keeps weights and computes in bfloat16; "-autocast" keeps weights in float32 and lets
torch choose the format of each operator, with a GradScaler for float16.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..suite.case import AxisValue, Case

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.amp import GradScaler

    from ..training import Lap, Task

    Step = Callable[[Task, Any, Any, Lap], tuple[Tensor, Tensor]]

AUTOCAST = {"bf16-autocast": "bfloat16", "fp16-autocast": "float16"}  # name -> type in torch

CHOICES: Mapping[str, Collection[AxisValue]] = {
    "precision": (None, "fp32", "tf32", "bf16", *AUTOCAST),
    "memory_format": (None, "channels_last"),
    "compile": (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    "compile_backend": (None, "inductor", "eager", "aot_eager", "cudagraphs"),
}

_CUDA_GRAPHS = ("reduce-overhead", "cudagraphs")


def refusal(case: Case) -> str | None:
    """Why a case cannot have this precision, layout or compilation; None if it can."""
    on_cpu, mode, backend = case.device == "cpu", case.get("compile"), case.get("compile_backend")
    # On other devices inductor runs without graphs, with a line in a log.
    has_graphs = case.device.partition(":")[0] == "cuda"
    if case.get("precision") == "tf32" and (on_cpu or not has_tf32(case.device)):
        return f"tf32 is a format of NVIDIA GPUs, compute capability 8.0 and later; {case.device} has none"
    if case.get("memory_format") is not None and case.get("dataset") == "text":
        return "memory_format=channels_last is for images; dataset text has none"
    if backend is not None and mode is None:
        return "compile_backend has no meaning without compile; compile=default compiles"
    if backend not in (None, "inductor") and mode != "default":
        return f"compile={mode} is a mode of inductor; backend {backend} ignores it"
    for value in (mode, backend):
        if value in _CUDA_GRAPHS and not has_graphs:
            return f"{value} replays CUDA graphs; device {case.device} has none"
    return None


def has_tf32(device: str) -> bool:
    """Whether float32 products can run in TF32: on cards of NVIDIA with compute capability 8.0 and later."""
    import torch  # only if torch is needed

    # An MI300 calls its own version 9.4, which is not a compute capability.
    is_nvidia = device.startswith("cuda") and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


def prepare(case: Case, model: nn.Module) -> None:
    """Converts a model in place to the formats of a case; compilation takes place at its first call."""
    import torch  # in the worker only

    precision, mode = case.get("precision"), case.get("compile")
    if precision in ("fp32", "tf32"):
        # By default, convolutions use TF32 and matrix products do not, so both are set.
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "bf16":
        model.to(torch.bfloat16)
    if case.get("memory_format") == "channels_last":
        model.to(memory_format=torch.channels_last)
    if mode is not None:
        backend = case.get("compile_backend") or "inductor"
        model.compile(backend=backend, **({"mode": mode} if backend == "inductor" else {}))


def step(case: Case) -> Step:
    """The step of a case: inputs in the formats of the model, forward and loss under autocast."""
    import torch

    from ..training import forward_and_loss

    precision, layout = case.get("precision"), case.get("memory_format")
    if precision in (None, "fp32", "tf32") and layout is None:
        return forward_and_loss
    casts_to = torch.bfloat16 if precision == "bf16" else None
    memory_format = torch.channels_last if layout == "channels_last" else torch.preserve_format
    dtype = getattr(torch, AUTOCAST[precision]) if precision in AUTOCAST else None

    def converted(task: Task, inputs: Any, targets: Any, lap: Lap) -> tuple[Tensor, Tensor]:
        if isinstance(inputs, torch.Tensor) and inputs.is_floating_point():
            inputs = inputs.to(casts_to or inputs.dtype, memory_format=memory_format)
        lap("transfer")
        if dtype is None:
            return forward_and_loss(task, inputs, targets, lap)
        with torch.autocast(task.device.type, dtype=dtype):
            return forward_and_loss(task, inputs, targets, lap)

    return converted


def scaler(case: Case) -> GradScaler | None:
    """The scaler for float16, in which small gradients would become zero."""
    if case.get("precision") != "fp16-autocast":
        return None
    from torch.amp import GradScaler

    return GradScaler(case.device.partition(":")[0])
