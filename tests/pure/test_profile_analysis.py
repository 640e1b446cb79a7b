"""What stands out in a profile: the operators with the most time of their own, and what autograd keeps."""

from __future__ import annotations

import pytest
from fakes import graph, operator_time, profile
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.launch.profile_summary import GraphRow, graph_rows, top
from bench.measurement import REMAINDER, GraphNode


def kernel(name: str, seconds: float, **changes):
    return operator_time(
        name, 0.0, kind="kernel", shapes="", device_self=seconds, device_total=seconds, **changes
    )


class TestTheTopOfAProfile:
    def test_has_the_operators_with_the_most_time_of_their_own(self):
        rows, rest = top(profile(), 9, "host")
        assert [(row.operator, row.self_time, row.share) for row in rows] == [
            ("aten::addmm", 4.0, 0.5),
            ("aten::mm", 2.0, 0.25),
            (REMAINDER, 2.0, 0.25),
        ]
        assert rest is None

    def test_adds_up_stages_phases_and_shapes(self):
        rows, _ = top(
            profile(
                operators=(
                    operator_time(host_self=1.0, host_total=3.0, calls=1),
                    operator_time(host_self=2.0, host_total=4.0, calls=2, shapes="9x9"),
                    operator_time(host_self=4.0, host_total=5.0, calls=3, phase="backward"),
                    operator_time(host_self=1.0, host_total=6.0, calls=4, stage="test"),
                )
            ),
            9,
            "host",
        )
        (row,) = rows
        assert (row.calls, row.self_time, row.share) == (10, 8.0, 1.0)

    def test_says_where_most_of_an_operator_was(self):
        times = [("train", "forward", 3.0), ("train", "backward", 2.5), ("test", "forward", 2.5)]
        spread = [operator_time(host_self=s, stage=stage, phase=phase) for stage, phase, s in times]
        again = operator_time(host_self=1.0, phase="backward", shapes="9x9")
        (row,) = top(profile(operators=(*spread, again)), 9, "host")[0]
        assert (row.stage, row.phase) == ("train", "backward")

    @pytest.mark.parametrize(
        ("most", "number", "calls", "share"),
        [(2, 1, 1, 0.25), (1, 2, 3, 0.5), (0, 3, 5, 1)],
    )
    def test_has_the_rest_as_one_row(self, most, number, calls, share):
        rows, rest = top(profile(), most, "host")
        assert len(rows) == most
        assert (rest.number, rest.calls, rest.share, rest.self_time) == (number, calls, share, 8.0 * share)

    def test_keeps_device_kernels_apart(self):
        both = profile(
            operators=(
                operator_time(host_self=1.0, device_self=9.0),
                kernel("gemm", 3.0),
                kernel("gemm", 5.0, phase="backward"),
                kernel("copy", 24.0, calls=7),
            )
        )
        host, _ = top(both, 9, "host")
        device, _ = top(both, 9, "device")
        assert [row.operator for row in host] == ["aten::addmm"]
        assert [(row.operator, row.self_time, row.share, row.phase) for row in device] == [
            ("copy", 24.0, 0.75, "forward"),
            ("gemm", 8.0, 0.25, "backward"),
        ]

    @pytest.mark.parametrize("operators", [(), (operator_time(host_self=0.0),)], ids=["none", "no time"])
    @pytest.mark.parametrize("kind", ["host", "device"])
    def test_is_empty_where_nothing_took_time(self, operators, kind):
        assert top(profile(operators=operators), 9, kind) == ([], None)


@given(
    times=st.lists(st.tuples(st.sampled_from("abcde"), st.floats(1e-9, 1e3)), min_size=1, max_size=30),
    most=st.integers(0, 6),
)
def test_shares_of_the_top_add_up_to_one(times, most):
    found = profile(operators=tuple(operator_time(name, seconds) for name, seconds in times))
    rows, rest = top(found, most, "host")
    everything = [*rows, *([rest] if rest else [])]
    assert sum(row.share for row in everything) == pytest.approx(1)
    assert sum(row.calls for row in everything) == 2 * len(times)
    assert [row.self_time for row in rows] == sorted((row.self_time for row in rows), reverse=True)


class TestTheRowsOfAGraph:
    def test_add_up_the_nodes_of_one_name_those_that_keep_the_most_first(self):
        assert graph_rows(graph()) == [
            GraphRow("AddmmBackward0", 1, 4096),
            GraphRow("LogSoftmaxBackward0", 1, 640),
            GraphRow("NllLossBackward0", 1, 128),
            GraphRow("torch::autograd::AccumulateGrad", 2, 0),
            GraphRow("TBackward0", 1, 0),
        ]

    def test_that_keep_as_much_stand_by_number_then_by_name(self):
        names = ["b", "c", "a", "c"]
        rows = graph_rows(graph(*(GraphNode(name, 0, ()) for name in names)))
        assert [row.name for row in rows] == ["c", "a", "b"]
