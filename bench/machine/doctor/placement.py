"""The processors of launches, and their quota of processor time."""

from __future__ import annotations

from ...plurals import counted
from ...system.kernel import expand_ranges
from .scene import CPU, Finding, Scene, notice, ok, unknown, warning


def siblings(scene: Scene) -> Finding:
    """Documentation/ABI/testing/sysfs-devices-system-cpu: smt/active and smt/control."""
    active = scene.read(f"{CPU}/smt/active")
    if not active:
        return unknown()
    if active == "0":
        return ok("off or not visible")
    remedy = (
        f"Run nothing else or, until the next boot, switch SMT off: `echo off | sudo tee /{CPU}/smt/control`"
    )
    if not scene.conditions.cpus:
        return notice("on: launches are not pinned, and two threads may share a core", remedy)
    return notice("on: launches use one thread of each core, other processes may run on its sibling", remedy)


def isolated(scene: Scene) -> Finding:
    """Documentation/admin-guide/kernel-parameters.txt: isolcpus takes processors out of load balancing.

    Threads are not distributed over isolated processors: all stay where they started.
    """
    text = scene.read(f"{CPU}/isolated")
    if not text:
        return ok("none")
    ours = len(set(expand_ranges(text)) & set(scene.conditions.cpus))
    if ours > 1 and scene.conditions.threads > 1:
        return warning(
            f"{text}, and launches use {ours} of them: the kernel does not spread threads over them",
            "Give --threads 1, or isolate processors by a cpuset partition instead of isolcpus.",
        )
    return ok(f"{text}; launches use {ours or 'none'} of them")


def nodes(scene: Scene) -> Finding:
    """Documentation/admin-guide/mm/numaperf.rst: memory of another node is slower."""
    cpus = {
        folder.rpartition("/node")[2]: set(expand_ranges(scene.read(f"{folder}/cpulist")))
        for folder in scene.entries("sys/devices/system/node", "node")
    }
    ours = {
        name: len(held & set(scene.cpus)) for name, held in cpus.items() if held
    }  # a node may have only memory
    used = [name for name, number in ours.items() if number]
    if not used:
        return unknown()
    if len(ours) == 1:
        return ok("one")
    if len(used) == 1:
        return ok(f"{len(ours)}; launches use only node {used[0]}")
    best = max(used, key=lambda name: ours[name])
    return notice(
        f"launches use {len(used)} nodes: memory is near to some threads and far from others",
        f"Stay on one node: `numactl --cpunodebind={best} --membind={best} bench run`",
    )


def quota(scene: Scene) -> Finding:
    """Documentation/scheduler/sched-bwc.rst: a group that has used up its time is stopped until the period ends."""
    limit = scene.quota
    if limit is None:
        return ok("none")
    found = f"{limit.processors:g} processors' worth in each {limit.period / 1000:g} ms"
    stat = scene.counts(limit.group / "cpu.stat")
    stopped = stat.get("nr_throttled", 0)
    if not stopped and limit.processors >= len(scene.cpus):
        return ok(f"{found}, more than launches can use")
    lost = stat.get("throttled_usec", 0) / 1e6 or stat.get("throttled_time", 0) / 1e9
    past = f"in {stopped:,} of {stat.get('nr_periods', 0):,} periods, {lost:,.1f} s in all"
    return notice(
        f"{found}; stopped {past if stopped else 'never yet'}",
        "Give the container whole processors instead of a quota: --cpuset-cpus of docker run, "
        "the static CPU manager policy of Kubernetes.",
    )


def threads(scene: Scene) -> Finding:
    """Threads requested, against processors and quota."""
    wanted, cores, limit = scene.conditions.threads, len(scene.cpus), scene.quota
    found = f"{counted(wanted, 'thread')} on {counted(cores, 'processor')}"
    if wanted > cores:
        return warning(f"{found}: they wait for each other", f"Give --threads {cores}.")
    if limit is not None and wanted > limit.processors:
        fitting = int(limit.processors)
        return warning(
            f"{found}, but a quota of {limit.processors:g}: launches are stopped again and again",
            f"Give --threads {fitting}." if fitting else "Allow it a whole processor.",
        )
    return ok(found)
