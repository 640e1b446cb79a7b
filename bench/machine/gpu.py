"""NVIDIA cards, as their management library (NVML) tells of them: what they do now, and who uses them.

A card tells what its make, driver and settings allow, so each query stands for itself: where it is refused
its field is None and the others are not. Without the library, a driver or a card there are no cards, and
nothing is raised.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Why a card runs slower than it could: bits of NVML's clock event reasons, whose numbers are part of its
# interface while their names have changed. An idle card, or clocks that were asked for, is no such reason.
_SLOWED = {
    0x04: "power_cap",  # software holds the power limit
    0x08: "hardware_slowdown",  # the two below, or an external alarm: clocks at half or less
    0x20: "thermal",  # software keeps the temperature
    0x40: "thermal",  # the hardware does
    0x80: "power_brake",  # the power supply asked for it
}

_SM, _GPU_SENSOR = 1, 0  # NVML_CLOCK_SM, NVML_TEMPERATURE_GPU
_SLOWDOWN = 1  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN


@dataclass(frozen=True)
class GpuReading:
    """What one card told at one moment; None where it did not tell.

    `memory` is the bytes in use by anyone, the driver's own share among them. `utilization` is the share
    of the last sixth of a second (on some cards: second) in which a kernel ran. `power` is in watts,
    which newer cards average over the last second; `temperature` in degrees Celsius; `clock` and
    `max_clock` are those of the multiprocessors in hertz; `energy` is the joules since the driver was
    loaded. `slowed` names what holds the clocks down, `pids` the processes that compute on the card: in a
    container, an older driver tells their numbers outside of it.
    """

    memory: int | None = None
    utilization: float | None = None
    power: float | None = None
    temperature: float | None = None
    clock: float | None = None
    max_clock: float | None = None
    energy: float | None = None
    slowed: frozenset[str] | None = None
    pids: frozenset[int] | None = None


@dataclass(frozen=True)
class GpuState:
    """What one card is, how it is set and who uses it; None where it did not tell.

    `index` is the number that CUDA gives it. Temperatures are in degrees Celsius: at `slowdown_temperature`
    the hardware slows the card down. Power limits are in watts: the one that holds, and that of the card
    as it comes. `throttled` and `processes` are `slowed` and `pids` of a GpuReading.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    persistence: bool | None = None
    processes: frozenset[int] | None = None
    throttled: frozenset[str] | None = None
    temperature: float | None = None
    slowdown_temperature: float | None = None
    power_limit: float | None = None
    default_power_limit: float | None = None


class Gpu:
    """One card, by the number that CUDA gives it.

    `driver` is the version of its driver; `persistent` says whether the driver stays loaded while no one
    uses the card. Both are None where that is not told.
    """

    def __init__(self, nvml: Any, handle: Any, index: int) -> None:
        self.index = index
        self._nvml = nvml
        self._handle = handle
        driver = _told(nvml, "nvmlSystemGetDriverVersion")
        mode = self._told("nvmlDeviceGetPersistenceMode")
        self.driver = None if driver is None else _text(driver)
        self.persistent = None if mode is None else bool(mode)
        self._max_clock = _scaled(self._told("nvmlDeviceGetMaxClockInfo", _SM), 1e6)

    def _told(self, query: str, *arguments: Any) -> Any:
        return _told(self._nvml, query, self._handle, *arguments)

    def read(self) -> GpuReading:
        """What the card tells now."""
        energy = self._told("nvmlDeviceGetTotalEnergyConsumption")  # first: it grows while we ask
        memory = self._told("nvmlDeviceGetMemoryInfo")
        utilization = self._told("nvmlDeviceGetUtilizationRates")
        temperature = self._told("nvmlDeviceGetTemperature", _GPU_SENSOR)
        if temperature is None:  # deprecated by CUDA 13 in favour of this one, which older drivers lack
            temperature = self._told("nvmlDeviceGetTemperatureV", _GPU_SENSOR)
        reasons = self._told("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # so called until driver 535
            reasons = self._told("nvmlDeviceGetCurrentClocksThrottleReasons")
        processes = self._told("nvmlDeviceGetComputeRunningProcesses")
        slowed = (
            None if reasons is None else frozenset(name for bit, name in _SLOWED.items() if reasons & bit)
        )
        return GpuReading(
            memory=None if memory is None else int(memory.used),
            utilization=None if utilization is None else utilization.gpu / 100,
            power=_scaled(self._told("nvmlDeviceGetPowerUsage"), 1e-3),
            temperature=_scaled(temperature),
            clock=_scaled(self._told("nvmlDeviceGetClockInfo", _SM), 1e6),
            max_clock=self._max_clock,
            energy=_scaled(energy, 1e-3),
            slowed=slowed,
            pids=None if processes is None else frozenset(int(process.pid) for process in processes),
        )

    def state(self) -> GpuState:
        """What disturbs a launch on this card before there is one."""
        name, uuid = self._told("nvmlDeviceGetName"), self._told("nvmlDeviceGetUUID")
        now = self.read()
        return GpuState(
            index=self.index,
            name=None if name is None else _text(name),
            uuid=None if uuid is None else _text(uuid),
            persistence=self.persistent,
            processes=now.pids,
            throttled=now.slowed,
            temperature=now.temperature,
            slowdown_temperature=_scaled(self._told("nvmlDeviceGetTemperatureThreshold", _SLOWDOWN)),
            power_limit=_scaled(self._told("nvmlDeviceGetEnforcedPowerLimit"), 1e-3),
            default_power_limit=_scaled(self._told("nvmlDeviceGetPowerManagementDefaultLimit"), 1e-3),
        )


def open_gpus(indices: Iterable[int], nvml: Any = None, environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The cards that CUDA gives these numbers under these variables, without those that cannot be told.

    `nvml` is the module to ask, by default pynvml, which is imported where a card is asked for.
    """
    wanted = list(indices)
    if not wanted:
        return []
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
        cards = _cuda_order(nvml, environ)
    except Exception:  # no package, no driver, no rights: whatever it is, there is nothing to be told
        return []
    known = {index: card for index, card in enumerate(cards) if card is not None}
    return [Gpu(nvml, known[index], index) for index in wanted if index in known]


def _cuda_order(nvml: Any, environ: Mapping[str, str]) -> list[Any]:
    """The cards in the order in which CUDA counts them, None in the place of one that cannot be told.

    CUDA counts by PCI bus where CUDA_DEVICE_ORDER says so; else it begins with the card that it takes for
    the fastest, which no one but CUDA can tell, unless all are of one make. CUDA_VISIBLE_DEVICES picks
    from that order by number, or any card by its UUID; the first entry that means no card ends the list.
    An instance of a divided card (MIG) has no readings of its own, and is taken for such an entry.
    """
    found = [_told(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(nvml.nvmlDeviceGetCount())]
    cards = sorted((card for card in found if card is not None), key=lambda card: _bus(nvml, card))
    alike = len({_text(_told(nvml, "nvmlDeviceGetName", card)) for card in cards}) <= 1
    by_bus = alike or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    counted = cards if by_bus else [None] * len(cards)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return counted
    uuids = [_text(_told(nvml, "nvmlDeviceGetUUID", card)) for card in cards]
    chosen = []
    for entry in map(str.strip, visible.split(",")):
        named = [card for card, uuid in zip(cards, uuids, strict=True) if uuid.startswith(entry)]
        if entry.isdecimal() and int(entry) < len(counted):
            chosen.append(counted[int(entry)])
        elif entry.startswith("GPU-") and len(named) == 1:  # CUDA takes the beginning of a UUID as well
            chosen.append(named[0])
        else:
            break
    return chosen


def _bus(nvml: Any, card: Any) -> tuple[int, ...]:
    """Where on the PCI bus a card is; cards that do not tell keep their order."""
    place = _told(nvml, "nvmlDeviceGetPciInfo", card)
    return () if place is None else (place.domain, place.bus, place.device)


def _told(nvml: Any, query: str, *arguments: Any) -> Any:
    """The answer to one query, None where it is refused or the library is too old to know it."""
    try:
        return getattr(nvml, query)(*arguments)
    except Exception:  # an NVMLError for each reason: unsupported, no permission, fallen off the bus
        return None


def _scaled(value: Any, unit: float = 1.0) -> float | None:
    """An answer in SI units, its own `unit` given in them."""
    return None if value is None else float(value) * unit


def _text(answer: Any) -> str:
    """Older versions of the package answer in bytes."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
