"""An A/B from its sides to its page: trees, workers, matched cases, journals, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..analysis.compare.comparable import ComparisonOptions
from ..analysis.compare.environments import differences_for_counts
from ..analysis.compare.side_by_side import Matched, SideBySide
from ..analysis.compare.sides import CaseSide
from ..errors import SuiteError, UsageError
from ..measurement import Environment
from ..results import ab_session as kept
from ..results import folder as folders
from ..results.journal import Journal
from ..running.fork_server import Interpreter, Workers
from ..running.rounds import (
    Plan,
    SuiteListing,
    Watch,
    ask_environment,
    describe,
    describe_script,
    probe,
    suite_files,
)
from ..suite.case import MOST_PAIRS, AxisValue, Case, Conditions, Schedule
from ..suite.matrix import ARGUMENT, VARIABLE, column
from ..suite.script import Script
from ..suite.selection import parse
from .matching import Matching, match
from .pairs import Guest, Launched, MeasuredSide, Sides, measure
from .source_lines import Place, below, changed_in, places
from .trees import Repository, Tree, build, without_git
from .versions import NOW, Version


@dataclass(frozen=True)
class AbRequest:
    """What an A/B was asked to measure: `suites` as the user named them, the -k expression, the axes of --axis.

    With a `script` there are no suites. `build` is the command that each tree is built with; `pairs` the most of a
    case; `labels` go into plan.json.
    """

    suites: Sequence[Path]
    schedule: Schedule
    conditions: Conditions
    keyword: str | None = None
    overrides: Mapping[str, Sequence[AxisValue]] = field(default_factory=dict)
    build: str = ""
    download: bool = False
    pairs: int = MOST_PAIRS
    labels: Mapping[str, str] = field(default_factory=dict)
    script: Script | None = None


@dataclass
class Session:
    """Both sides, ready to be measured into `place`; `environments` are theirs, `sources` the files of the user's own
    code that the candidate has loaded.
    """

    place: Path
    sides: Sides
    matching: Matching
    environments: tuple[Environment, Environment]
    request: AbRequest
    sources: frozenset[str] = frozenset()

    @property
    def same_for_counts(self) -> bool:
        """Whether counts of the two sides may be held against each other."""
        return not differences_for_counts(*self.environments)

    @property
    def cases(self) -> list[Case]:
        """Those of both sides that are measured."""
        return [case for pair in self.matching.pairs.values() for case in pair]

    @property
    def places(self) -> Mapping[str, Place]:
        """By suite where in the candidate's code its verdicts belong."""
        base, candidate = self.sides
        root = candidate.tree.root
        changed = None
        if base.version.ref:
            own = [below(file, root) for file in self.sources | set(candidate.plan.files.values())]
            changed = changed_in(root, base.version.ref, candidate.version.ref, own)
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
        announce: Callable[[str, int], None] = lambda _name, _pair: None,
        began: float | None = None,
    ) -> Iterator[Launched]:
        """Every launch as it comes back, once it is in the journal of its side."""
        with contextlib.ExitStack() as stack:
            journals = [
                stack.enter_context(contextlib.closing(Journal(folders.RunFolder(self.place / name).journal)))
                for name in folders.SIDES
            ]
            for one in measure(self.sides, self.matching.pairs, judge, watch, announce, began=began):
                journals[one.side].append(one.record)
                yield one


def resolve(versions: Sequence[Version]) -> tuple[Version, Version]:
    """Base and candidate: one side is held against what lies here now, none means where work left the main branch."""
    if len(versions) == 2:
        return versions[0], versions[1]
    now = Version(NOW)
    if versions:
        return versions[0], now
    commit = Repository().merge_base()
    return Version(f"ref={commit[:9]}", ref=commit), now


@contextlib.contextmanager
def opened(
    versions: tuple[Version, Version], request: AbRequest, place: Path | None = None, kind: str = "ab"
) -> Iterator[Session]:
    """The session, its cases found and its sides tried; trees and workers go with it. `kind` ends its folder's name.

    Raises UsageError for what cannot be measured.
    """
    with contextlib.ExitStack() as stack:
        trees = _trees(stack, versions)
        if request.build:
            for tree in dict.fromkeys(trees):
                build(request.build, tree)
        hosts = _hosts(stack, versions, request.conditions)
        top = _new_folder(place, kind)
        sides = _sides(versions, trees, hosts, request, top)
        try:
            if request.script is not None:
                listed = [_cases_of_script(side, request.script, request) for side in sides]
            else:
                found = [_files(side.tree, request.suites) for side in sides]
                if not any(found):
                    suite_files(request.suites)  # says what is wrong
                listed = [_cases(side, files, request) for side, files in zip(sides, found, strict=True)]
            matching = match(
                listed[0], listed[1], list(dict.fromkeys(axis for one in versions for axis in one.columns))
            )
            if not any(listed):
                raise UsageError(
                    f"-k {request.keyword!r} matches no case of either side; bench list shows them"
                )
            if not matching.pairs:
                raise UsageError(
                    f"the sides have no case in common: {len(listed[0])} in {sides[0].label}, "
                    f"{len(listed[1])} in {sides[1].label}"
                )
            for number, side in enumerate(sides):
                chosen = dict.fromkeys(pair[number] for pair in matching.pairs.values())
                plan = dataclasses.replace(side.plan, cases=list(chosen))
                overrides = {**request.overrides, **side.version.axes}
                probed = probe(side.workers, plan, request.download, overrides)
                side.plan = probed.plan
            environments = tuple(ask_environment(side.workers, request.schedule.seed) for side in sides)
        except BaseException:
            folders.discard(top)
            raise
        for name, side, environment in zip(folders.SIDES, sides, environments, strict=True):
            _write_plan(folders.RunFolder(top / name), side, environment, request)
        session = Session(
            top,
            sides,
            matching,
            (environments[0], environments[1]),
            request,
            probed.sources,  # of the candidate, which came last
        )
        if kind == "ab":
            kept.write(
                top,
                matching.pairs,
                only_base=list(matching.only_base),
                only_candidate=list(matching.only_candidate),
                pairs=request.pairs,
                counts=session.same_for_counts,
            )
        yield session


def _trees(stack: contextlib.ExitStack, versions: tuple[Version, Version]) -> list[Tree]:
    """The tree of each side; a commit that both name is checked out once."""
    if not any(version.ref for version in versions):
        try:
            own = Repository().own()
        except UsageError:
            own = without_git()
        return [own, own]
    repository = Repository()
    commits = [repository.commit(version.ref) if version.ref else "" for version in versions]
    made = {
        commit: stack.enter_context(repository.checked_out(commit)) if commit else repository.own()
        for commit in dict.fromkeys(commits)
    }
    return [made[commit] for commit in commits]


def _hosts(
    stack: contextlib.ExitStack, versions: tuple[Version, Version], conditions: Conditions
) -> list[Workers]:
    """Workers for each side: the same ones where interpreter and environment are equal."""
    made: dict[tuple[str, tuple[tuple[str, str], ...]], Workers] = {}
    hosts = []
    for version in versions:
        key = version.python, tuple(sorted(version.variables.items()))
        if key not in made:
            interpreter = Interpreter(version.python or Interpreter().program, version.variables)
            own = _with_threads(conditions, version.variables)
            made[key] = stack.enter_context(Workers(own, interpreter=interpreter))
        hosts.append(made[key])
    return hosts


def _with_threads(conditions: Conditions, variables: Mapping[str, str]) -> Conditions:
    """The variable that sets the number of threads is a way to say that number: torch is told it as well."""
    text = variables.get("OMP_NUM_THREADS")
    if text is None:
        return conditions
    if not text.isdigit() or not int(text):
        raise UsageError(f"env:OMP_NUM_THREADS={text} is no number of threads; give a whole number above 0")
    return dataclasses.replace(conditions, threads=int(text))


def _new_folder(place: Path | None, kind: str) -> Path:
    """The folder of the A/B, with that of each side in it."""
    named = folders.run_name(datetime.now(UTC), folders.git_commit(), socket.gethostname())
    top = place if place is not None else folders.RESULTS / f"{named}-{kind}"
    if os.path.lexists(top) and (not os.path.isdir(top) or os.listdir(top)):
        raise UsageError(f"{top} exists and is not an empty folder; name another with --out")
    for name in folders.SIDES:
        folders.create(datetime.now(UTC), top / name)
    return top


def _sides(
    versions: tuple[Version, Version],
    trees: Sequence[Tree],
    hosts: Sequence[Workers],
    request: AbRequest,
    top: Path,
) -> Sides:
    first, second = (
        MeasuredSide(
            version,
            trees[number],
            Guest(
                hosts[number],
                trees[number].code(trees[1 - number]),
                (top / folders.SIDES[number] / "logs").resolve(),
            ),
            Plan([], {}, request.schedule),
        )
        for number, version in enumerate(versions)
    )
    return first, second


def _files(tree: Tree, suites: Sequence[Path]) -> list[str]:
    """The suite files of a side: a suite that its tree has not has no case there."""
    files: list[str] = []
    for suite in suites or [Path("suites")]:
        with contextlib.suppress(SuiteError):
            files += suite_files([Path(tree.path(str(suite)))])
    return files


def _cases(side: MeasuredSide, files: Sequence[str], request: AbRequest) -> list[Case]:
    """The cases of a side, as its own suites declare them. Raises UsageError where a batch size is not known yet."""
    if not files:
        return []
    for name in side.version.axes:
        if name.startswith((VARIABLE, ARGUMENT)):
            raise UsageError(
                f"set:{name}: env: and arg: name the options of a script; a suite's axis has neither"
            )
    overrides = {**request.overrides, **{name: [value] for name, value in side.version.columns.items()}}
    return _listed(side, describe(side.workers, files, overrides), request)


def _cases_of_script(side: MeasuredSide, script: Script, request: AbRequest) -> list[Case]:
    """The cases of a script as the tree of a side has it; none where that has no such file."""
    path = Path(side.tree.path(script.path))
    if not os.path.isfile(path):
        return []
    script = dataclasses.replace(script, path=str(path)).with_axes(side.version.axes)
    side.plan = dataclasses.replace(side.plan, script=script)
    axes = {column(name): values for name, values in request.overrides.items()}
    axes |= {name: [value] for name, value in side.version.columns.items()}
    return _listed(side, describe_script(script, axes), request)


def _listed(side: MeasuredSide, listings: Sequence[SuiteListing], request: AbRequest) -> list[Case]:
    """The cases of these suites that -k takes; the side learns which file each is in."""
    side.plan = dataclasses.replace(side.plan, files={one.name: one.file for one in listings})
    cases = [case for one in listings for case in one.expansion.cases]
    if request.keyword is not None:
        cases = list(filter(parse(request.keyword), cases))
    if any(case.seeks_largest for case in cases):
        raise UsageError(
            "batch_size=max is found by bench run; give the number it found: --axis batch_size=N"
        )
    return cases


def _write_plan(
    folder: folders.RunFolder, side: MeasuredSide, environment: Environment, request: AbRequest
) -> None:
    folder.write_json("environment.json", environment.to_json())
    plan: dict[str, Any] = {
        **request.labels,
        "side": side.label,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "commit": side.tree.commit,
        "conditions": side.workers.conditions.to_json(),
        **side.plan.to_json(),
    }
    folder.write_json("plan.json", plan)
