"""One A/B: both sides ready to be measured, and their launches written to the journals."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.environments import differences_for_counts
from ..analysis.compare.side_by_side import Matched, SideBySide
from ..analysis.compare.sides import CaseSide
from ..errors import UsageError
from ..machine.placement import Place as CardPlace
from ..machine.telemetry import Telemetry
from ..measurement import Device, Environment
from ..results import ab_session
from ..results import folder as folders
from ..results.journal import Journal
from ..running.lanes import (
    ONE_CARD,
    Spread,
    conditions_on,
    exchanged,
    spread_over,
)
from ..running.launching import Watch
from ..running.preparation import ask_environment, probe
from ..running.workers import Workers
from ..suite.case import Case
from ..system.gpu import VISIBLE
from .cases import AbRequest, Matching, cases_of_script, cases_of_suites, match
from .pairs import Launched, PairLane, measure
from .sides import Sides, sides_of, trees_of, workers_of
from .source_lines import Place, below, changed_in, places
from .trees import build
from .versions import Version


@dataclass
class Session:
    """Both sides, ready to be measured, and the folder `place` of their results.

    `environments` are those of the sides, `sources` the files of the user's own code that the candidate has loaded,
    `spread` the places of launches on equal cards.
    """

    place: Path
    sides: Sides
    matching: Matching
    environments: tuple[Environment, Environment]
    request: AbRequest
    sources: frozenset[str] = frozenset()
    spread: Spread = ONE_CARD

    @property
    def same_for_counts(self) -> bool:
        """Whether exact counts of the two sides can be compared."""
        return not differences_for_counts(*self.environments)

    @property
    def cases(self) -> list[Case]:
        """The cases of both sides that are measured."""
        return [case for pair in self.matching.pairs.values() for case in pair]

    @property
    def places(self) -> Mapping[str, Place]:
        """For each suite, the line of the candidate's code at which its verdicts are shown."""
        base, candidate = self.sides
        root = candidate.tree.root
        changed = None
        if base.version.ref:
            sources = [below(file, root) for file in self.sources | set(candidate.plan.files.values())]
            changed = changed_in(root, base.version.ref, candidate.version.ref, sources)
        return places(candidate.plan.files, root, changed)

    def judge(self, asked: ComparisonOptions, names: Sequence[str] | None = None) -> SideBySide:
        """The judge of all matched cases, or of these."""
        matched = [
            Matched(
                name,
                CaseSide(base.suite, base.device),
                CaseSide(candidate.suite, candidate.device),
                intended=base.id != candidate.id,
            )
            for name, (base, candidate) in self.matching.pairs.items()
            if names is None or name in names
        ]
        return SideBySide(matched, asked, self.request.pairs, self.same_for_counts)

    def measure(
        self,
        judge: SideBySide,
        watch: Watch | None = None,
        announce: Callable[[str, str], None] = lambda _name, _what: None,
        began: float | None = None,
    ) -> Iterator[Launched]:
        """Yields every launch once it is in the journal of its side."""
        with contextlib.ExitStack() as stack:
            journals = [
                stack.enter_context(contextlib.closing(Journal(folders.RunFolder(self.place / name).journal)))
                for name in folders.SIDES
            ]
            lanes = stack.enter_context(pair_lanes(self.sides, self.spread, self.environments[0].devices))
            pairs = self.matching.pairs
            launches = measure(self.sides, pairs, judge, watch, announce, began=began, lanes=lanes)
            for launched in stack.enter_context(contextlib.closing(launches)):
                journals[launched.side].append(launched.record)
                yield launched


@contextlib.contextmanager
def open_session(
    versions: tuple[Version, Version], request: AbRequest, place: Path | None = None, kind: str = "ab"
) -> Iterator[Session]:
    """The session, with its cases listed and probed on both sides; on exit its trees and workers are removed.

    `kind` ends the name of its folder. Raises UsageError for what cannot be measured.
    """
    with contextlib.ExitStack() as stack:
        trees = trees_of(stack, versions)
        if request.build:
            for tree in dict.fromkeys(trees):
                build(request.build, tree)
        workers = workers_of(stack, versions, request.conditions)
        top = _new_folder(place, kind)
        sides = sides_of(versions, trees, workers, request.schedule, top)
        try:
            matching = _matching(sides, request)
            devices: list[Mapping[str, str]] = []
            for number, side in enumerate(sides):
                cases = dict.fromkeys(pair[number] for pair in matching.pairs.values())
                plan = dataclasses.replace(side.plan, cases=list(cases))
                overrides = {**request.overrides, **side.version.axes}
                probed = probe(side.workers, plan, request.download, overrides)
                side.plan = probed.plan
                devices.append(probed.devices)
            matching = matching.on(devices)
            measured = {case.device for side in sides for case in side.plan.cases}
            for side in sides:
                side.workers.shared.wait_as_fits(measured)
            base, candidate = (ask_environment(side.workers, side.plan) for side in sides)
        except BaseException:
            folders.discard(top)
            raise
        spread = _spread(sides, (base, candidate))
        base, candidate = (
            dataclasses.replace(one, cards_at_once=spread.cards_at_once) for one in (base, candidate)
        )
        # The sources are those of the candidate, which was probed last.
        session = Session(top, sides, matching, (base, candidate), request, probed.sources, spread)
        for name, side, environment in zip(folders.SIDES, sides, session.environments, strict=True):
            folder = folders.RunFolder(top / name)
            folder.write_json("environment.json", environment.to_json())
            folder.write_json(
                "plan.json",
                {
                    **request.labels,
                    "side": side.label,
                    "started": datetime.now(UTC).isoformat(timespec="seconds"),
                    "version": __version__,
                    "commit": side.tree.commit,
                    "conditions": side.workers.conditions.to_json(),
                    **side.plan.to_json(),
                },
            )
        if kind == "ab":
            ab_session.write(
                top,
                matching.pairs,
                only_base=list(matching.only_base),
                only_candidate=list(matching.only_candidate),
                pairs=request.pairs,
                counts=session.same_for_counts,
            )
        yield session


def _spread(sides: Sides, environments: tuple[Environment, Environment]) -> Spread:
    """Where pairs run on equal cards: only if both sides see the same cards, which none of them chooses itself."""
    chosen = any(VISIBLE in side.version.variables for side in sides)
    if chosen or environments[0].devices != environments[1].devices:
        return ONE_CARD
    both = {
        device: cards
        for device, cards in sides[0].plan.spread.items()
        if sides[1].plan.spread.get(device) == cards
    }
    threads = max((side.workers.conditions for side in sides), key=lambda conditions: conditions.threads)
    return spread_over(both, environments[0].devices, threads)


@contextlib.contextmanager
def pair_lanes(sides: Sides, spread: Spread, cards: Sequence[Device]) -> Iterator[dict[str, list[PairLane]]]:
    """The lanes of each device; on each of them, both sides share workers if they do so here."""
    with contextlib.ExitStack() as stack:

        def lane(device: str, place: CardPlace) -> PairLane:
            variables = exchanged(cards, device, place.card)
            like: dict[int, Workers] = {}
            for shared in (side.workers.shared for side in sides):
                if id(shared) not in like:
                    conditions = conditions_on(place, shared.conditions)
                    like[id(shared)] = stack.enter_context(shared.like(conditions, variables))
            first, second = (
                dataclasses.replace(side, workers=side.workers.on(like[id(side.workers.shared)]))
                for side in sides
            )
            return PairLane((first, second), stack.enter_context(contextlib.closing(Telemetry())))

        yield {device: [lane(device, place) for place in found] for device, found in spread.places.items()}


def _matching(sides: Sides, request: AbRequest) -> Matching:
    """Which cases of both sides belong together. Raises UsageError where there are none."""
    if request.script is None:
        listed = cases_of_suites(sides, request)
    else:
        listed = [cases_of_script(side, request.script, request) for side in sides]
    if not any(listed):
        raise UsageError(f"-k {request.keyword!r} matches no case of either side; bench list shows them")
    set_axes = dict.fromkeys(axis for side in sides for axis in side.version.columns)
    matching = match(listed[0], listed[1], list(set_axes))
    if not matching.pairs:
        raise UsageError(
            f"the sides have no case in common: {len(listed[0])} in {sides[0].label}, "
            f"{len(listed[1])} in {sides[1].label}"
        )
    return matching


def _new_folder(place: Path | None, kind: str) -> Path:
    """The folder of the A/B, which contains the folder of each side."""
    name = folders.run_name(datetime.now(UTC), folders.git_commit(), socket.gethostname())
    top = place if place is not None else folders.RESULTS / f"{name}-{kind}"
    if os.path.lexists(top) and (not os.path.isdir(top) or os.listdir(top)):
        raise UsageError(f"{top} exists and is not an empty folder; name another with --out")
    for side in folders.SIDES:
        folders.create(datetime.now(UTC), top / side)
    return top
