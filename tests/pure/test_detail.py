"""Records of launches apart from timing: through JSON and back, and nothing else is taken for one."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from typing import Any

import pytest
from fakes import counts, graph, measurement, operator_count, operator_time, profile, timeline
from hypothesis import given
from hypothesis import strategies as st

from bench.measurement import COUNTED, PROFILED, Measurement
from bench.measurement.detail import (
    AutogradGraph,
    Counts,
    GraphNode,
    MemoryTimeline,
    OperatorCount,
    OperatorTime,
    Profile,
)

WRONG = (ValueError, TypeError, KeyError)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
sizes = st.integers(0, 2**63 - 1)
times = st.floats(0, 1e9)
moments = st.lists(times, max_size=6).map(lambda some: tuple(sorted(some)))
names = st.dictionaries(texts, sizes, max_size=3)


@st.composite
def timelines(draw) -> MemoryTimeline:
    seconds, ends = draw(moments), draw(moments)
    ends = ends and (*ends, max([*ends, *seconds]))
    column = st.lists(sizes, min_size=len(seconds), max_size=len(seconds)).map(tuple)
    phases = st.lists(texts, min_size=len(ends), max_size=len(ends)).map(tuple)
    return MemoryTimeline(seconds, draw(st.dictionaries(texts, column, max_size=3)), draw(phases), ends)


@st.composite
def graphs(draw) -> AutogradGraph:
    number = draw(st.integers(0, 5))
    after = st.lists(st.integers(0, number - 1), max_size=3).map(tuple) if number else st.just(())
    return AutogradGraph(tuple(GraphNode(draw(texts), draw(sizes), draw(after)) for _ in range(number)))


operator_counts = st.builds(OperatorCount, texts, texts, texts, texts, sizes, sizes, sizes)
operator_times = st.builds(
    OperatorTime,
    *(texts,) * 5,
    sizes,
    *(st.floats(-1, 1e9),) * 4,
    st.integers(-(2**63) + 1, 2**63 - 1),
)
all_counts = st.builds(
    Counts,
    steps=names,
    totals=names,
    operators=st.lists(operator_counts, max_size=3).map(tuple),
    per_step=st.dictionaries(texts, st.dictionaries(texts, st.floats(0, 1e9), max_size=2), max_size=2),
    unknown=st.lists(texts, max_size=2).map(tuple),
    timeline=st.none() | timelines(),
    graph=st.none() | graphs(),
)
profiles = st.builds(
    Profile,
    steps=names,
    wall=st.dictionaries(texts, times, max_size=2),
    plain_step=times,
    profiled_step=times,
    operators=st.lists(operator_times, max_size=3).map(tuple),
    device=st.dictionaries(texts, st.floats(-1, 1e9), max_size=2),
    trace=texts,
    stacks=texts,
    omitted=texts,
    limits=st.lists(texts, max_size=2).map(tuple),
)
RECORDS = [operator_count(), timeline(), *graph().nodes[:1], graph(), counts(), operator_time(), profile()]


def through_json(record: Any) -> Any:
    return type(record).from_json(json.loads(json.dumps(dataclasses.asdict(record))))


class TestThroughJson:
    @given(record=st.one_of(operator_counts, timelines(), graphs(), all_counts, operator_times, profiles))
    def test_a_record_comes_back_as_it_was(self, record):
        assert through_json(record) == record

    @given(counted=all_counts, profiled=profiles)
    def test_as_parts_of_a_measurement_too(self, counted, profiled):
        for record in (
            measurement(kind=COUNTED, stages=(), counts=counted),
            measurement(kind=PROFILED, stages=(), profile=profiled),
        ):
            assert Measurement.from_json(json.loads(json.dumps(record.to_json()))) == record

    def test_a_measurement_without_them_does_not_name_them(self):
        assert not {"counts", "profile"} & set(measurement().to_json())

    def test_what_an_earlier_version_did_not_write_is_empty(self):
        old = dataclasses.asdict(counts())
        for name in ("unknown", "timeline", "graph"):
            del old[name]
        assert Counts.from_json(old) == counts(unknown=(), timeline=None, graph=None)
        brief = {name: value for name, value in dataclasses.asdict(profile()).items() if name != "limits"}
        assert Profile.from_json(brief) == profile()


def places(tree: Any):
    """Every place of a JSON tree: what holds it, and its key there."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from places(tree[key])


def strangers(value: Any) -> list[Any]:
    """Values of other types than this one."""
    wrong: list[Any] = [True, b"x", {"a": 1}.keys()]
    wrong += [] if isinstance(value, str) else ["text"]
    wrong += [] if isinstance(value, dict) else [{"a": "b"}]
    wrong += [] if isinstance(value, list) else [["a"]]
    wrong += [] if isinstance(value, int | float) else [7]
    wrong += (
        [0.5] if isinstance(value, int) else [math.nan, math.inf, "1"] if isinstance(value, float) else []
    )
    return wrong


class TestWrongTypes:
    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    def test_of_any_part_are_refused(self, record):
        whole = json.loads(json.dumps(dataclasses.asdict(record)))
        for number, (holder, key) in enumerate(places(whole)):
            for value in strangers(holder[key]):
                damaged = copy.deepcopy(whole)
                its_holder, _ = list(places(damaged))[number]
                its_holder[key] = value
                with pytest.raises(WRONG):
                    type(record).from_json(damaged)

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    @pytest.mark.parametrize("data", [None, [], "text", 7, [["a", 1]], {}], ids=str)
    def test_of_the_whole_are_refused(self, record, data):
        with pytest.raises(WRONG):
            type(record).from_json(data)

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    def test_a_field_that_is_not_known_is_refused(self, record):
        with pytest.raises(ValueError, match="'other' is not a field"):
            type(record).from_json({**dataclasses.asdict(record), "other": 1})

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    def test_a_field_that_is_missing_is_refused(self, record):
        needed = [
            f.name
            for f in dataclasses.fields(record)
            if f.default is f.default_factory is dataclasses.MISSING
        ]
        for name in set(needed) - {"device", "per_step"}:
            whole = dataclasses.asdict(record)
            del whole[name]
            with pytest.raises(WRONG):
                type(record).from_json(whole)


class TestWhatWouldBreakAPicture:
    @pytest.mark.parametrize(
        "changes",
        [
            {"bytes": {"parameters": (1, 2, 3)}},
            {"bytes": {"parameters": (1,) * 4, "gradients": (1,) * 5}},
            {"bytes": {"parameters": (1, 1, 1, -1)}},
            {"seconds": (0.0, 0.002, 0.001, 0.003)},
            {"seconds": (-0.001, 0.0, 0.001, 0.002)},
            {"seconds": (0.0, 0.001, 0.002, math.nan)},
            {"seconds": (0.0, 0.001, 0.002, math.inf)},
            {"seconds": (0.0, 0.1, 0.2, 0.3)},
            {"ends": (0.1, 0.2, 0.3)},
            {"ends": (0.4, 0.3, 0.2, 0.1)},
            {"ends": (0.1, 0.2, math.nan, 0.3)},
            {"phases": ("data",)},
        ],
        ids=str,
    )
    def test_a_timeline_that_does_not_fit_together(self, changes):
        with pytest.raises(ValueError, match=r"timeline|phases"):
            timeline(**changes)

    @pytest.mark.parametrize("after", [(6,), (-1,), (0, 1, 99)])
    def test_a_graph_that_calls_nodes_which_are_not_there(self, after):
        with pytest.raises(ValueError, match="calls one that does not exist"):
            graph(*graph().nodes[:5], GraphNode("Lost", 0, after))

    def test_a_node_that_keeps_less_than_nothing(self):
        with pytest.raises(ValueError, match="keeps"):
            GraphNode("AddmmBackward0", -1, ())

    @pytest.mark.parametrize("name", ["calls", "flops", "bytes"])
    def test_a_count_below_zero(self, name):
        with pytest.raises(ValueError, match="count of an operator"):
            operator_count(**{name: -1})

    @pytest.mark.parametrize("changes", [{"steps": {"train": -1}}, {"totals": {"ops": -1}}], ids=str)
    def test_counts_below_zero(self, changes):
        with pytest.raises(ValueError, match=r"steps|total"):
            counts(**changes)

    @pytest.mark.parametrize("name", ["host_self", "host_total", "device_self", "device_total"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_time_of_an_operator_that_is_no_number(self, name, value):
        with pytest.raises(ValueError, match="time of an operator"):
            operator_time(**{name: value})

    def test_calls_below_zero(self):
        with pytest.raises(ValueError, match="calls"):
            operator_time(calls=-1)

    def test_but_an_operator_may_free_more_than_it_allocates_and_end_a_little_below_zero(self):
        assert operator_time(bytes=-7, host_self=-1e-9).bytes == -7

    @pytest.mark.parametrize(
        "changes",
        [
            {"plain_step": -1.0},
            {"profiled_step": math.nan},
            {"wall": {"train": math.inf}},
            {"steps": {"train": -1}},
            {"device": {"idle_share": math.nan}},
        ],
        ids=str,
    )
    def test_a_profile_of_such_times(self, changes):
        with pytest.raises(ValueError, match="not a finite number"):
            profile(**changes)
