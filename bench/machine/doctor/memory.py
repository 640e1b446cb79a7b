"""Free memory, its layout, and the allocator."""

from __future__ import annotations

from .scene import Finding, Scene, notice, ok, unknown, warning

_FULL = 0.9  # of a limit: above it the kernel reclaims memory while the loop runs
_LOW = 0.1
_NO_RANDOMIZE = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc", "snmalloc")
_PRELOADS = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES")

# Of a control group: its limit, the memory used, and what of that is inactive cached files.
LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def limit(scene: Scene) -> Finding:
    """Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high) and cgroup-v1/memory.rst.

    Inactive cached files do not count: the kernel frees them at once.
    """
    found: list[tuple[float, float]] = []
    for group in scene.groups("memory"):
        for file, used, cached in LIMITS:
            most = scene.number(group / file)  # None for `max`
            if most is not None and most < 2**60:  # version 1 writes a huge number for no limit
                idle = scene.counts(group / "memory.stat").get(cached, 0)
                found.append((most, max(0.0, (scene.number(group / used) or 0.0) - idle)))
    if not found:
        return ok("none")
    most, taken = min(found)
    state = f"{_bytes(most)}, of which {_bytes(taken)} are in use"
    if taken > _FULL * most:
        return warning(state, "Raise it (--memory of docker run), or end other processes in the container.")
    return ok(state)


def free(scene: Scene) -> Finding:
    """proc(5), MemAvailable of meminfo, as psutil reads it."""
    whole, available = scene.facts.memory, scene.facts.available
    if not whole or available is None:
        return unknown("not reported by this system")
    found = f"{_bytes(available)} of {_bytes(whole)}"
    if available < _LOW * whole:
        return warning(found, "End the processes that fill the memory.")
    return ok(found)


def swap(scene: Scene) -> Finding:
    """proc(5), swaps and meminfo, as psutil reads them."""
    whole, used = scene.facts.swap, scene.facts.swapped
    if whole is None or used is None:
        return unknown("not reported by this system")
    if used:
        emptied = ", then empty it: `sudo swapoff -a && sudo swapon -a`" if scene.is_linux else "."
        return warning(
            f"{_bytes(used)} of {_bytes(whole)} in use", f"End the processes that fill the memory{emptied}"
        )
    return ok(f"{_bytes(whole)}, none in use" if whole else "none")


def huge_pages(scene: Scene) -> Finding:
    """Documentation/admin-guide/mm/transhuge.rst.

    With `always`, the blocks that get huge pages depend on how fragmented memory is, and khugepaged merges pages while
    the loop runs, so launches differ. But they are also faster, so the setting is right if the model will run with it:
    a notice. With `madvise` no block of torch or the C library has them unless requested.
    """
    file = "sys/kernel/mm/transparent_hugepage/enabled"
    chosen = next((word.strip("[]") for word in scene.read(file).split() if word.startswith("[")), "")
    if not chosen:
        return unknown()
    if chosen != "always":
        return ok(chosen)
    return notice(
        "always: which blocks get them depends on how fragmented memory is",
        f"Unless the model will run with them too, until the next boot: `echo madvise | sudo tee /{file}`",
    )


def layout(scene: Scene) -> Finding:
    """Documentation/admin-guide/sysctl/kernel.rst (randomize_va_space) and personality(2).

    The harness relies on random layouts, one for each round. With a fixed one all launches share what may be a
    lucky layout, and intervals do not show it.
    """
    file = "proc/sys/kernel/randomize_va_space"
    setting, fixed = scene.read(file), "the same in all launches ({}): intervals do not cover its effect"
    if not setting:
        return unknown()
    if int(scene.read("proc/self/personality") or "0", 16) & _NO_RANDOMIZE:
        remedy = "Start bench without setarch -R, and not from a debugger."
        return notice(fixed.format("personality"), remedy)
    if setting == "2":
        return ok("random: intervals cover its effect, since each round has its own")
    remedy = f"Until the next boot: `echo 2 | sudo tee /{file}`"
    return notice(("" if setting == "0" else "the heap is ") + fixed.format(setting), remedy)


def allocator(scene: Scene) -> list[Finding]:
    """mallopt(3) for the variables, ld.so(8) for preloads; pinning overrides neither."""
    environ = scene.environ
    preloads = [(name, environ.get(name, ""), _unset(name)) for name in _PRELOADS]
    preloads.append(("the system", scene.read("etc/ld.so.preload"), "Remove it from /etc/ld.so.preload."))
    found = [
        notice(f"{place} preloads {other}: pinning does not affect it", remedy)
        for place, text, remedy in preloads
        for other in _ALLOCATORS
        if other in text
    ]
    found += [
        notice(f"{name}={environ[name]}: the allocator does not have its defaults", _unset(name))
        for name in sorted(environ)
        if name.startswith("MALLOC_") or (name == "GLIBC_TUNABLES" and "glibc.malloc" in environ[name])
    ]
    if scene.conditions.allocator != "pinned":
        found.append(notice("not pinned: launches differ more", "Leave out --allocator system."))
    elif not scene.facts.mallopt:
        remedy = "Give more launches: --launches 12."
        found.append(notice("cannot be pinned: this C library is not glibc", remedy))
    return found or [ok("pinned")]


def _unset(name: str) -> str:
    return f"Unless the model will run like this: `unset {name}`"


def _bytes(number: float) -> str:
    for step, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number:.0f} B"
