"""What follows from counts: the families of operators, the work of a step, rates and their share of a peak."""

from __future__ import annotations

import math

import pytest
from fakes import CASE, counts, measurement, operator_count, stage

from bench.analysis.launch.derived_counts import count_values, family, main_stage, rates, step_work
from bench.analysis.launch.values import analysed
from bench.measurement import COUNTED, METRICS, OF_NO_STEP, Bandwidth, Peak
from bench.suite.case import Case

EVALUATION = Case("fake", {"device": "cpu", "batch_size": 4, "mode": "no_grad"})


def peak(flops: float = 200.0, dtype: str = "float32", device: str = "cpu") -> Peak:
    return Peak(device, dtype, flops, "made up")


class TestFamilies:
    @pytest.mark.parametrize(
        ("operator", "kind"),
        [
            ("aten.mm", "matrix product"),
            ("aten.addmm", "matrix product"),
            ("aten.bmm", "matrix product"),
            ("aten.baddbmm", "matrix product"),
            ("aten.addbmm", "matrix product"),
            ("aten._addmm_activation", "matrix product"),
            ("aten._scaled_mm", "matrix product"),
            ("aten._grouped_mm", "matrix product"),
            ("aten.mv", "matrix product"),
            ("aten.addmv", "matrix product"),
            ("aten.vdot", "matrix product"),
            ("aten.matmul", "matrix product"),
            ("aten.linear_backward", "matrix product"),
            ("aten._trilinear", "matrix product"),
            ("mylib.linear_thing", "matrix product"),
            ("mylib::my_matmul", "matrix product"),
            ("aten.convolution", "convolution"),
            ("aten.convolution_backward", "convolution"),
            ("aten._slow_conv2d_forward", "convolution"),
            ("aten._scaled_dot_product_flash_attention_for_cpu", "attention"),
            ("aten._efficient_attention_backward", "attention"),
            ("aten.mkldnn_rnn_layer", "recurrent"),
            ("aten._cudnn_rnn_backward", "recurrent"),
            ("aten._thnn_fused_lstm_cell", "recurrent"),
            ("aten.add", "other"),
            ("aten._foreach_mul_", "other"),
            ("aten.embedding", "other"),
            ("aten.native_layer_norm", "other"),
            ("aten.upsample_bilinear2d", "other"),
            ("aten._convert_indices_from_csr_to_coo", "other"),
            ("aten.sum", "other"),
            ("aten.summary", "other"),
            ("linear.add", "other"),
            ("attention::add", "other"),
            ("", "other"),
        ],
    )
    def test_an_operator_is_of_the_family_that_its_own_name_tells(self, operator, kind):
        assert family(operator) == kind


class TestTheWorkOfAStep:
    def test_is_that_of_all_steps_of_the_main_stage_shared_out(self):
        work = step_work(counts())
        assert work.flops == 50  # 100 over two steps
        assert work.by_dtype == {"float32": 50}
        assert work.bytes == 40  # 50 and 30 over two steps: relu computes nothing, but it moves bytes

    def test_is_of_training_where_there_is_training(self):
        assert main_stage(counts()) == "train"

    def test_is_of_the_last_evaluation_where_there_is_none(self):
        both = [operator_count(stage=name, flops=flops) for name, flops in (("test", 60), ("validate", 90))]
        found = counts(steps={"validate": 3, "test": 2}, operators=tuple(both))
        assert main_stage(found) == "test"
        assert step_work(found).flops == 30

    def test_keeps_number_formats_apart(self):
        mixed = counts(
            operators=(operator_count(), operator_count(flops=6), operator_count(dtype="bfloat16"))
        )
        assert step_work(mixed).by_dtype == {"float32": 53, "bfloat16": 50}

    @pytest.mark.parametrize(
        "nothing",
        [{"operators": ()}, {"steps": {}}, {"steps": {"train": 0}}, {"steps": {"validate": 1}}],
        ids=str,
    )
    def test_is_not_known_where_nothing_was_counted(self, nothing):
        assert step_work(counts(**nothing)) is None

    def test_of_no_operator_is_of_no_stage(self):
        assert main_stage(counts(operators=())) == ""

    @pytest.mark.parametrize(
        ("peaks", "seconds"),
        [
            ({"float32": 100.0}, 0.5),
            ({"float32": 100.0, "float16": 1.0}, 0.5),
            ({}, None),
            ({"float16": 1.0}, None),
        ],
        ids=str,
    )
    def test_takes_at_least_as_long_as_at_the_peak(self, peaks, seconds):
        assert step_work(counts()).seconds(peaks) == seconds


class TestTheMetricsOfCounts:
    def test_are_those_of_a_step_of_each_stage_and_what_is_of_no_step(self):
        assert count_values(counts()) == {
            "count.ops": 2,  # four over two steps
            "count.flops": 50,
            "count.saved_bytes": 2432,
            "count.validate.ops": 0,
            "count.validate.flops": 0,
            "count.validate.saved_bytes": 0,
            "count.test.ops": 1,
            "count.test.flops": 50,
            "count.test.saved_bytes": 0,
            "count.peak_live_bytes": 184_320,
            "compute.step_flops": 50,
            "compute.intensity": 1.25,  # 50 FLOPs over 40 bytes
        }

    def test_are_those_of_a_sample_where_samples_were_counted(self):
        found = count_values(counts(samples={"train": 8, "validate": 4, "test": 4}))
        assert found["compute.sample_flops"] == 12.5  # 100 FLOPs of two steps

    def test_say_how_many_operators_the_optimizer_dispatched(self):
        own = operator_count("aten.add", stage="train", phase="optimizer", calls=7)
        elsewhere = operator_count("aten.add", stage="validate", phase="optimizer", calls=9)
        assert count_values(counts(operators=(own, own, elsewhere)))["count.optimizer_ops"] == 7

    def test_are_all_known_metrics(self):
        assert set(count_values(counts())) <= set(METRICS)

    def test_have_no_intensity_where_no_byte_was_touched(self):
        found = count_values(counts(operators=(operator_count(bytes=0),)))
        assert found["compute.step_flops"] == 50
        assert "compute.intensity" not in found

    def test_of_an_evaluation_are_those_of_the_last_stage_and_of_the_other_under_its_name(self):
        both = tuple(
            operator_count(stage=name, calls=calls) for name, calls in (("test", 6), ("validate", 4))
        )
        kept = {"validate": {"saved_bytes": 7}, "test": {"saved_bytes": 8.5}}
        found = count_values(
            counts(steps={"validate": 2, "test": 2}, operators=both, per_step=kept, totals={})
        )
        assert (found["count.ops"], found["count.saved_bytes"]) == (3, 8.5)
        assert (found["count.validate.ops"], found["count.validate.saved_bytes"]) == (2, 7)
        assert not any(name.startswith(("count.test.", "count.train.")) for name in found)

    def test_are_what_is_of_no_step_where_nothing_was_counted(self):
        assert count_values(counts(steps={}, totals={"graphs": 2}, operators=())) == {"count.graphs": 2}

    def test_of_an_earlier_version_are_only_what_can_be_told_by_the_step(self):
        """It added up all that it saw, and went through whole evaluations."""
        older = counts(totals={"ops": 6, "saved_bytes": 4864, "peak_live_bytes": 7}, per_step={})
        found = count_values(older)
        assert {name for name in found if name.startswith("count.")} == {
            "count.ops",
            "count.flops",
            "count.peak_live_bytes",
        }
        assert found["count.ops"] == 2

    def test_every_one_is_said_in_the_unit_of_a_step_or_is_of_none(self):
        for name, one in METRICS.items():
            if name.startswith("count."):
                assert one.unit.endswith("/step") is (name.removeprefix("count.") not in OF_NO_STEP), name


class TestRates:
    def test_of_training_are_by_the_time_of_a_step(self):
        found = rates({"train.step_time": 0.5}, counts(), [peak(200)], "cpu")
        assert found == {"compute.flops_rate": 100, "compute.mfu": 0.5}  # 50 FLOPs in 0.5 s, of 200 FLOP/s

    @pytest.mark.parametrize("name", ["validate", "test"])
    def test_of_an_evaluation_are_by_the_mean_time_of_its_batches(self, name):
        found = counts(steps={name: 5}, operators=(operator_count(stage=name, flops=500),))
        values = {f"{name}.throughput": 40.0, f"work.{name}.batches": 5.0, f"work.{name}.samples": 20.0}
        rated = rates(values, found, [peak(1600)], "cpu")
        assert rated == {"compute.flops_rate": 1000, "compute.mfu": 0.625}  # 100 FLOPs a batch of 0.1 s

    def test_may_be_of_a_slow_device(self):
        assert rates({"train.step_time": 100.0}, counts(), [peak(1.0)], "cpu")["compute.mfu"] == 0.5

    def test_weigh_each_number_format_by_its_own_peak(self):
        mixed = counts(operators=(operator_count(flops=200), operator_count(flops=1200, dtype="bfloat16")))
        found = rates({"train.step_time": 4.0}, mixed, [peak(100), peak(600, "bfloat16")], "cpu")
        assert found["compute.flops_rate"] == 175
        assert found["compute.mfu"] == 0.5  # one second each, of four

    @pytest.mark.parametrize(
        "peaks",
        [
            [],
            [peak(dtype="bfloat16")],
            [peak(device="cuda:0")],
            [peak(0.0)],
            [peak(-1.0)],
            [peak(math.nan)],
        ],
        ids=["none", "another format", "another device", "zero", "below zero", "no number"],
    )
    def test_have_no_share_of_a_peak_that_is_not_known(self, peaks):
        found = rates({"train.step_time": 0.5}, counts(), peaks, "cpu")
        assert found == {"compute.flops_rate": 100}

    def test_have_the_ridge_point_of_the_formats_that_the_step_uses(self):
        known = [Bandwidth("cuda:0", 1.0, "triad"), Bandwidth("cpu", 5.0, "triad")]
        mixed = counts(operators=(operator_count(flops=200), operator_count(flops=1200, dtype="bfloat16")))
        for values, expected in (
            (counts(), 20),
            (mixed, 70),
        ):  # 100 FLOP/s; 350, as one second is spent in each
            peaks = [peak(100), peak(600, "bfloat16")]
            assert (
                rates({"train.step_time": 4.0}, values, peaks, "cpu", known)["compute.ridge_point"]
                == expected
            )

    @pytest.mark.parametrize("bandwidths", [[], [Bandwidth("cuda:0", 5.0, "")], [Bandwidth("cpu", 0.0, "")]])
    def test_have_none_where_the_bandwidth_is_not_known(self, bandwidths):
        found = rates({"train.step_time": 0.5}, counts(), [peak(200)], "cpu", bandwidths)
        assert set(found) == {"compute.flops_rate", "compute.mfu"}

    def test_know_devices_apart(self):
        both = [peak(200), peak(400, device="cuda:0")]
        shares = [
            rates({"train.step_time": 0.5}, counts(), both, d)["compute.mfu"] for d in ("cpu", "cuda:0")
        ]
        assert shares == [0.5, 0.25]

    @pytest.mark.parametrize("changes", [{"operators": ()}, {"operators": (operator_count(flops=0),)}])
    def test_are_none_where_no_flop_was_counted(self, changes):
        assert rates({"train.step_time": 0.5}, counts(**changes), [peak()], "cpu") == {}

    @pytest.mark.parametrize(
        "values",
        [
            {},
            {"train.step_time": 0.0},
            {"test.throughput": 1.0, "work.test.batches": 1, "work.test.samples": 1},
        ],
        ids=str,
    )
    def test_are_none_of_a_launch_without_times_of_the_main_stage(self, values):
        assert rates(values, counts(), [peak()], "cpu") == {}

    @pytest.mark.parametrize("lacks", ["test.throughput", "work.test.batches", "work.test.samples"])
    def test_of_an_evaluation_need_all_that_they_are_made_of(self, lacks):
        found = counts(steps={"test": 1}, operators=(operator_count(stage="test"),))
        values = {"test.throughput": 40.0, "work.test.batches": 5.0, "work.test.samples": 20.0}
        assert rates(values, found, [peak()], "cpu")
        for value in (0.0, None):
            changed = {
                name: number for name, number in {**values, lacks: value}.items() if number is not None
            }
            assert rates(changed, found, [peak()], "cpu") == {}


class TestLaunches:
    def test_of_training_get_rates_from_the_counts_of_another_launch(self):
        records = [measurement(), measurement(kind=COUNTED, stages=(), counts=counts())]
        timed, counted = analysed(records, [peak(200)])
        assert timed.values["compute.flops_rate"] == 50  # 50 FLOPs in a step of 1 s
        assert timed.values["compute.mfu"] == 0.25
        assert timed.values["train.step_time"] == 1.0
        assert "compute.step_flops" not in timed.values
        assert counted.values == count_values(counts())

    def test_of_an_evaluation_mode_too(self):
        passes = tuple(stage("test", epoch, (0.5, 0.5, 0.25), samples=(4, 4, 2)) for epoch in (0, 1))
        found = counts(steps={"test": 2}, operators=(operator_count(stage="test"),))
        timed, _ = analysed(
            [
                measurement(case=EVALUATION, stages=passes),
                measurement(case=EVALUATION, kind=COUNTED, stages=(), counts=found),
            ],
            [peak(240)],
        )
        assert timed.values["compute.flops_rate"] == pytest.approx(120)  # 50 FLOPs in 1.25 s / 3
        assert timed.values["compute.mfu"] == pytest.approx(0.5)

    def test_without_counts_have_no_rates(self):
        (timed,) = analysed([measurement()], [peak()])
        assert not any(name.startswith("compute.") for name in timed.values)

    def test_on_another_device_than_the_peaks_have_no_mfu(self):
        case = Case("fake", {**CASE.axes, "device": "cuda:0"})
        records = [
            measurement(case=case),
            measurement(case=case, kind=COUNTED, stages=(), counts=counts()),
        ]
        timed, _ = analysed(records, [peak()])
        assert timed.values["compute.flops_rate"] == 50
        assert "compute.mfu" not in timed.values
