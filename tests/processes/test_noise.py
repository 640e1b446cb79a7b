from __future__ import annotations

import math

import fakes
import pytest
from tiers import takes_long

from bench.cli.options import conditions
from bench.running.noise import probe_noise, summary
from bench.running.workers import Workers


def launch(seconds: float, **guards: float):
    return fakes.measurement(stages=fakes.stages(steps=(seconds, seconds)), guards=guards)


def test_identical_launches_have_no_noise():
    noise = summary("cpu", [(launch(2.0), launch(2.0))] * 6)
    assert (noise.device, noise.launches, noise.pairs) == ("cpu", 12, 6)
    assert (noise.variation, noise.mde) == (0.0, 0.0)
    assert (noise.pair_low, noise.pair_high) == (1.0, 1.0)


def test_the_interval_is_that_of_the_ratio_within_pairs():
    drifting = [(launch(1.0 * n), launch(1.1 * n)) for n in range(1, 8)]
    noise = summary("cpu", drifting)
    assert noise.pair_low == pytest.approx(1 / 1.1)
    assert noise.pair_high == pytest.approx(1 / 1.1)
    assert noise.variation > 0.4, "the drift of the machine is in the variation between launches"
    assert noise.mde > noise.variation


def test_fewer_than_six_pairs_have_no_interval():
    noise = summary("cpu", [(launch(1.0), launch(1.1))] * 5)
    assert math.isnan(noise.pair_low)
    assert math.isnan(noise.pair_high)


def test_contaminated_launches_are_counted():
    contaminated = launch(9.0, wall=1.0, waiting=0.9)
    assert summary("cpu", [(launch(1.0), contaminated)] * 3).contaminated == 3


@takes_long("measures for a while")
def test_it_ends_when_the_time_is_over_and_tells_each_device(tmp_path):
    times = iter([0.0, 0.0, 1.0, 99.0])
    told: list[str] = []
    with Workers(conditions(), tmp_path) as workers:
        rows = []
        for row in probe_noise(workers, 20.0, told.append, clock=lambda: next(times, 1e9)):
            rows.append(row)
    assert told[0] == "cpu"
    assert (rows[0].device, rows[0].pairs, rows[0].launches) == ("cpu", 2, 4)
    assert rows[0].variation > 0
