from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from bench.system.gpu import GpuReading, GpuState, cards_of, driver_version, open_gpus, power_limit


class Refusal(Exception):
    """What NVML raises for a query that a card does not support."""


# NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN.
ARGUMENTS = {
    "ClockInfo": (1,),
    "MaxClockInfo": (1,),
    "Temperature": (0,),
    "TemperatureV": (0,),
    "TemperatureThreshold": (1,),
}


def told(answer):
    if answer is None:
        raise Refusal("Not Supported")
    return answer


class Card:
    """One card of the fake library, with answers in NVML's own units."""

    def __init__(self, bus=1, name="A card", uuid="GPU-11111111-aaaa", parts=None, undivided=None, **answers):
        self.bus, self.name, self.uuid = bus, name, uuid
        self.parts, self.undivided = parts or {}, undivided  # by number, and the answer of one without any
        self.answers = {
            "MemoryInfo": SimpleNamespace(total=80 * 2**30, free=78 * 2**30, used=2 * 2**30),
            "UtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "PowerUsage": 287_654,
            "Temperature": 63,
            "ClockInfo": 1410,
            "MaxClockInfo": 1980,
            "TotalEnergyConsumption": 7_000_500,
            "CurrentClocksEventReasons": 0,
            "ComputeRunningProcesses": [SimpleNamespace(pid=42, usedGpuMemory=None)],
            "PersistenceMode": 1,
            "TemperatureThreshold": 87,
            "EnforcedPowerLimit": 500_000,
            "PowerManagementDefaultLimit": 700_000,
            **answers,
        }


class Nvml:
    """The module pynvml, as far as it is asked: numbers in, numbers or small structures out.

    A query that a card's answers lack is refused; one of `lacks` is unknown to the module itself.
    """

    def __init__(self, *cards, lacks=(), initialised=True):
        self.cards, self.lacks, self.initialised = cards, lacks, initialised

    def nvmlInit(self):
        if not self.initialised:
            raise Refusal("Driver Not Loaded")

    def nvmlSystemGetDriverVersion(self):
        return "570.1"

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        known = [part for card in self.cards for part in (card, *card.parts.values())]
        return told(next((card for card in known if card.uuid == uuid), None))

    def nvmlDeviceGetMigMode(self, card):
        return told([1, 1] if card.parts else card.undivided)

    def nvmlDeviceGetMaxMigDeviceCount(self, card):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card, number):
        return told(card.parts.get(number))

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part):
        return told(next((card for card in self.cards if part in card.parts.values()), None))

    def nvmlDeviceGetName(self, card):
        return told(card.name)

    def nvmlDeviceGetUUID(self, card):
        return told(card.uuid)

    def nvmlDeviceGetPciInfo(self, card):
        return SimpleNamespace(domain=0, bus=card.bus, device=0)

    def __getattr__(self, query):
        what = query.removeprefix("nvmlDeviceGet")
        if what in self.lacks:
            raise AttributeError(query)

        def answer(card, *arguments):
            assert arguments == ARGUMENTS.get(what, ())
            return told(card.answers.get(what))

        return answer


def opened(*cards, **how):
    (gpu,) = open_gpus([0], Nvml(*cards, **how), {})
    return gpu


def test_a_reading_is_in_si_units():
    reading = opened(Card()).read()
    assert reading.memory == 2 * 2**30
    assert reading.utilization == 0.87
    assert reading.power == pytest.approx(287.654)
    assert reading.temperature == 63.0
    assert reading.clock == 1.41e9
    assert reading.max_clock == 1.98e9
    assert reading.energy == pytest.approx(7000.5)
    assert reading.throttle_reasons == frozenset()
    assert reading.processes == {42}


def test_whether_the_driver_stays_loaded():
    assert opened(Card()).state().persistence is True
    assert opened(Card(PersistenceMode=0)).state().persistence is False


def test_the_driver_and_the_power_limit_of_a_card_by_its_uuid():
    nvml = Nvml(Card(), Card(uuid="GPU-2", EnforcedPowerLimit=300_000))
    assert driver_version(nvml) == "570.1"
    assert power_limit("GPU-2", nvml) == 300.0
    assert power_limit("GPU-3", nvml) is None


def test_without_a_driver_there_is_no_version_and_no_power_limit():
    nvml = Nvml(Card(), initialised=False)
    assert driver_version(nvml) is power_limit(nvml.cards[0].uuid, nvml) is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("MemoryInfo", "memory"),
        ("UtilizationRates", "utilization"),
        ("PowerUsage", "power"),
        ("Temperature", "temperature"),
        ("ClockInfo", "clock"),
        ("MaxClockInfo", "max_clock"),
        ("TotalEnergyConsumption", "energy"),
        ("CurrentClocksEventReasons", "throttle_reasons"),
        ("ComputeRunningProcesses", "processes"),
    ],
)
def test_a_query_that_is_refused_leaves_the_others_alone(query, field):
    card = Card()
    del card.answers[query]
    reading = opened(card).read()
    untold = [name for name in GpuReading.__dataclass_fields__ if getattr(reading, name) is None]
    assert untold == [field]


def test_a_card_that_tells_nothing_is_still_a_card():
    card = Card()
    card.answers.clear()
    gpu = opened(card)
    assert gpu.read() == GpuReading()


def test_the_state_of_a_card_is_what_a_checkup_asks():
    assert opened(Card(CurrentClocksEventReasons=0x04)).state() == GpuState(
        index=0,
        name="A card",
        uuid="GPU-11111111-aaaa",
        persistence=True,
        processes=frozenset({42}),
        throttle_reasons=frozenset({"power_cap"}),
        temperature=63.0,
        slowdown_temperature=87.0,
        power_limit=500.0,
        default_power_limit=700.0,
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("PersistenceMode", "persistence"),
        ("ComputeRunningProcesses", "processes"),
        ("CurrentClocksEventReasons", "throttle_reasons"),
        ("Temperature", "temperature"),
        ("TemperatureThreshold", "slowdown_temperature"),
        ("EnforcedPowerLimit", "power_limit"),
        ("PowerManagementDefaultLimit", "default_power_limit"),
    ],
)
def test_a_refused_query_of_the_state_leaves_the_others_alone(query, field):
    card = Card()
    del card.answers[query]
    state = opened(card).state()
    untold = [name for name in GpuState.__dataclass_fields__ if getattr(state, name) is None]
    assert untold == [field]


def test_a_state_of_which_nothing_is_told_has_a_number():
    card = Card(name=None, uuid=None)
    card.answers.clear()
    assert opened(card).state() == GpuState(0)


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0x000, set()),
        (0x001, set()),  # idle
        (0x002, set()),  # clocks that were asked for
        (0x010, set()),  # in step with other cards
        (0x100, set()),  # the display's
        (0x004, {"power_cap"}),
        (0x020, {"thermal"}),
        (0x048, {"hardware_slowdown", "thermal"}),
        (0x088, {"hardware_slowdown", "power_brake"}),
        (0x005, {"power_cap"}),
    ],
)
def test_only_what_slows_a_card_down_is_named(bits, names):
    assert opened(Card(CurrentClocksEventReasons=bits)).read().throttle_reasons == names


def test_older_and_newer_names_of_a_query_are_asked_as_well():
    older = Card(CurrentClocksThrottleReasons=0x40)
    assert opened(older, lacks=["CurrentClocksEventReasons"]).read().throttle_reasons == {"thermal"}
    assert opened(Card(TemperatureV=71), lacks=["Temperature"]).read().temperature == 71.0


def test_no_card_is_asked_for_and_nothing_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delitem(sys.modules, "pynvml")
    assert open_gpus([]) == []
    assert "pynvml" not in sys.modules


def test_without_the_package_there_are_no_cards(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what makes its import fail
    assert open_gpus([0]) == []


def test_the_package_is_found_by_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(Card()))
    assert [gpu.index for gpu in open_gpus([0], environ={})] == [0]


def test_without_a_driver_there_are_no_cards():
    assert open_gpus([0], Nvml(Card(), initialised=False), {}) == []


def test_answers_in_bytes_are_text_too():
    nvml = Nvml(Card(bus=1, name=b"A", uuid=b"GPU-1"), Card(bus=2, name=b"A", uuid=b"GPU-2"))
    nvml.nvmlSystemGetDriverVersion = lambda: b"470.1"
    (gpu,) = open_gpus([0], nvml, {"CUDA_VISIBLE_DEVICES": "GPU-2"})
    assert driver_version(nvml) == "470.1"
    assert (gpu.state().name, gpu.state().uuid) == ("A", "GPU-2")
    assert gpu._handle is nvml.cards[1]


TWINS = (Card(bus=1, uuid="GPU-aa11"), Card(bus=2, uuid="GPU-aa22"), Card(bus=3, uuid="GPU-bb33"))


@pytest.mark.parametrize(
    ("visible", "buses"),
    [
        (None, [1, 2, 3]),
        ("2,0", [3, 1]),
        (" 1 , 2 ", [2, 3]),
        ("", []),
        ("-1", []),
        ("0,-1,2", [1]),
        ("0,7,2", [1]),
        ("GPU-bb33", [3]),
        ("GPU-bb,0", [3, 1]),
        ("GPU-aa,0", []),  # the beginning of two
        ("MIG-bb33", []),
        ("NoDevFiles", []),
    ],
)
def test_cuda_counts_what_is_visible(visible, buses):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    gpus = open_gpus(range(5), Nvml(*TWINS), environ)
    assert [gpu._handle.bus for gpu in gpus] == buses
    assert [gpu.index for gpu in gpus] == list(range(len(buses)))


def test_cards_are_counted_by_their_place_on_the_bus():
    (gpu,) = open_gpus([0], Nvml(TWINS[2], TWINS[0]), {})
    assert gpu._handle is TWINS[0]


def test_a_card_that_cannot_be_reached_is_not_counted():
    nvml = Nvml(*TWINS)

    def lost(index):
        if index == 0:
            raise Refusal("GPU is lost")
        return TWINS[index]

    nvml.nvmlDeviceGetHandleByIndex = lost
    assert [gpu._handle.bus for gpu in open_gpus(range(3), nvml, {})] == [2, 3]


def test_which_of_different_cards_is_the_fastest_is_not_guessed():
    nvml = Nvml(Card(bus=1, name="Slow", uuid="GPU-1"), Card(bus=2, name="Fast", uuid="GPU-2"))
    assert open_gpus([0, 1], nvml, {}) == []
    assert open_gpus([0], nvml, {"CUDA_VISIBLE_DEVICES": "1"}) == []
    by_bus = open_gpus([0, 1], nvml, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [gpu._handle.name for gpu in by_bus] == ["Slow", "Fast"]
    (named,) = open_gpus([1], nvml, {"CUDA_VISIBLE_DEVICES": "0,GPU-2"})
    assert (named._handle.name, named.index) == ("Fast", 1)


def part(uuid, pid, used):
    """A part of a card: NVML answers these queries of it only."""
    made = Card(name="A card MIG 1g.10gb", uuid=uuid)
    made.answers = {
        "MemoryInfo": SimpleNamespace(total=10 * 2**30, free=0, used=used),
        "ComputeRunningProcesses": [SimpleNamespace(pid=pid, usedGpuMemory=None)],
    }
    return made


class TestParts:
    """A card that is divided by MIG, of which a process sees one part."""

    def machine(self, *others):
        parts = {1: part("MIG-a", 7, 100), 3: part("MIG-b", 8, 200)}
        return Nvml(Card(uuid="GPU-divided", parts=parts), *others)

    @pytest.mark.parametrize(
        ("visible", "uuids"),
        [
            (None, ["MIG-a"]),  # the first part there is
            ("0", ["MIG-a"]),
            ("MIG-b", ["MIG-b"]),
            (" MIG-a ", ["MIG-a"]),
            ("MIG-b,MIG-a", ["MIG-b"]),  # CUDA shows one
            ("MIG-none", []),
            ("", []),
            ("-1", []),
            ("1", []),
        ],
    )
    def test_cuda_shows_one(self, visible, uuids):
        environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        assert [gpu.state().uuid for gpu in open_gpus(range(3), self.machine(), environ)] == uuids

    def test_what_its_neighbours_share_in_is_not_read(self):
        (gpu,) = open_gpus([0], self.machine(), {"CUDA_VISIBLE_DEVICES": "MIG-b"})
        reading = gpu.read()
        assert (reading.memory, reading.processes) == (200, {8})
        assert reading.power is reading.energy is reading.utilization is None

    def test_what_holds_for_every_part_is_read_of_the_card(self):
        (gpu,) = open_gpus([0], self.machine(), {"CUDA_VISIBLE_DEVICES": "MIG-b"})
        reading = gpu.read()
        assert (reading.clock, reading.temperature, reading.throttle_reasons) == (1.41e9, 63.0, frozenset())
        assert gpu.state().power_limit == 500.0

    def test_with_further_cards_a_number_does_not_tell_which_part_it_is(self):
        assert open_gpus([0, 1], self.machine(Card(bus=2, uuid="GPU-whole")), {}) == []
        (named,) = open_gpus([0], self.machine(Card(bus=2)), {"CUDA_VISIBLE_DEVICES": "MIG-a"})
        assert named.state().uuid == "MIG-a"

    @pytest.mark.parametrize("answer", [None, [0, 0], [0, 1]])
    def test_a_card_that_is_not_divided_now_is_read_as_a_whole(self, answer):
        (gpu,) = open_gpus([0], Nvml(Card(undivided=answer)), {})
        assert gpu.read().energy == pytest.approx(7000.5)

    def test_a_divided_card_without_a_part_has_no_readings(self):
        nvml = self.machine()
        nvml.nvmlDeviceGetMigDeviceHandleByIndex = lambda card, number: told(None)
        assert open_gpus([0], nvml, {}) == []


class TestCardsOfADevice:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(*TWINS))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    @pytest.mark.parametrize(
        ("device", "variables", "buses"),
        [
            ("cuda:1", {}, [2]),
            ("cuda", {}, [1]),
            ("cuda:0", {"CUDA_VISIBLE_DEVICES": "2"}, [3]),
            ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2"}, []),
            ("cuda:0", {"CUDA_VISIBLE_DEVICES": ""}, []),
            ("cpu", {}, []),
            ("mps:0", {}, []),
            ("cuda:x", {}, []),
        ],
    )
    def test_it_is_the_one_that_a_process_with_these_variables_means(self, device, variables, buses):
        assert [gpu._handle.bus for gpu in cards_of(device, variables)] == buses

    def test_variables_of_this_process_hold_too(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert [gpu._handle.bus for gpu in cards_of("cuda:0")] == [2]
