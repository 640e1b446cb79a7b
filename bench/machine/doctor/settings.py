"""Environment variables that libraries read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .scene import Finding, Scene, notice, ok, warning


@dataclass(frozen=True)
class _Setting:
    """Variables with one effect, and what to do instead of setting them.

    `matters` returns whether a value, in lower case, affects launches with this number of threads.
    """

    names: tuple[str, ...]
    finding: Callable[[str, str], Finding]
    effect: str
    instead: str
    matters: Callable[[str, int], bool] = lambda *_: True


_AS_MODEL = "Unless the model will run like this"

_OPENMP = (
    _Setting(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        notice,
        "ignored, since --threads decides",
        "Give it as --threads, or",
        lambda value, threads: value != str(threads),
    ),
    _Setting(
        ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_HW_SUBSET"),
        warning,
        "OpenMP binds threads regardless of the processors that a launch was given",
        "Leave it to the harness",
        lambda value, _: not any(word in value for word in ("false", "none", "disabled")),
    ),
    _Setting(
        ("OMP_WAIT_POLICY",),
        notice,
        "threads sleep between operations, which makes short steps slow",
        _AS_MODEL,
        lambda value, _: value == "passive",
    ),
    _Setting(
        ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"), notice, "sets how long threads wait before they sleep", _AS_MODEL
    ),
    _Setting(
        ("OMP_THREAD_LIMIT",),
        warning,
        "fewer threads work than launches report",
        "Let --threads decide",
        lambda value, threads: value.isdecimal() and int(value) < threads,
    ),
    _Setting(
        ("OMP_DYNAMIC",),
        warning,
        "how many threads work depends on the load",
        "Let --threads decide",
        lambda value, _: value in ("true", "1"),
    ),
)

_TORCH = (
    _Setting(
        ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"),
        notice,
        "the device allocator does not have its defaults",
        "Set it in all runs that are compared, or",
    ),
    _Setting(
        ("PYTORCH_NO_CUDA_MEMORY_CACHING",),  # set at all, to any value
        warning,
        "each block is allocated by the driver",
        "It is for debugging",
    ),
    _Setting(
        ("CUDA_LAUNCH_BLOCKING",),
        warning,
        "each operation waits for the one before it",
        "It is for debugging",
        lambda value, _: value != "0",
    ),
)


def openmp(scene: Scene) -> list[Finding]:
    """The OpenMP specification, chapter Environment Variables; the manuals of libgomp and of Intel's OpenMP.

    A launch is restricted to one processor per core once its libraries are loaded; threads that OpenMP binds go where
    the process was allowed to run before. With OMP_PROC_BIND=false only Intel's own variables bind.
    """
    bound = scene.environ.get("OMP_PROC_BIND", "").strip().lower() != "false"
    return _findings_about(scene, _OPENMP, () if bound else ("OMP_PLACES", "GOMP_CPU_AFFINITY"))


def torch(scene: Scene) -> list[Finding]:
    """The notes of PyTorch: CUDA semantics, and CUDA environment variables."""
    return _findings_about(scene, _TORCH)


def _findings_about(scene: Scene, settings: Iterable[_Setting], void: Iterable[str] = ()) -> list[Finding]:
    """A finding for each variable that matters; `void` ones are ignored."""
    values = {name: value.strip().lower() for name, value in scene.environ.items() if name not in void}
    findings = [
        setting.finding(
            f"{name}={scene.environ[name]}: {setting.effect}", f"{setting.instead}: `unset {name}`"
        )
        for setting in settings
        for name in setting.names
        if values.get(name) and setting.matters(values[name], scene.conditions.threads)
    ]
    return findings or [ok("none that affects launches")]
