"""What crosses the process border comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.measurement import COUNTED, PROFILED, TIMED
from bench.measurement.messages import (
    CodeTree,
    DescribeRequest,
    Envelope,
    EnvironmentRequest,
    LaunchRequest,
    PeaksRequest,
    PreloadReport,
    PreloadRequest,
    ProbeReport,
    ProbeRequest,
    ProfileOptions,
    Slowdown,
)
from bench.suite.case import Case, Conditions
from bench.suite.script import Script
from bench.system.json_data import from_json, to_json

CASE = Case("story", {"device": "cpu", "width": 1})
CONDITIONS = Conditions(threads=3, cpus=(0, 1))
SCRIPT = Script("/home/train.py", ("--fast",), {"lr": "lr"})
PROFILE = ProfileOptions(Path("/run/traces"), "story", steps=7, stacks=True)
PLAIN = LaunchRequest(CASE, TIMED, 1, 2, Path("story.py"), CONDITIONS, seed=4)
REQUESTS = [
    PreloadRequest(("torch",)),
    DescribeRequest((Path("a.py"), Path("b.py")), (("lr", 0.1, "x", None),)),
    EnvironmentRequest(CONDITIONS, 7, ("cpu", "cuda:0")),
    PeaksRequest(CONDITIONS, 7, (("cpu", "float64"), ("cuda:0", "complex64"))),
    ProbeRequest(Path("story.py"), (CASE,), CONDITIONS, ("width",), (CASE, CASE), True, SCRIPT),
    PLAIN,
    LaunchRequest(
        CASE,
        PROFILED,
        *(1, 2, Path("story.py"), CONDITIONS, 4),
        idle=("width",),
        script=SCRIPT,
        slowdown=Slowdown("wait", "test", 2, 0.5),
        memory_limit=2**40,
        profile=PROFILE,
    ),
]


def sent(envelope: Envelope) -> Envelope:
    return Envelope.from_json(json.loads(json.dumps(envelope.to_json())))


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_comes_out_as_it_went_in(request_):
    tree = CodeTree(Path("/tree"), Path("/home"), Path("sub"), (Path("/home"),))
    for envelope in (Envelope(1, request_), Envelope(2, request_, Path("x.log"), ("torch",), tree)):
        assert sent(envelope) == envelope


def test_what_is_not_text_comes_out_as_it_went_in():
    request = DescribeRequest((Path("\udc80.py"),), (("\udc80", "\udc80"),))
    assert sent(Envelope(1, request)).request == request


@pytest.mark.parametrize("report", [PreloadReport(("a",), ("b",)), ProbeReport(("a",), (Path("b"),), ("c",))])
def test_a_report_comes_out_as_it_went_in(report):
    assert from_json(type(report), json.loads(json.dumps(to_json(report)))) == report


@pytest.mark.parametrize(
    "damage",
    [{"position": "2"}, {"seed": None}, {"case": 7}, {"idle": "width"}, {"unknown": 1}, {"kind": "slow"}],
)
def test_a_damaged_request_is_refused(damage):
    data = Envelope(1, PLAIN).to_json()
    data["request"] |= damage
    with pytest.raises((ValueError, TypeError, KeyError)):
        Envelope.from_json(data)


@pytest.mark.parametrize(("kind", "profile"), [(TIMED, PROFILE), (COUNTED, PROFILE), (PROFILED, None)])
def test_profile_options_belong_to_launches_that_profile(kind, profile):
    with pytest.raises(ValueError, match="profile options"):
        LaunchRequest(CASE, kind, 1, 2, Path("story.py"), CONDITIONS, seed=4, profile=profile)
