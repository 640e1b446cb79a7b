"""Peaks of the formats that only counts show, asked of a worker after the launches."""

from __future__ import annotations

import pytest
from fakes import CASE, counts, environment, measurement, operator_count

from bench.measurement import COUNTED, Peak
from bench.measurement.messages import PeaksRequest
from bench.running.fork_server import Died, TimedOut
from bench.running.preparation import with_peaks_of_counts
from bench.suite.case import Case, Conditions
from bench.system.json_data import to_json

KNOWN = environment(peaks=(Peak("cpu", "float32", 1e12, "measured"),))
ON_CARD = Case("fake", {**CASE.axes, "device": "cuda:0"})


class Worker:
    """Measures every format but those that it lacks, or ends."""

    conditions = Conditions(threads=3)

    def __init__(self, lacks=(), ends=None):
        self.lacks, self.ends, self.requests = lacks, ends, []

    def ask(self, request, log):
        self.requests.append(request)
        if self.ends is not None:
            raise self.ends
        found = [Peak(device, dtype, 2e12, "measured") for device, dtype in request.formats]
        return {"peaks": [to_json(peak) for peak in found if peak.dtype not in self.lacks]}


def counted(*formats, case=CASE, flops=100):
    operators = tuple(operator_count(dtype=dtype, flops=flops) for dtype in formats)
    return measurement(case=case, kind=COUNTED, counts=counts(operators=operators))


def test_the_formats_that_are_not_known_are_measured_once():
    worker = Worker()
    launches = [counted("float32", "float64"), counted("float64", "bfloat16"), measurement()]
    found = with_peaks_of_counts(worker, 7, KNOWN, launches)
    assert worker.requests == [PeaksRequest(worker.conditions, 7, (("cpu", "bfloat16"), ("cpu", "float64")))]
    assert found.peaks == (
        *KNOWN.peaks,
        Peak("cpu", "bfloat16", 2e12, "measured"),
        Peak("cpu", "float64", 2e12, "measured"),
    )


def test_each_device_has_its_own():
    worker = Worker()
    with_peaks_of_counts(worker, 7, KNOWN, [counted("float32", case=ON_CARD)])
    assert worker.requests[0].formats == (("cuda:0", "float32"),)


@pytest.mark.parametrize("launches", [[], [measurement()], [counted("float32")], [counted("int64", flops=0)]])
def test_nothing_is_asked_where_all_are_known(launches):
    worker = Worker()
    assert with_peaks_of_counts(worker, 7, KNOWN, launches) is KNOWN
    assert worker.requests == []


def test_a_format_that_cannot_be_measured_has_none():
    found = with_peaks_of_counts(Worker(lacks={"3xtf32"}), 7, KNOWN, [counted("3xtf32", "float64")])
    assert [peak.dtype for peak in found.peaks] == ["float32", "float64"]


@pytest.mark.parametrize("ends", [Died(-9), TimedOut("still running")])
def test_a_worker_that_ends_does_not_end_the_run(ends):
    assert with_peaks_of_counts(Worker(ends=ends), 7, KNOWN, [counted("float64")]) is KNOWN
