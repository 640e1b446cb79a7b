"""The text of each caveat: its meaning under the settings of the run, and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run on which texts depend, with defaults for those that the run does not record."""

    threads: int = 2
    allocator: str = "pinned"
    tolerance: float = 0.02
    max_launches: int = 20
    has_budget: bool = False
    governor: str = ""
    unread: tuple[str, ...] = ()  # axes that launches did not use


def _unsettled(settings: RunSettings) -> str:
    more = (
        "a longer --time-budget" if settings.has_budget else f"--max-launches above {settings.max_launches}"
    )
    return (
        f"an interval is wider than ±{settings.tolerance * 100:.3g} %: a quieter machine or {more} narrows it"
    )


def _contaminated(settings: RunSettings) -> str:
    return f"most of its launches were contaminated, so all are used: {_quieter(settings)}"


def _machine_busy(settings: RunSettings) -> str:
    return f"other processes ran on the processors of the launches: {_quieter(settings)}"


def _quieter(settings: RunSettings) -> str:
    if settings.threads > 1:
        return "end other processes, or leave them a processor with --threads 1"
    return "end other processes; --threads is 1 already"


def _page_faults(settings: RunSettings) -> str:
    if settings.allocator == "pinned":
        return (
            "the kernel maps memory while the loop runs although the allocator is pinned: "
            "it is the data's or a library's own (memory-mapped files, loader workers)"
        )
    return "the kernel maps memory again in every step: --allocator pinned keeps it mapped"


def _clock_changed(settings: RunSettings) -> str:
    if settings.governor in ("powersave", "ondemand", "schedutil", "conservative"):
        return f"the clock changed during launches (governor {settings.governor}): set the governor to performance"
    return "the clock changed during launches: see bench doctor for how to keep it constant here"


def _axis_not_read(settings: RunSettings) -> str:
    names = ", ".join(settings.unread)
    which = f" ({names})" if names else ""
    return (
        f"the suite does not use an axis that it declares{which}, so cases that differ only in that axis measure the "
        f"same thing: let build read it from the case, or remove it from the suite"
    )


# Those that depend on settings are functions of them.
TEXTS: Mapping[str, str | Callable[[RunSettings], str]] = {
    "unsettled": _unsettled,
    "contaminated": _contaminated,
    "machine_busy": _machine_busy,
    "page_faults": _page_faults,
    "clock_changed": _clock_changed,
    "axis_not_read": _axis_not_read,
    "few_launches": "too few launches for a 95 % interval: give --launches 6 or more, or a longer --time-budget",
    "launches_failed": "some of its launches failed: see the failures",
    "never_settled": "the steps of most launches get faster or slower to their end: give the launch more epochs, "
    "or find out what grows (memory, a cache, heat)",
    "long_warmup": "start-up took more than half of the epochs, so few epochs are used: give more epochs",
    "gc_pauses": "Python's garbage collector takes a share of the loop: keep fewer objects alive, or call "
    "gc.freeze() in setup",
    "coarse_clock": "the clock is too coarse for a step as short as this: give a larger batch",
    "gpu_power_capped": "the device ran at its power limit, which moves its clock: compare with runs at the same limit",
    "spawned": "launches were spawned, not forked: each imports all packages, so that fewer fit into the same time",
    "allocator_unpinned": "the allocator could not be pinned here (no glibc): expect more noise between launches",
    "compiled_late": "torch.compile still compiled in the measured epochs, so that its time is in theirs: give more "
    "epochs, or batches of one size",
    "compile_cache_mixed": "the cache of torch.compile was cold in some launches and warm in others: compile.time is "
    "the median over both; run again for a warm one, or with TORCHINDUCTOR_FORCE_DISABLE_CACHES=1 for a cold one",
    "work_differs": "a stage did not do the same work in each epoch or launch: its times are not comparable",
    "parameters_not_moved": "training moved no parameter: check the optimizer and the learning rate",
    "weights_moved_in_evaluation": "evaluation changed weights or statistics: is a module left in training mode?",
    "samples_unlike_data": "the batches of an epoch have more or fewer samples than the data set gives, so that "
    "throughput and mean losses may be wrong: give Task(samples=function of a batch), in a script "
    "epochbench.watch(loader, samples=...)",
    "streams_not_waited_for": "when a stage ended, other streams worked on for more than 5 % of its time: steps do not "
    "wait for that work, so that their times miss it; read epoch.time, or let the step wait for the stream",
    "graph_unexpected": "autograd recorded a graph where the mode forbids one, or did not record one where it should",
    "samples_unknown": "it is not known how many samples its steps have, so there is no throughput: give "
    "epochbench.watch(loader, samples=...) a number, or a function of the batch",
    "forward_unseen": "no call of a module was seen in some of its passes, so their forward pass is in the phase "
    "other: call the module itself, model(inputs) and not model.forward(inputs)",
    "pass_not_recognised": "a pass over a loader was not there in the first brief run of the script, so it is in no "
    "stage: mark the loops with epochbench.watch and epochbench.stage",
    "evaluation_unmarked": "in training steps, a trained model was called without autograd, or in "
    "evaluation mode: this time is in the phase other; if it is an evaluation, put around it: "
    'with epochbench.stage("validate"):',
    "loss_scale_unknown": "gradients of several losses are accumulated, and their divisors are unknown, "
    "so there is no training loss: divide each by the number of backward passes, last before .backward()",
    "other_device": "the script's model was on another device than the row has: leave the device out, so that it is "
    "found, or name the right one with --devices NAME",
    "flops_lower_bound": "some of its operators compute but have no FLOP formula: its FLOPs are a lower bound; "
    "register a formula with torch.utils.flop_counter.register_flop_formula",
    "peak_unknown": "the peak of its device is not known in a number format that its steps use, so there is no MFU: "
    "see peaks in environment.json; those of data sheets and measured ones are there",
    "device_not_counted": "kernel launches, copies and waits could not be counted: the profiler recorded no call to "
    "CUDA (CUPTI is missing or not permitted, or the device is not NVIDIA's); allow performance counters for this "
    "user, or start the container with --cap-add SYS_ADMIN",
    "device_not_profiled": "the profiler could not watch the device (CUPTI is missing or not permitted): only the "
    "host was profiled; allow performance counters for this user, or start the container with --cap-add SYS_ADMIN",
    "trace_omitted": "a trace was not kept: see bench show --json, or the launch's record, for the reason; free some "
    "space, profile fewer steps with --profile-steps, or raise --trace-cap",
    "no_full_batch": "no step of its measured epochs had a full batch, so there is no step time",
    "algorithms_by_time": "algorithms were chosen by their time (cudnn.benchmark, max-autotune): kernels and memory "
    "may differ in another launch, so that they are shown and do not gate",
    "target_not_reached": "launches whose validation loss did not reach target_loss have no time to it: give "
    "more epochs, or a target that can be reached",
}


def caveat_text(caveat: str, settings: RunSettings) -> str:
    """One sentence: the meaning of the caveat here, and a remedy."""
    text = TEXTS[caveat]
    return text if isinstance(text, str) else text(settings)
