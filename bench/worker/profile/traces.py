"""Files of a profile: a Chrome trace with stages and phases as ranges, and stacks for a flame graph.

A trace is stored compressed and below a cap, without the host's name. If it cannot be stored, because it is too large
or the disk is full, the launch continues and reports why.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from ...measurement.messages import ProfileOptions
from ...system.paths import HARNESS
from ..marks import Mark, marks_in_trace, number_of

# Frames of Epochbench, which lie between frames of the user's code.
_UNSHOWN = ("bench/", HARNESS + os.sep)
# Frames of the profiler and of the code that records marks: they and their calls are not user code.
_SILENT = re.compile(
    r"torch/autograd/profiler\.py|torch/profiler/|(.*/)?bench/worker/(marks|profile/profiler)\.py\(\d+\): "
    r"(?!(profiled|profile_of|fitted)$)"
)
_PHASE = ": "  # between stage and phase in the name of a range
_DROPPED = ("traceEvents", "traceName", "host_name")  # of the parts of a raw trace
_STACKED = ("python_function", "cpu_op", "user_annotation")


def save(profiler: Any, marks: Sequence[Mark], options: ProfileOptions) -> dict[str, str]:
    """Writes the trace, or the stacks if requested; returns the field of the Profile with its path in the run folder.

    A file that cannot be stored is never an error: the field is then `omitted`, with the reason.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            raw = Path(scratch) / "trace.json"
            profiler.export_chrome_trace(str(raw))
            trace = json.loads(raw.read_bytes())
        options.folder.mkdir(exist_ok=True)
        if options.stacks:
            path = options.folder / f"{options.name}.stacks.txt"
            lines = [f"{';'.join(stack)} {value}\n" for stack, value in folded(trace, marks).items()]
            write(path, "".join(lines).encode(errors="replace"), options.cap)
            return {"stacks": f"{options.folder.name}/{path.name}"}
        path = options.folder / f"{options.name}.json.gz"
        data = json.dumps(cleaned(trace, marks), separators=(",", ":")).encode()
        write(path, gzip.compress(data, 6, mtime=0), options.cap)
        return {"trace": f"{options.folder.name}/{path.name}"}
    except TooLarge as problem:
        return {"omitted": str(problem)}
    except OSError as problem:
        return {"omitted": f"it cannot be written: {problem.strerror or problem}"}
    except ValueError as problem:  # truncated, since the temporary folder is full
        return {"omitted": f"what the profiler wrote cannot be read: {problem}"}


class TooLarge(Exception):
    """A file is above the cap."""


def write(path: Path, data: bytes, cap: int) -> None:
    """Writes a file or nothing. Raises TooLarge, or OSError."""
    if len(data) > cap:
        raise TooLarge(
            f"it has {len(data) / 1e6:.1f} MB, above the cap of {cap / 1e6:.1f} MB; "
            f"profile fewer steps with --profile-steps, or raise --trace-cap"
        )
    try:
        path.write_bytes(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def cleaned(trace: dict[str, Any], marks: Sequence[Mark]) -> dict[str, Any]:
    """The trace without the host's name, with a range for each stage and phase instead of the marks."""
    events = [event for event in trace.get("traceEvents", []) if number_of(str(event.get("name"))) is None]
    about = {name: value for name, value in trace.items() if name not in _DROPPED}
    host = os.uname().nodename
    if host and host in json.dumps([events, about], ensure_ascii=False):
        events = [
            {key: nameless(value, host) if key in ("name", "args") else value for key, value in event.items()}
            for event in events
        ]
        about = {name: nameless(value, host) for name, value in about.items()}
    return {**about, "traceEvents": [*events, *ranges(trace, marks)]}


def nameless(value: Any, host: str) -> Any:
    """The value with "(host)" instead of the host's name as a whole word: for a host "vm", vmap stays."""
    if isinstance(value, str):
        return (
            re.sub(rf"(?<!\w){re.escape(host)}(?!\w)", "(host)", value) if host and host in value else value
        )
    if isinstance(value, dict):
        return {nameless(key, host): nameless(inner, host) for key, inner in value.items()}
    return [nameless(inner, host) for inner in value] if isinstance(value, list) else value


def ranges(trace: dict[str, Any], marks: Sequence[Mark]) -> Iterator[dict[str, Any]]:
    """Stages and phases as events of the trace, on the thread that ran them."""
    recorded = marks_in_trace(trace.get("traceEvents", []), marks)
    began: dict[str, Any] = {}
    stage_began: tuple[str, float] | None = None
    for before, after in pairwise(recorded):
        mark, start, end = after.mark, before.end, after.start
        began = {"ph": "X", "cat": "user_annotation", "pid": after.thread[0], "tid": after.thread[1]}
        if stage_began is not None and mark.stage != stage_began[0]:
            yield {**began, "name": stage_began[0], "ts": stage_began[1], "dur": start - stage_began[1]}
            stage_began = None
        if not mark.stage:
            continue
        stage_began = stage_began or (mark.stage, start)
        yield {
            **began,
            "name": f"{mark.stage}{_PHASE}{mark.phase}",
            "ts": start,
            "dur": max(0.0, end - start),
        }
    if stage_began is not None:
        yield {
            **began,
            "name": stage_began[0],
            "ts": stage_began[1],
            "dur": recorded[-1].end - stage_began[1],
        }


def folded(trace: dict[str, Any], marks: Sequence[Mark]) -> dict[tuple[str, ...], int]:
    """Microseconds of each stack, outermost frame first: stage, phase, then Python's frames and operators.

    Frames of Epochbench are removed, and so are those of the profiler with all their calls.
    """
    phases = [event for event in ranges(trace, marks) if _PHASE in event["name"]]
    threads = {(event["pid"], event["tid"]) for event in phases}
    spelled = functools.cache(functools.partial(_spelled, host=os.uname().nodename))
    events = sorted(
        (
            _Frame(event["ts"], event["ts"] + event["dur"], spelled(str(event["name"])))
            for event in trace.get("traceEvents", [])
            if event.get("ph") == "X" and event.get("cat") in _STACKED and _is_frame(event, threads)
        ),
        key=lambda frame: (frame.start, -frame.end),
    )
    found: dict[tuple[str, ...], float] = {}
    carried: list[_Frame] = []  # began in an earlier phase of the stage and continue
    place, stage = 0, ""
    for phase in sorted(phases, key=lambda event: event["ts"]):
        start, end = phase["ts"], phase["ts"] + phase["dur"]
        names = phase["name"].split(_PHASE, 1)
        if names[0] != stage:
            stage, carried = names[0], [frame for frame in carried if not frame.name]
        while place < len(events) and events[place].start < start:
            if not events[place].name:
                carried.append(events[place])
            place += 1
        inside = [frame for frame in carried if frame.end > start]
        while place < len(events) and events[place].start < end:
            inside.append(events[place])
            place += 1
        carried = [frame for frame in inside if frame.end > end]
        for stack, value in nested(inside, start, end).items():
            found[(*names, *stack)] = found.get((*names, *stack), 0.0) + value
    return {stack: round(value) for stack, value in found.items() if round(value) > 0}


@dataclass(frozen=True)
class _Frame:
    """A call, in microseconds. An empty name hides it and its calls."""

    start: float
    end: float
    name: str


def nested(frames: Sequence[_Frame], start: float, end: float) -> dict[tuple[str, ...], float]:
    """The time from start to end by stack; frames are ordered by their start."""
    found: dict[tuple[str, ...], float] = {}
    stack: list[_Frame] = []
    now = start

    def until(moment: float) -> None:
        nonlocal now
        if moment > now:
            names = tuple(takewhile(bool, (frame.name for frame in stack)))
            found[names] = found.get(names, 0.0) + moment - now
            now = moment

    for frame in frames:
        while stack and stack[-1].end <= frame.start:
            until(min(stack[-1].end, end))
            stack.pop()
        until(max(frame.start, start))
        stack.append(frame)
    while stack:
        until(min(stack[-1].end, end))
        stack.pop()
    until(end)
    return found


def _is_frame(event: Mapping[str, Any], threads: set[tuple[Any, Any]]) -> bool:
    name = str(event["name"])
    if number_of(name) is not None or name.startswith("ProfilerStep#"):
        return False
    shown = not name.startswith(_UNSHOWN) or _SILENT.match(name) is not None
    return shown and (event["pid"], event["tid"]) in threads


def _spelled(name: str, host: str) -> str:
    """A frame's name as a folded stack can hold it, the same in every launch: without addresses.

    Empty for a frame that is not shown.
    """
    if _SILENT.match(name):
        return ""
    name = nameless(re.sub(r" (object )?at 0x[0-9a-f]+", "", name), host).replace(";", ",")
    return " ".join(name.split()) or "(nameless)"
