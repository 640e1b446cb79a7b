"""The only module that calls NVIDIA's management library (NVML): driver, cards, their readings and settings.

The answer to a query depends on card, driver and permissions: a refused query gives None and does not affect others.
Without the library, a driver or a card there are no cards. Nothing is raised.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# Why a card runs slower than it could: bits of NVML's clock event reasons. Their numbers are stable, their names have
# changed. Idle cards and requested clocks are not included.
_THROTTLE_REASONS = {
    0x04: "power_cap",  # software enforces the power limit
    0x08: "hardware_slowdown",  # the two below, or an external alarm: clocks at half or less
    0x20: "thermal",  # software limits the temperature
    0x40: "thermal",  # hardware limits the temperature
    0x80: "power_brake",  # requested by the power supply
}

_SM, _GPU_SENSOR = 1, 0  # NVML_CLOCK_SM, NVML_TEMPERATURE_GPU
_SLOWDOWN = 1  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

VISIBLE = "CUDA_VISIBLE_DEVICES"
# The variables that hide cards from a process, by kind of device: of NVIDIA's and AMD's runtime, and of Intel's.
HIDING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cuda": (VISIBLE, "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        "xpu": ("ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR"),
    }
)


@dataclass(frozen=True)
class GpuReading:
    """The readings of one card at one moment; None for what NVML does not report.

    Of a part of a card (MIG), `memory` and `processes` are those of the part. What its neighbours share in is None:
    utilization, power and energy. Clocks, temperature and throttle reasons are those of the whole card, which hold for
    every part.

    `memory` is the bytes in use by all processes and the driver. `utilization` is the share of the last sixth of a
    second (on some cards: second) in which a kernel ran. `power` is in watts, on newer cards the average of the last
    second; `temperature` in degrees Celsius; `clock` and `max_clock` are those of the multiprocessors in hertz;
    `energy` is the joules since the driver was loaded. `processes` are the pids that compute on the card; in a
    container, older drivers give their numbers outside of it.
    """

    memory: int | None = None
    utilization: float | None = None
    power: float | None = None
    temperature: float | None = None
    clock: float | None = None
    max_clock: float | None = None
    energy: float | None = None
    throttle_reasons: frozenset[str] | None = None
    processes: frozenset[int] | None = None


@dataclass(frozen=True)
class GpuState:
    """The identity, settings and users of one card; None for what NVML does not report.

    `index` is the number that CUDA gives it, `persistence` whether its driver stays loaded while the card is unused.
    Temperatures are in degrees Celsius: at `slowdown_temperature` the hardware slows the card down. Power limits are in
    watts: the one in force, and the card's default.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    persistence: bool | None = None
    processes: frozenset[int] | None = None
    throttle_reasons: frozenset[str] | None = None
    temperature: float | None = None
    slowdown_temperature: float | None = None
    power_limit: float | None = None
    default_power_limit: float | None = None


class Gpu:
    """One card, or a part of it, by the number that CUDA gives it. `whole` is the handle of the card of a part."""

    def __init__(self, nvml: Any, handle: Any, index: int, whole: Any = None) -> None:
        self.index = index
        self._nvml = nvml
        self._handle = handle
        self._whole = handle if whole is None else whole
        self._is_part = whole is not None
        self._max_clock = _scaled(self._query("nvmlDeviceGetMaxClockInfo", _SM), 1e6)

    def _query(self, query: str, *arguments: Any) -> Any:
        """Of the whole card."""
        return _query(self._nvml, query, self._whole, *arguments)

    def _own(self, query: str) -> Any:
        """Of the part, if it is one."""
        return _query(self._nvml, query, self._handle)

    def _undivided(self, query: str) -> Any:
        """Of the whole card, if it is used as a whole."""
        return None if self._is_part else self._query(query)

    def read(self) -> GpuReading:
        """The current readings of the card."""
        energy = self._undivided("nvmlDeviceGetTotalEnergyConsumption")  # first, since it grows meanwhile
        memory = self._own("nvmlDeviceGetMemoryInfo")
        utilization = self._undivided("nvmlDeviceGetUtilizationRates")
        temperature = self._query("nvmlDeviceGetTemperature", _GPU_SENSOR)
        if temperature is None:  # deprecated by CUDA 13 in favour of this one, which older drivers lack
            temperature = self._query("nvmlDeviceGetTemperatureV", _GPU_SENSOR)
        reasons = self._query("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name until driver 535
            reasons = self._query("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is not None:
            reasons = frozenset(name for bit, name in _THROTTLE_REASONS.items() if reasons & bit)
        processes = self._own("nvmlDeviceGetComputeRunningProcesses")
        return GpuReading(
            memory=None if memory is None else int(memory.used),
            utilization=None if utilization is None else utilization.gpu / 100,
            power=_scaled(self._undivided("nvmlDeviceGetPowerUsage"), 1e-3),
            temperature=_scaled(temperature),
            clock=_scaled(self._query("nvmlDeviceGetClockInfo", _SM), 1e6),
            max_clock=self._max_clock,
            energy=_scaled(energy, 1e-3),
            throttle_reasons=reasons,
            processes=None if processes is None else frozenset(int(process.pid) for process in processes),
        )

    def state(self) -> GpuState:
        """The settings of the card, and what could contaminate a launch on it."""
        mode = self._query("nvmlDeviceGetPersistenceMode")
        now = self.read()
        return GpuState(
            index=self.index,
            name=_text(self._own("nvmlDeviceGetName")),
            uuid=_text(self._own("nvmlDeviceGetUUID")),
            persistence=None if mode is None else bool(mode),
            processes=now.processes,
            throttle_reasons=now.throttle_reasons,
            temperature=now.temperature,
            slowdown_temperature=_scaled(self._query("nvmlDeviceGetTemperatureThreshold", _SLOWDOWN)),
            power_limit=_scaled(self._query("nvmlDeviceGetEnforcedPowerLimit"), 1e-3),
            default_power_limit=_scaled(self._query("nvmlDeviceGetPowerManagementDefaultLimit"), 1e-3),
        )


def driver_version(nvml: Any = None) -> str | None:
    """The version of NVIDIA's driver. `nvml` as in `open_gpus`."""
    return _text(_query(_initialised(nvml), "nvmlSystemGetDriverVersion"))


def power_limit(uuid: str, nvml: Any = None) -> float | None:
    """The power limit in force, in watts, of the card with this UUID (`GPU-...`). `nvml` as in `open_gpus`."""
    nvml = _initialised(nvml)
    card = _query(nvml, "nvmlDeviceGetHandleByUUID", uuid)
    return None if card is None else _scaled(_query(nvml, "nvmlDeviceGetEnforcedPowerLimit", card), 1e-3)


def open_gpus(indices: Iterable[int], nvml: Any = None, environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The cards with these CUDA numbers under these variables, if NVML can identify them.

    `nvml` is the module to call; by default pynvml, imported only if a card is requested.
    """
    wanted = list(indices)
    nvml = _initialised(nvml) if wanted else None
    if nvml is None:
        return []
    try:
        cards = _cuda_order(nvml, environ)
    except Exception:
        return []
    known = {index: card for index, card in enumerate(cards) if card is not None}
    return [Gpu(nvml, *known[index][:1], index, *known[index][1:]) for index in wanted if index in known]


def cards_of(device: str, variables: Mapping[str, str] = NO_VARIABLES) -> list[Gpu]:
    """The card that a process with these variables, beside those of this one, calls by this name (`cuda:1`).

    Empty for a device that is not NVIDIA's, and for a card that NVML cannot identify.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        return []
    return open_gpus([int(index or 0)], environ={**os.environ, **variables})


def _initialised(nvml: Any) -> Any:
    """The library, ready to be queried; None without its package, a driver, or the rights to it."""
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
        return nvml
    except Exception:
        return None


# The handle of a card; or of a part of it (MIG), and that of the whole card.
_Handles = tuple[Any] | tuple[Any, Any]


def _cuda_order(nvml: Any, environ: Mapping[str, str]) -> list[_Handles | None]:
    """The cards in CUDA's order, None for one that cannot be identified.

    CUDA orders by PCI bus if CUDA_DEVICE_ORDER requests it; else it begins with the fastest card, which is known only
    to CUDA, unless all are of one model. CUDA_VISIBLE_DEVICES selects from that order by number, or any card by its
    UUID; the first entry that matches no card ends the list.

    Of a card that is divided (MIG), CUDA shows one part only: that of the entry `MIG-...`, without one the first part
    of the first divided card (NVIDIA, "MIG User Guide", section on CUDA device enumeration). Which that is can be told
    where the machine has one card.
    """
    handles = [
        _query(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(nvml.nvmlDeviceGetCount())
    ]
    cards = sorted((card for card in handles if card is not None), key=lambda card: _bus(nvml, card))
    visible = environ.get(VISIBLE)
    entries = None if visible is None else [entry.strip() for entry in visible.split(",")]
    if entries and entries[0].startswith("MIG-"):
        return _part_by_uuid(nvml, entries[0])
    if any(_is_divided(nvml, card) for card in cards):
        is_shown = entries is None or entries[0] == "0"
        return _first_part(nvml, cards[0]) if len(cards) == 1 and is_shown else []
    alike = len({_text(_query(nvml, "nvmlDeviceGetName", card)) for card in cards}) <= 1
    by_bus = alike or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    ordered: list[_Handles | None] = [(card,) if by_bus else None for card in cards]
    if entries is None:
        return ordered
    uuids = [_text(_query(nvml, "nvmlDeviceGetUUID", card)) or "" for card in cards]
    chosen: list[_Handles | None] = []
    for entry in entries:
        named = [card for card, uuid in zip(cards, uuids, strict=True) if uuid.startswith(entry)]
        if entry.isdecimal() and int(entry) < len(ordered):
            chosen.append(ordered[int(entry)])
        elif entry.startswith("GPU-") and len(named) == 1:  # CUDA accepts the beginning of a UUID
            chosen.append((named[0],))
        else:
            break
    return chosen


def _is_divided(nvml: Any, card: Any) -> bool:
    """Whether a card is in MIG mode; those that cannot be divided refuse the query."""
    mode = _query(nvml, "nvmlDeviceGetMigMode", card)  # the current one, and the one after the next reset
    return mode is not None and mode[0] == 1


def _part_by_uuid(nvml: Any, uuid: str) -> list[_Handles | None]:
    part = _query(nvml, "nvmlDeviceGetHandleByUUID", uuid)
    whole = None if part is None else _query(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", part)
    return [] if whole is None else [(part, whole)]


def _first_part(nvml: Any, card: Any) -> list[_Handles | None]:
    for number in range(_query(nvml, "nvmlDeviceGetMaxMigDeviceCount", card) or 0):
        if (part := _query(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", card, number)) is not None:
            return [(part, card)]
    return []


def _bus(nvml: Any, card: Any) -> tuple[int, ...]:
    """The place of a card on the PCI bus; cards without an answer keep their order."""
    place = _query(nvml, "nvmlDeviceGetPciInfo", card)
    return () if place is None else (place.domain, place.bus, place.device)


def _query(nvml: Any, query: str, *arguments: Any) -> Any:
    """The answer to one query; None if it is refused, or unknown to the library."""
    try:
        return getattr(nvml, query)(*arguments)
    except Exception:  # an NVMLError for each reason: unsupported, no permission, fallen off the bus
        return None


def _scaled(value: Any, unit: float = 1.0) -> float | None:
    """An answer in SI units; `unit` is its unit in SI."""
    return None if value is None else float(value) * unit


def _text(answer: Any) -> str | None:
    """An answer as text; older versions of the package return bytes."""
    if answer is None:
        return None
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
