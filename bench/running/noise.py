"""How much launches of the same case differ on this machine: an A/A measurement.

Pairs of launches of identical code, both from one fork server, with a new fork server for every two pairs, until the
time is over. Their difference is the noise that comparisons have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..analysis.launch.contamination import contamination
from ..analysis.launch.values import launch_values
from ..analysis.run.estimate import estimate, smallest_change, variation
from ..machine.doctor import Noise
from ..measurement import TIMED, Measurement
from ..suite.case import Case, Schedule
from .launching import launch
from .plan import Job, Plan
from .preparation import describe, probe
from .workers import Workers

_SUITE = str(Path(__file__).parents[1] / "worker" / "noise_suite.py")
_PAIRS_A_FORK_SERVER = 2
_METRIC = "train.step_time"
_A_SIDE = 6  # launches, the minimum number in a run


def probe_noise(
    workers: Workers,
    seconds: float,
    announce: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Noise]:
    """The noise of each device, measured for this many seconds each; a device that cannot be measured has none."""
    (listing,) = describe(workers, [_SUITE], {})
    plan = Plan(listing.expansion.cases, {listing.name: _SUITE}, Schedule(timeout=60.0))
    plan = probe(workers, plan).plan
    for case in plan.cases:
        announce(case.device)
        pairs = list(_pairs(workers, plan, case, seconds, clock))
        if pairs:
            yield summary(case.device, pairs)


def _pairs(
    workers: Workers, plan: Plan, case: Case, seconds: float, clock: Callable[[], float]
) -> Iterator[tuple[Measurement, Measurement]]:
    began = clock()
    number = 0
    while clock() - began < seconds:
        number += 1
        if number % _PAIRS_A_FORK_SERVER == 1:
            workers.renew()  # a new address layout
        first, second = (launch(workers, plan, Job(case, TIMED, number, side)) for side in (1, 2))
        if not (isinstance(first, Measurement) and isinstance(second, Measurement)):
            return
        yield first, second


def summary(device: str, pairs: list[tuple[Measurement, Measurement]]) -> Noise:
    """The summary of the pairs. The interval of the ratio A/A is NaN for fewer than six of them."""
    values = [tuple(launch_values(side)[_METRIC] for side in pair) for pair in pairs]
    launches = [value for pair in values for value in pair]
    ratio = estimate([first / second for first, second in values])
    spread = variation(launches) or 0.0
    return Noise(
        device=device,
        launches=len(launches),
        pairs=len(pairs),
        variation=spread,
        pair_low=math.nan if ratio.low is None else ratio.low,
        pair_high=math.nan if ratio.high is None else ratio.high,
        mde=smallest_change(spread, _A_SIDE),
        contaminated=sum(bool(contamination(side)) for pair in pairs for side in pair),
    )
