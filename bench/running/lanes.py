"""Lanes: launches on several equal cards at the same time.

A lane is a card with its own processors, fork servers and telemetry. Its processes see the machine's cards with two of
them exchanged, so that the device of a case, such as `cuda:0`, is the card of the lane: nothing else in a launch, or in
the user's code, depends on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..machine.placement import Place, cards_in_use, places
from ..machine.telemetry import Telemetry
from ..measurement import Device
from ..suite.case import Conditions
from ..system.gpu import VISIBLE
from ..system.signals import interruptible
from .launching import Watch
from .workers import RequestRunner, Workers

_ASK_AGAIN = 0.05  # seconds until a thread that was told to end is told again

Item = TypeVar("Item")


@dataclass(frozen=True)
class Lane:
    """Where launches are made one after the other: `workers`, and what watches them from outside."""

    workers: RequestRunner
    watch: Watch | None = None

    def interrupt(self) -> None:
        """Ends the launch that another thread waits for, which then fails."""
        self.workers.interrupt()


@contextlib.contextmanager
def opened(workers: Workers, spread: Spread, cards: Sequence[Device]) -> Iterator[dict[str, list[Lane]]]:
    """The lanes of each device, with fork servers like those of `workers`; `cards` are all of the machine."""
    with contextlib.ExitStack() as stack:

        def lane(device: str, place: Place) -> Lane:
            conditions, variables = (
                conditions_on(place, workers.conditions),
                exchanged(cards, device, place.card),
            )
            own = stack.enter_context(workers.like(conditions, variables))
            return Lane(own, stack.enter_context(contextlib.closing(Telemetry())))

        yield {device: [lane(device, place) for place in places] for device, places in spread.places.items()}


def conditions_on(place: Place, conditions: Conditions) -> Conditions:
    """These conditions on the processors of one place."""
    return dataclasses.replace(conditions, cpus=place.cpus, threads=min(conditions.threads, len(place.cpus)))


def exchanged(cards: Sequence[Device], device: str, card: Device) -> dict[str, str]:
    """The variables with which a process finds this card as `device`, and `device` in the card's place."""
    names = {device: card.device, card.device: device}
    uuids = {one.device: f"GPU-{one.uuid}" for one in cards}
    return {VISIBLE: ",".join(uuids[names.get(name, name)] for name in uuids)}


def at_once(parts: Sequence[Iterator[Item]], interrupt: Callable[[], None] = lambda: None) -> Iterator[Item]:
    """What these iterators yield, in the order in which it comes; a single one runs in this thread.

    Each of several runs in a thread of its own. If this ends early, by a signal or because one of them raised, the
    others end at their next item; `interrupt` is called until they do, and must end what they wait for. The exception
    of the first iterator that raises is raised here.
    """
    if len(parts) == 1:
        yield from parts[0]
        return
    items: queue.SimpleQueue[tuple[list[Item], BaseException | None]] = queue.SimpleQueue()
    ended = threading.Event()

    def go(part: Iterator[Item]) -> None:
        problem: BaseException | None = None
        try:
            for item in part:
                if ended.is_set():
                    break
                items.put(([item], None))
        except BaseException as raised:
            problem = raised
        items.put(([], problem))

    threads = [threading.Thread(target=go, args=(part,), name="lane", daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    try:
        left = len(parts)
        while left:
            with interruptible():
                found, problem = items.get()
            if problem is not None:
                raise problem
            left -= not found
            yield from found
    finally:
        ended.set()
        while running := [thread for thread in threads if thread.is_alive()]:
            interrupt()
            running[0].join(_ASK_AGAIN)


@dataclass(frozen=True)
class Spread:
    """The places of the launches of each device; `in_use` has the processes on cards that get no launch for them."""

    places: Mapping[str, Sequence[Place]]
    in_use: Mapping[str, frozenset[int]]

    @property
    def cards_at_once(self) -> int:
        return max([1, *map(len, self.places.values())])


ONE_CARD = Spread({}, {})


def spread_over(
    spread: Mapping[str, Sequence[str]], cards: Sequence[Device], conditions: Conditions
) -> Spread:
    """Where to make the launches of each device that stands for several equal `cards` of the environment.

    A card that another program uses gets none. A device without two free cards, or without processors for them, has
    no place: its launches are made one after the other.
    """
    wanted = {name for names in spread.values() for name in names}
    in_use = cards_in_use([card for card in cards if card.device in wanted])
    found = {}
    for device, names in spread.items():
        free = [card for card in cards if card.device in names and card.device not in in_use]
        if chosen := places(free, conditions.cpus, conditions.threads):
            found[device] = chosen
    return Spread(found, in_use)
