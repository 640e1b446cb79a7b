"""The parent: which launch comes when. It yields what came back, one record a launch.

A round is one launch of every case that is still in the rotation, in random order, forked from a
nursery of its own: launches of one case never share an address layout. A case leaves the rotation after
a failure with nothing measured, or after its second failure.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.case import AxisValue, Case, Schedule
from bench.measurement import PHASED, TIMED, Failure, Measurement
from bench.nursery import Died, TimedOut, Workers
from bench.suite import Expansion

Record = Measurement | Failure


@dataclass(frozen=True)
class Job:
    """One launch to come: what of, and its place in the run."""

    case: Case
    kind: str
    round: int
    position: int


@dataclass
class Plan:
    """What a run is to measure: the cases with the file of their suite, and the schedule."""

    cases: list[Case]
    files: Mapping[str, str]  # suite name -> file
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def launches(self) -> int:
        """How many launches the whole plan takes."""
        return len(self.cases) * self.schedule.launches + len(self.phase_cases)

    @property
    def phase_cases(self) -> list[Case]:
        """The cases whose phases take a launch of their own: those on a device."""
        return [case for case in self.cases if case.device != "cpu"]

    def to_json(self) -> dict[str, Any]:
        return {
            "cases": [case.to_json() for case in self.cases],
            "files": dict(self.files),
            "schedule": self.schedule.to_json(),
        }


@dataclass(frozen=True)
class SuiteListing:
    """A suite as the worker read it."""

    name: str
    file: str
    expansion: Expansion


def describe(
    workers: Workers, files: Sequence[str], overrides: Mapping[str, Sequence[AxisValue]]
) -> list[SuiteListing]:
    """The suites of these files, expanded for this machine. Raises UsageError as the worker worded it."""
    request = {"do": "describe", "files": list(files), "overrides": dict(overrides)}
    answer = workers.ask(request, "describe.log")
    return [
        SuiteListing(suite["name"], suite["file"], Expansion.from_json(suite)) for suite in answer["suites"]
    ]


def probe(workers: Workers, plan: Plan, download: bool = False) -> None:
    """Builds one case for each data set and model before anything is measured: the largest batch of each.

    Raises UsageError for a name or a size that cannot be had; the workers learn which modules to import
    beforehand.
    """
    for suite in dict.fromkeys(case.suite for case in plan.cases):
        largest: dict[tuple[Any, ...], Case] = {}
        for case in sorted((case for case in plan.cases if case.suite == suite), key=_batch):
            largest[case.get("dataset"), case.get("model"), case.validate_every] = case
        request = {
            "do": "probe",
            "suite_file": plan.files[suite],
            "cases": [case.to_json() for case in largest.values()],
            "conditions": workers.conditions.to_json(),
            "download": download,
        }
        try:
            answer = workers.ask(request, "probe.log", timeout=plan.schedule.timeout)
        except (Died, TimedOut):
            continue  # the launches will tell, each for its own case
        workers.learn(answer["modules"])


def _batch(case: Case) -> int:
    return case.batch_size


def run(
    workers: Workers,
    plan: Plan,
    announce: Callable[[Job], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Record]:
    """Every launch of the plan, as it comes back; ends early where the time budget does."""
    schedule = plan.schedule
    order = random.Random(schedule.seed)
    began = clock()
    rotation = list(plan.cases)
    failures: dict[str, int] = {}
    measured: set[str] = set()
    for number in range(1, schedule.launches + 1):
        launches = [(case, TIMED) for case in rotation]
        if number == 1:
            launches += [(case, PHASED) for case in plan.phase_cases]
        order.shuffle(launches)
        workers.renew()
        for position, (case, kind) in enumerate(launches, start=1):
            if schedule.time_budget is not None and clock() - began >= schedule.time_budget:
                return
            job = Job(case, kind, number, position)
            announce(job)
            record = launch(workers, plan, job)
            yield record
            if isinstance(record, Failure):
                failures[case.id] = failures.get(case.id, 0) + 1
            else:
                measured.add(case.id)
        rotation = [case for case in rotation if failures.get(case.id, 0) < (2 if case.id in measured else 1)]


def launch(workers: Workers, plan: Plan, job: Job) -> Record:
    """One launch: what it reported, or the Failure that its end amounts to."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    log = f"{slug(job.case.id)}.{job.kind}.{job.round}.log"
    request = {
        "do": "launch",
        "case": job.case.to_json(),
        "kind": job.kind,
        "round": job.round,
        "position": job.position,
        "suite_file": plan.files[job.case.suite],
        "conditions": workers.conditions.to_json(),
        "seed": plan.schedule.seed,
    }
    try:
        answer = workers.ask(request, log, plan.schedule.timeout)
    except (Died, TimedOut) as end:
        failure, message = _fate(end, plan.schedule.timeout)
        return Failure(
            job.case, job.kind, job.round, job.position, 0, started, failure, message, detail=f"logs/{log}"
        )
    if "failure" in answer:
        return Failure.from_json(answer["failure"])
    return Measurement.from_json(answer["measurement"])


def _fate(end: Died | TimedOut, timeout: float) -> tuple[str, str]:
    if isinstance(end, TimedOut):
        return "timeout", f"no result within {timeout:g} s, killed; give it longer with --timeout"
    if end.status < 0:
        return "crash", f"killed by {signal.Signals(-end.status).name}"
    return "crash", f"ended with exit code {end.status} and no result"


def slug(text: str) -> str:
    """Text as a file name: what is neither letter, digit, '-', '_', '=' nor '.' becomes '-'."""
    return "".join(c if c.isalnum() or c in "-_=." else "-" for c in text)[:150]
