"""Plans of a suite and of a script, and their launches, for tests that measure them in a worker or in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bench.analysis.run.stopping import StopRule
from bench.measurement import TIMED
from bench.running import rounds as runner
from bench.running.launching import launch
from bench.running.plan import Job, Plan, Record
from bench.running.preparation import describe, describe_script
from bench.running.workers import Workers
from bench.suite.case import Schedule, UntimedLaunches
from bench.suite.script import script

WATCHED = Path(__file__).parent / "suites" / "watched.py"


def suite_plan(workers: Workers, file: str, overrides=None, **schedule) -> Plan:
    (listing,) = describe(workers, [file], overrides or {})
    return Plan(listing.expansion.cases, {listing.name: file}, Schedule(**schedule))


def script_plan(path=WATCHED, arguments=(), axes=None, apart=None, **schedule) -> Plan:
    axes = axes or {}
    its = script(path, arguments, list(axes))
    (listing,) = describe_script(its, axes)
    schedule = {"launches": 1, "timeout": 60.0, **schedule}
    return Plan(
        listing.expansion.cases,
        {listing.name: listing.file},
        Schedule(**schedule),
        apart or UntimedLaunches(),
        script=its,
    )


def once(workers: Workers, plan: Plan) -> Record:
    """One launch of the only case, from the fork server that is there."""
    (case,) = plan.cases
    return launch(workers, plan, Job(case, TIMED, 1, 1))


def run(workers: Workers, plan: Plan) -> Iterator[Record]:
    """Each launch once, whatever else this machine is doing."""
    return runner.run(workers, plan, StopRule(dataclasses.replace(plan.schedule, repeats=0)))
