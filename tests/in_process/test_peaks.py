from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from bench.worker.timing import peaks as module
from bench.worker.timing.peaks import (
    FLOAT8,
    FLOAT16_SUMS,
    MeasuredPeak,
    is_in_use,
    last_level_cache,
    measured,
    measured_peaks,
    peaks,
    stated_for,
    triad,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CARDS = {  # as the driver names them, and dense float16 TFLOP/s
    "NVIDIA GB300": 2500,
    "NVIDIA B300 SXM6 AC": 2250,
    "NVIDIA GB200": 2500,
    "NVIDIA B200": 2250,
    "NVIDIA GH200 480GB": 989.4,
    "NVIDIA H200": 989.4,
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA A30": 165,
    "NVIDIA A40": 149.7,
    "NVIDIA L40S": 362,
    "NVIDIA L40": 181,
    "NVIDIA L4": 121,
    "NVIDIA A10G": 70,
    "NVIDIA A10": 125,
    "NVIDIA RTX A6000": 154.8,
    "NVIDIA RTX 6000 Ada Generation": 364.2,
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": 503.8,
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": 438.9,
    "NVIDIA GeForce RTX 5090": 209.5,
    "NVIDIA GeForce RTX 5080": 112.6,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA GeForce RTX 4080": 97.5,
    "NVIDIA GeForce RTX 3090": 71,
    "NVIDIA GeForce RTX 3080": 59.5,
    "Tesla V100-SXM2-16GB": 125,
    "Tesla V100-PCIE-32GB": 112,
    "Tesla T4": 65,
    "AMD Instinct MI355X": 2516.6,
    "AMD Instinct MI325X": 1307.4,
    "AMD Instinct MI300X": 1307.4,
    "AMD Instinct MI250X": 191.5,
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
        assert "data sheet" in source or "white paper" in source

    def test_every_row_is_found_by_some_card(self):
        found = [stated_for(card) for card in CARDS]
        assert all((rates, source) in found for _, rates, source in module._STATED)

    @pytest.mark.parametrize(
        "card",
        [
            "",
            "NVIDIA H20",
            "NVIDIA T4G",
            "NVIDIA GeForce RTX 4090 D",
            "NVIDIA GeForce RTX 4090 Laptop GPU",
            "NVIDIA GeForce RTX 3080 Ti",
            "NVIDIA RTX 6000 Ada",
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "AMD Instinct MI250",
        ],
    )
    def test_an_unknown_card_and_a_part_of_a_card_have_none(self, card):
        assert stated_for(card) == ({}, "")

    @pytest.mark.parametrize("card", CARDS)
    def test_no_format_is_slower_than_a_wider_one(self, card):
        rates, _ = stated_for(card)
        order = [rates[name] for name in ("float32", "tf32", "float16") if name in rates]
        assert all(slow <= fast for slow, fast in pairwise(order))
        assert len(order) == 1 or order[0] < order[-1]
        if FLOAT16_SUMS in rates:
            assert rates[FLOAT16_SUMS] == (2 if "GeForce" in card else 1) * rates["float16"]
        if FLOAT8[0] in rates:
            assert rates[FLOAT8[0]] == pytest.approx(2 * rates["float16"], rel=0.03)


class TestPeaks:
    def test_a_stated_card_has_one_for_each_format_whatever_is_set_here(self, a_card, precision):
        a_card("NVIDIA H100 80GB HBM3")
        for name in ("highest", "high"):
            precision(name)
            found = {peak.dtype: (peak.flops, peak.source) for peak in peaks(["cuda:0"])}
            assert found["float32"] == (67e12, "NVIDIA H100 data sheet")
            assert found["tf32"] == (494.7e12, "NVIDIA H100 data sheet")
            assert found["bfloat16"] == found["float16"] == (989.4e12, "NVIDIA H100 data sheet")
            assert found["float8_e4m3fn"] == (1978.9e12, "NVIDIA H100 data sheet")

    def test_a_card_without_tf32_has_no_peak_of_it(self, a_card):
        a_card("Tesla T4")
        found = {peak.dtype: peak.flops for peak in peaks(["cuda:0"], in_use=["cuda:0"])}
        assert found == {"float32": 8.1e12, "float16": 65e12, FLOAT16_SUMS: 65e12}

    def test_what_the_maker_does_not_state_is_measured(self, a_card, monkeypatch):
        a_card("Tesla T4")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
        monkeypatch.setattr(module, "_measured", lambda *_: MeasuredPeak(1e12, 8192))
        found = {peak.dtype: peak.source for peak in peaks(["cuda:0"])}
        assert found.pop("bfloat16") == "measured: product of 8192 x 8192 matrices, best of 8"
        assert set(found.values()) == {"NVIDIA T4 data sheet"}

    def test_the_cpu_is_measured_in_the_formats_that_are_wanted(self, monkeypatch):
        monkeypatch.setattr(module, "_SMALLEST", 64)
        monkeypatch.setattr(module, "_LONG_ENOUGH", 0.0)
        assert [(peak.device, peak.dtype) for peak in peaks(["cpu"])] == [("cpu", "float32")]
        wanted = ["bfloat16", "float64", "complex64", "3xtf32", "tf32", "float8_e8m0fnu"]
        found = list(measured_peaks(("cpu", dtype) for dtype in wanted))
        assert [peak.dtype for peak in found] == ["bfloat16", "float64", "complex64"]
        assert {peak.source for peak in found} == {"measured: product of 64 x 64 matrices, best of 8"}
        assert all(peak.flops > 0 for peak in found)

    def test_no_device_is_measured_that_the_plan_does_not_name(self, monkeypatch):
        """Each environment multiplied large matrices on every card of the machine."""
        used = []
        monkeypatch.setattr(module, "measured", lambda device, dtype: used.append(str(device)))
        assert list(peaks(["cpu"])) == []
        assert used == ["cpu"]

    def test_a_card_that_others_use_is_left_alone(self, a_card, monkeypatch):
        a_card("NVIDIA Unknown")
        used = []
        monkeypatch.setattr(module, "measured", lambda device, dtype: used.append(str(device)))
        assert list(peaks(["cuda:0", "cuda:1"], in_use=["cuda:0"])) == []
        assert used == ["cuda:1"] * 4

    def test_an_unknown_card_is_measured_in_every_format_that_it_has(self, a_card, monkeypatch):
        a_card("NVIDIA Unknown")
        lacks = {"tf32"}
        monkeypatch.setattr(
            module, "measured", lambda _, dtype: None if dtype in lacks else MeasuredPeak(1e12, 8192)
        )
        assert [peak.dtype for peak in peaks(["cuda:0"])] == ["float32", "bfloat16", "float16"]

    def test_a_device_without_memory_for_the_matrices_has_none(self, monkeypatch):
        def full(*sizes, **options):
            raise torch.OutOfMemoryError("no memory left")

        monkeypatch.setattr(torch, "rand", full)
        assert list(peaks(["cpu"])) == []


class TestUse:
    def card(self, monkeypatch, *processes):
        states = [SimpleNamespace(state=lambda: SimpleNamespace(processes=processes or None))]
        monkeypatch.setattr(module, "open_gpus", lambda indices: states if list(indices) == [1] else [])

    def test_a_program_on_the_card_is_seen(self, monkeypatch):
        self.card(monkeypatch, 4711)
        assert is_in_use(torch.device("cuda", 1))
        assert not is_in_use(torch.device("cuda", 0))
        assert not is_in_use(torch.device("cpu"))

    def test_a_free_card_and_an_unknown_one_are_not_in_use(self, monkeypatch):
        self.card(monkeypatch)
        assert not is_in_use(torch.device("cuda", 1))


class TestMeasured:
    def test_it_is_the_operations_of_a_product_over_the_fastest_time(self, monkeypatch):
        monkeypatch.setattr(module, "_SMALLEST", 16)
        takes = [9.0, 0.125, 0.5, 2.0, 4.0, 0.0625, 1.0, 7.0]
        readings = iter([reading for took in takes for reading in (100.0, 100.0 + took)])
        found = measured(torch.device("cpu"), "float32", lambda: next(readings))
        assert found == MeasuredPeak(2 * 16**3 / 0.0625, 16)

    def test_matrices_grow_until_a_product_takes_long_enough(self, monkeypatch):
        """Many processors multiply small matrices in less time than it takes to wake them all."""
        monkeypatch.setattr(module, "_SMALLEST", 16)
        takes = [0.001, 0.001, 0.004, 0.004, 0.03, 0.02, *[0.025] * 6]
        readings = iter([reading for took in takes for reading in (0.0, took)])
        found = measured(torch.device("cpu"), "float32", lambda: next(readings))
        assert found == MeasuredPeak(2 * 64**3 / 0.02, 64)

    def test_on_the_real_cpu_it_is_a_plausible_number(self):
        assert 1e8 < measured(torch.device("cpu")).flops < 1e14

    def test_a_format_that_the_device_lacks_has_none(self):
        assert measured(torch.device("cpu"), "tf32") is None
        assert measured(torch.device("cpu"), "float8_e8m0fnu") is None

    def test_one_that_it_only_emulates_is_not_measured_for_long(self, monkeypatch):
        monkeypatch.setattr(module, "_SMALLEST", 16)
        readings = iter([0.0, 2.0, 0.0, 1.0])
        found = measured(torch.device("cpu"), "float16", lambda: next(readings))
        assert found == MeasuredPeak(2 * 16**3 / 1.0, 16, 2)
        assert found.source.endswith("best of 2")

    def test_it_does_not_fail_where_a_program_mixed_the_names_of_settings(self, monkeypatch):
        monkeypatch.setattr(module, "_SMALLEST", 64)
        matmul = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
        try:
            with pytest.raises(RuntimeError, match="mix of the legacy and new"):
                torch.get_float32_matmul_precision()
            assert measured(torch.device("cpu")) is not None
            assert matmul.fp32_precision == "tf32"
        finally:
            matmul.fp32_precision = before

    def test_it_leaves_random_numbers_and_settings_as_they_were(self, precision):
        precision("high")
        torch.manual_seed(0)
        before = torch.get_rng_state()
        measured(torch.device("cpu"))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_float32_matmul_precision() == "high"

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and there is none")
    @pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16"])
    def test_no_card_does_more_than_its_maker_states(self, dtype):
        rates, _ = stated_for(torch.cuda.get_device_name(0))
        if dtype not in rates:
            pytest.skip("a card or format that the table does not know")
        found = measured(torch.device("cuda", 0), dtype).flops / 1e12
        assert 0.3 * rates[dtype] < found < 1.05 * rates[dtype]


class TestBandwidth:
    @pytest.fixture
    def no_memory(self, monkeypatch):
        """The sizes of the arrays that are asked for, of which none fits."""
        sizes = []

        def ones(number, device):
            sizes.append(number * 4 >> 20)
            raise torch.OutOfMemoryError("no memory left")

        monkeypatch.setattr(torch, "ones", ones)
        return sizes

    def test_it_counts_two_arrays_read_and_one_written(self, monkeypatch):
        monkeypatch.setattr(module, "_MOST_ON_CPU", 1 << 20)
        monkeypatch.setattr(module, "_MOST_OF_THREAD", 0)
        monkeypatch.setattr(module, "last_level_cache", lambda cpus: 0)
        takes = [0.04, 0.005, 0.02, 0.01]
        readings = iter([reading for took in takes for reading in (0.0, took)])
        found = triad(torch.device("cpu"), lambda: next(readings))
        assert found.rate == 3 * (1 << 20) / 0.005
        assert found.source == "STREAM triad of 1 MiB arrays, best of 4"
        assert found.device == "cpu"

    def test_a_slow_memory_is_not_measured_for_long_and_the_share_of_the_cache_is_told(self, monkeypatch):
        monkeypatch.setattr(module, "_MOST_ON_CPU", 1 << 20)
        monkeypatch.setattr(module, "_MOST_OF_THREAD", 0)
        monkeypatch.setattr(module, "last_level_cache", lambda cpus: 2 << 20)
        readings = iter([0.0, 0.2, 0.0, 0.1])
        found = triad(torch.device("cpu"), lambda: next(readings))
        assert found.source == "STREAM triad of 1 MiB arrays, 0.5 times the last level of cache, best of 2"

    @pytest.mark.parametrize(
        ("cache", "threads", "mebibytes"),
        [(0, 1, 64), (8, 1, 64), (24, 1, 96), (480, 2, 128), (384, 96, 1536), (1152, 64, 2048)],
    )
    def test_arrays_are_four_times_the_cache_within_bounds(
        self, cache, threads, mebibytes, no_memory, monkeypatch
    ):
        monkeypatch.setattr(module, "last_level_cache", lambda cpus: cache << 20)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        assert triad(torch.device("cpu")) is None
        assert no_memory[0] == mebibytes

    def test_on_a_card_no_cache_holds_them_and_smaller_ones_are_tried(self, no_memory):
        assert triad(torch.device("cuda", 0)) is None
        assert no_memory == [1024, 512, 256, 128, 64]

    def test_on_the_real_cpu_it_is_a_plausible_number(self, monkeypatch):
        monkeypatch.setattr(module, "_MOST_ON_CPU", 64 << 20)
        assert 1e9 < triad(torch.device("cpu")).rate < 1e13

    def caches(self, folder, cpu, *caches):
        for number, (level, size, sharing) in enumerate(caches):
            place = folder / f"cpu{cpu}/cache/index{number}"
            place.mkdir(parents=True)
            for name, text in (("level", level), ("size", size), ("shared_cpu_list", sharing)):
                (place / name).write_text(f"{text}\n")

    def test_the_last_level_of_all_processors_is_read_from_the_kernel(self, tmp_path):
        """Processors with several chips have a cache in each."""
        for cpu, sharing in enumerate(["0-1", "0-1", "2-3", "2-3"]):
            self.caches(tmp_path, cpu, (1, "48K", cpu), (2, "2048K", cpu), (3, "30M", sharing))
        assert last_level_cache([0, 1, 2, 3], tmp_path) == 60 << 20
        assert last_level_cache([0, 1], tmp_path) == 30 << 20
        assert last_level_cache([7], tmp_path) == 0

    def test_a_kernel_that_tells_nonsense_tells_nothing(self, tmp_path):
        self.caches(tmp_path, 0, ("", "48K", 0), (2, "", 0), (3, "many", 0))
        assert last_level_cache([0], tmp_path) == 0
