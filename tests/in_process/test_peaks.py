from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from bench.worker.timing import peaks as room
from bench.worker.timing.peaks import measured, peaks, stated_for

pytestmark = pytest.mark.usefixtures("one_thread")

CARDS = {  # as the driver names them, and dense float16 TFLOP/s
    "NVIDIA H200": 989.4,
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA L40S": 362,
    "NVIDIA L4": 121,
    "NVIDIA A10G": 70,
    "NVIDIA A10": 125,
    "Tesla V100-SXM2-16GB": 125,
    "Tesla V100-PCIE-32GB": 112,
    "Tesla T4": 65,
}


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def a_card(monkeypatch):
    """Makes the machine have a card of this name, as far as its name goes."""
    return lambda name: monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)


class TestStated:
    @pytest.mark.parametrize(("card", "tera"), CARDS.items())
    def test_a_card_is_found_by_its_name(self, card, tera):
        rates, source = stated_for(card)
        assert rates["float16"] == tera
        assert "data sheet" in source

    def test_every_row_is_found_by_some_card(self):
        found = [stated_for(card)[1] for card in CARDS]
        assert {source for _, _, source in room._STATED} == set(found)

    @pytest.mark.parametrize(
        "card",
        [
            "",
            "NVIDIA GeForce RTX 4090",
            "NVIDIA L40",
            "NVIDIA T4G",
            "NVIDIA GH200 480GB",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "AMD Instinct MI300X",
        ],
    )
    def test_an_unknown_card_and_a_part_of_a_card_have_none(self, card):
        assert stated_for(card) == ({}, "")

    @pytest.mark.parametrize("card", CARDS)
    def test_no_format_is_slower_than_a_wider_one(self, card):
        rates, _ = stated_for(card)
        order = [rates[name] for name in ("float32", "tf32", "float16") if name in rates]
        assert all(slow < fast for slow, fast in pairwise(order))


class TestPeaks:
    def test_a_stated_card_has_one_for_each_format_and_none_for_tf32(self, a_card, precision):
        a_card("NVIDIA H100 80GB HBM3")
        precision("highest")
        found = {peak.dtype: (peak.flops, peak.source) for peak in peaks(["cuda:0"])}
        assert found == {
            "float32": (67e12, "NVIDIA H100 data sheet"),
            "bfloat16": (989.4e12, "NVIDIA H100 data sheet"),
            "float16": (989.4e12, "NVIDIA H100 data sheet"),
        }

    @pytest.mark.parametrize("name", ["high", "medium"])
    def test_float32_has_that_of_tf32_where_products_may_run_so(self, name, a_card, precision):
        a_card("NVIDIA H100 80GB HBM3")
        precision(name)
        found = {peak.dtype: peak for peak in peaks(["cuda:0"])}
        assert found["float32"].flops == 494.7e12
        assert found["float32"].source == "NVIDIA H100 data sheet, TF32"
        assert found["float16"].source == "NVIDIA H100 data sheet"

    def test_a_card_that_knows_no_tf32_keeps_its_float32(self, a_card, precision):
        a_card("Tesla T4")
        precision("high")
        assert {peak.dtype: peak.flops for peak in peaks(["cuda:0"])} == {"float32": 8.1e12, "float16": 65e12}

    def test_the_cpu_is_measured_and_says_so(self, monkeypatch):
        monkeypatch.setitem(room._SIZE, "cpu", 64)
        (peak,) = peaks(["cpu"])
        assert (peak.device, peak.dtype) == ("cpu", "float32")
        assert peak.flops > 0
        assert peak.source == "measured: product of 64 x 64 matrices, best of 8"

    def test_a_device_without_room_for_the_matrices_has_none(self, monkeypatch):
        def full(*sizes, **options):
            raise torch.OutOfMemoryError("no room")

        monkeypatch.setattr(torch, "rand", full)
        assert list(peaks(["cpu"])) == []


class TestMeasured:
    def test_it_is_the_operations_of_a_product_over_the_fastest_time(self):
        takes = [9.0, 3.0, 0.5, 2.0, 4.0, 0.25, 1.0, 7.0]
        readings = iter([reading for took in takes for reading in (100.0, 100.0 + took)])
        assert measured(torch.device("cpu"), 16, lambda: next(readings)) == 2 * 16**3 / 0.25

    def test_on_the_real_cpu_it_is_a_plausible_number(self):
        assert 1e7 < measured(torch.device("cpu"), 128) < 1e14

    def test_it_leaves_the_random_numbers_of_whoever_asks_alone(self):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        measured(torch.device("cpu"), 16)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
    def test_no_card_does_more_than_its_maker_states(self, precision):
        precision("highest")
        rates, _ = stated_for(torch.cuda.get_device_name(0))
        if not rates:
            pytest.skip("a card that the table does not know")
        assert (
            0.3 * rates["float32"] < measured(torch.device("cuda", 0), 8192) / 1e12 < 1.05 * rates["float32"]
        )
