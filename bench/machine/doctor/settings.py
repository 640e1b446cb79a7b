"""Settings that libraries read from the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .finding import Finding, notice, ok, warning
from .scene import Scene


def _always(*_: object) -> bool:
    return True


@dataclass(frozen=True)
class _Setting:
    """Variables of one effect, and what to do in place of setting them.

    `disturbs` is asked with the value, in lower case, and the threads of a launch.
    """

    names: tuple[str, ...]
    answer: Callable[[str, str], Finding]
    effect: str
    instead: str
    disturbs: Callable[[str, int], bool] = _always


_AS_MODEL = "Unless the model will run so"

_OPENMP = (
    _Setting(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        notice,
        "not used, since --threads decides",
        "If you mean it, give it as --threads, else",
        lambda value, threads: value != str(threads),
    ),
    _Setting(
        ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_HW_SUBSET"),
        warning,
        "OpenMP binds threads, whatever processors a launch was given",
        "Leave that to the harness",
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
        ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"),
        notice,
        "decides how long threads wait before they sleep",
        _AS_MODEL,
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
        "the device allocator is not as it comes",
        "Set it in every run that is compared, or",
    ),
    _Setting(
        ("PYTORCH_NO_CUDA_MEMORY_CACHING",),  # whatever its value is
        warning,
        "each block is taken from the driver anew",
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

    A launch is held to one processor a core once its libraries are loaded; threads that OpenMP binds go
    where the process was allowed before. Where OMP_PROC_BIND is false, nothing is bound but by
    names of Intel's own.
    """
    bound = scene.environ.get("OMP_PROC_BIND", "").strip().lower() != "false"
    return _disturbing(scene, _OPENMP, () if bound else ("OMP_PLACES", "GOMP_CPU_AFFINITY"))


def torch(scene: Scene) -> list[Finding]:
    """The notes of PyTorch: CUDA semantics, and CUDA environment variables."""
    return _disturbing(scene, _TORCH)


def _disturbing(scene: Scene, settings: Iterable[_Setting], void: Iterable[str] = ()) -> list[Finding]:
    """A finding for each variable that disturbs; those that are empty or void do not."""
    values = {name: value.strip().lower() for name, value in scene.environ.items() if name not in void}
    found = [
        setting.answer(
            f"{name}={scene.environ[name]}: {setting.effect}", f"{setting.instead}: `unset {name}`"
        )
        for setting in settings
        for name in setting.names
        if values.get(name) and setting.disturbs(values[name], scene.conditions.threads)
    ]
    return found or [ok("none that disturbs")]
