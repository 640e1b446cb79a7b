"""One launch: the request to a worker, and the record of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ..machine.telemetry import Readings
from ..measurement import COUNTED, PROFILED, SEARCHED, STACKED, Failure, Measurement
from ..measurement.messages import LaunchRequest, ProfileOptions
from ..suite.case import COUNT_THREADS, SCRIPT_COUNT_THREADS
from ..system.paths import file_name
from ..system.text import last_line
from .fork_server import STARVED, Died, TimedOut
from .plan import Job, Plan, Record
from .workers import RequestRunner


class Watch(Protocol):
    """Watches a launch from outside, as `machine/telemetry.py` does."""

    def watch(self, pid: int, device: str, variables: Mapping[str, str]) -> None: ...
    def end(self, loop: tuple[float, float] | None) -> Readings: ...


def launch(
    workers: RequestRunner, plan: Plan, job: Job, watch: Watch | None = None, threads: int | None = None
) -> Record:
    """The record of one launch: what it reported, or the Failure for how it ended, with telemetry.

    `threads` defaults to that of the workers, or of all counts launches.
    """
    counting = COUNT_THREADS if plan.script is None else SCRIPT_COUNT_THREADS
    standard = counting if job.kind == COUNTED else workers.conditions.threads
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    log = f"{file_name(job.case.id)}.{job.kind}.{job.round}.log"
    request = LaunchRequest(
        case=job.case,
        kind=job.kind,
        round=job.round,
        position=job.position,
        suite_file=Path(plan.files[job.case.suite]),
        conditions=dataclasses.replace(workers.conditions, threads=threads or standard),
        seed=plan.schedule.seed,
        idle=tuple(plan.idle.get(job.case.suite, ())),
        script=plan.script,
        slowdown=plan.slowdown,
        memory_limit=plan.memory_limit if job.kind == SEARCHED else None,
        graph=plan.untimed.graph and job.kind == COUNTED,
        profile=_profile(plan, job) if job.kind in (PROFILED, STACKED) else None,
    )
    record: Record
    loop: tuple[float, float] | None = None
    variables = dict(workers.variables)
    if plan.script is not None:
        variables |= plan.script.variables(job.case)

    def began(pid: int) -> None:
        if watch is not None:
            watch.watch(pid, job.case.device, variables)

    try:
        answer = workers.ask(request, log, plan.schedule.timeout, began)
        if "failure" in answer:
            record = _explained(Failure.from_json(answer["failure"]), answer["starved"])
        else:
            record, loop = Measurement.from_json(answer["measurement"]), answer["loop"]
    except (Died, TimedOut) as end:
        failure, message = _failure_of(end, plan.schedule.timeout)
        detail = f"logs/{log}" + (f"\n\nThe end of its log:\n{end.log}" if end.log else "")
        record = Failure(
            job.case, job.kind, job.round, job.position, 0, started, failure, message, detail=detail
        )
    if watch is None:
        return record
    seen = watch.end(loop)
    if isinstance(record, Measurement):
        record = dataclasses.replace(record, guards={**record.guards, **seen.guards})
    return dataclasses.replace(record, telemetry=seen.telemetry)


def _profile(plan: Plan, job: Job) -> ProfileOptions:
    return ProfileOptions(
        folder=(plan.traces or Path()).absolute(),
        name=file_name(job.case.id),
        steps=plan.untimed.profile_steps,
        stacks=job.kind == STACKED,
        cap=plan.untimed.trace_cap,
    )


def _explained(failure: Failure, starved: bool) -> Failure:
    """The failure of a launch in which a process, such as a loader worker, was killed because memory ran out."""
    if not starved or failure.failure == "out_of_memory":
        return failure
    message = f"{failure.message}; {STARVED}"
    return dataclasses.replace(failure, failure="out_of_memory", message=message)


def _failure_of(end: Died | TimedOut, timeout: float) -> tuple[str, str]:
    """The kind of failure and its message."""
    if isinstance(end, TimedOut):
        last = last_line(end.log)
        log = f"; its log ends: {last}" if last else ""
        return "timeout", f"no result within {timeout:g} s, killed; give it longer with --timeout{log}"
    if end.is_out_of_memory:
        return "out_of_memory", str(end)
    return "crash", str(end) if end.status < 0 else f"{end} and no result"
