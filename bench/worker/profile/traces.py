"""Files of a profile: a Chrome trace with stages and phases as ranges, and stacks for a flame graph.

A trace is kept compressed and below a cap, without the host's name. Where it cannot be kept, for its size or
for want of room, the launch goes on and says why.
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
from typing import TYPE_CHECKING, Any

from ...system.paths import HARNESS
from ..marks import Mark, number_of

if TYPE_CHECKING:
    from .profiler import ProfileOptions

# Frames of Epochbench, which stand between every two of the user's.
_UNSHOWN = ("bench/", HARNESS + os.sep)
# Frames of the profiler and of what puts its marks: what they call is no more the user's than they are.
_SILENT = re.compile(
    r"torch/autograd/profiler\.py|torch/profiler/|(.*/)?bench/worker/(marks|profiler)\.py\(\d+\): "
    r"(?!(profiled|profile_of|fitted)$)"
)
_PHASE = ": "  # between stage and phase in the name of a range
_UNKEPT = ("traceEvents", "traceName", "host_name")  # of what a raw trace holds
_STACKED = ("python_function", "cpu_op", "user_annotation")


@dataclass(frozen=True)
class SavedTrace:
    """The files, by their names in the run folder; empty where there is none, and then why."""

    trace: str = ""
    stacks: str = ""
    omitted: str = ""


def keep(profiler: Any, marks: Sequence[Mark], wishes: ProfileOptions) -> SavedTrace:
    """Writes what was asked for. A file that cannot be kept is `omitted`, never an error."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            raw = Path(scratch) / "trace.json"
            profiler.export_chrome_trace(str(raw))
            trace = json.loads(raw.read_bytes())
        wishes.folder.mkdir(exist_ok=True)
        if wishes.stacks:
            path = wishes.folder / f"{wishes.name}.stacks.txt"
            lines = [f"{';'.join(stack)} {value}\n" for stack, value in folded(trace, marks).items()]
            write(path, "".join(lines).encode(errors="replace"), wishes.cap)
            return SavedTrace(stacks=f"{wishes.folder.name}/{path.name}")
        path = wishes.folder / f"{wishes.name}.json.gz"
        data = json.dumps(cleaned(trace, marks), separators=(",", ":")).encode()
        write(path, gzip.compress(data, 6, mtime=0), wishes.cap)
        return SavedTrace(trace=f"{wishes.folder.name}/{path.name}")
    except TooLarge as problem:
        return SavedTrace(omitted=str(problem))
    except OSError as problem:
        return SavedTrace(omitted=f"it cannot be written: {problem.strerror or problem}")
    except ValueError as problem:  # cut off where the temporary folder is full
        return SavedTrace(omitted=f"what the profiler wrote cannot be read: {problem}")


class TooLarge(Exception):
    """A file is above the cap."""


def write(path: Path, data: bytes, cap: int) -> None:
    """Raises TooLarge, or OSError and then leaves no half of a file."""
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
    """The trace without marks and the host's name, with a range for each stage and phase in the marks' place."""
    events = [event for event in trace.get("traceEvents", []) if number_of(str(event.get("name"))) is None]
    about = {name: value for name, value in trace.items() if name not in _UNKEPT}
    host = os.uname().nodename
    if host and host in json.dumps([events, about], ensure_ascii=False):
        events = [
            {key: nameless(value, host) if key in ("name", "args") else value for key, value in event.items()}
            for event in events
        ]
        about = {name: nameless(value, host) for name, value in about.items()}
    return {**about, "traceEvents": [*events, *ranges(trace, marks)]}


def nameless(value: Any, host: str) -> Any:
    """The same with "(host)" where the host's name stood as a word: a host may be called "vm", and vmap is not it."""
    if isinstance(value, str):
        return (
            re.sub(rf"(?<!\w){re.escape(host)}(?!\w)", "(host)", value) if host and host in value else value
        )
    if isinstance(value, dict):
        return {nameless(key, host): nameless(inner, host) for key, inner in value.items()}
    return [nameless(inner, host) for inner in value] if isinstance(value, list) else value


def ranges(trace: dict[str, Any], marks: Sequence[Mark]) -> Iterator[dict[str, Any]]:
    """Stages and phases as events of the trace, on the thread that ran them."""
    cuts = cuts_of(trace, marks)
    began: dict[str, Any] = {}
    stage_began: tuple[str, float] | None = None
    for before, after in pairwise(cuts):
        mark, start, end = after["mark"], before["ts"] + before["dur"], after["ts"]
        began = {"ph": "X", "cat": "user_annotation", "pid": after["pid"], "tid": after["tid"]}
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
        end = cuts[-1]["ts"] + cuts[-1]["dur"]
        yield {**began, "name": stage_began[0], "ts": stage_began[1], "dur": end - stage_began[1]}


def cuts_of(trace: dict[str, Any], marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """The marks in the trace in order of time, each with its Mark; on a device's track they are not looked at."""
    found = {}
    for event in trace.get("traceEvents", []):
        number = number_of(str(event.get("name")))
        if number is not None and event.get("ph") == "X" and event.get("cat") == "user_annotation":
            found[number] = {**event, "mark": marks[number]}
    return [found[number] for number in sorted(found, key=lambda one: found[one]["ts"])]


def folded(trace: dict[str, Any], marks: Sequence[Mark]) -> dict[tuple[str, ...], int]:
    """Microseconds of each stack, outermost frame first: stage, phase, then Python's frames and operators.

    Epochbench's own frames are left out: they are between every two of the user's. So are the profiler's, with
    all that they call.
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
    carried: list[_Frame] = []  # that began in an earlier phase of the stage and go on
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
    """A stretch of microseconds of one name; of none where neither it nor what it calls is shown."""

    start: float
    end: float
    name: str


def nested(frames: Sequence[_Frame], start: float, end: float) -> dict[tuple[str, ...], float]:
    """The time from start to end by the stack that ran; frames are in the order in which they began."""
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

    Empty for one that is silent.
    """
    if _SILENT.match(name):
        return ""
    name = nameless(re.sub(r" (object )?at 0x[0-9a-f]+", "", name), host).replace(";", ",")
    return " ".join(name.split()) or "(nameless)"
