"""The two sides of an A/B: which versions, the tree of each, and the workers that measure it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..measurement.messages import CodeTree, Request
from ..results.folder import SIDES
from ..running.fork_server import Interpreter
from ..running.plan import Plan
from ..running.workers import Workers
from ..suite.case import Conditions, Schedule
from .trees import Repository, Tree, without_git
from .versions import NOW, Version


class SideWorkers:
    """The workers of one side, possibly shared with the other side: every request names the tree whose code it runs."""

    def __init__(self, shared: Workers, tree: CodeTree, logs: Path) -> None:
        self.shared, self.logs, self._tree = shared, logs, tree

    @property
    def conditions(self) -> Conditions:
        return self.shared.conditions

    @property
    def variables(self) -> Mapping[str, str]:
        return self.shared.variables

    def ask(
        self,
        request: Request,
        log: str,
        timeout: float | None = None,
        started: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """As `Workers.ask`."""
        own_timeout = {} if timeout is None else {"timeout": timeout}
        return self.shared.ask(request, str(self.logs / log), started=started, tree=self._tree, **own_timeout)

    def interrupt(self) -> None:
        self.shared.interrupt()

    def on(self, shared: Workers) -> SideWorkers:
        """The same side with other shared workers."""
        return SideWorkers(shared, self._tree, self.logs)

    def learn(self, modules: Sequence[str]) -> None:
        self.shared.learn(modules)

    def renew(self) -> None:
        self.shared.renew()


@dataclass
class MeasuredSide:
    """One side of an A/B: its version, its code, its workers and its plan."""

    version: Version
    tree: Tree
    workers: SideWorkers
    plan: Plan

    @property
    def label(self) -> str:
        """The version as the user named it, with its commit."""
        says_commit = not self.tree.commit or self.version.text == f"ref={self.tree.commit}"
        return self.version.text if says_commit else f"{self.version.text} ({self.tree.commit})"


Sides = tuple[MeasuredSide, MeasuredSide]


def base_and_candidate(versions: Sequence[Version]) -> tuple[Version, Version]:
    """The versions to compare. A single one is compared with the working files; without any, the base is the merge
    base.
    """
    if len(versions) == 2:
        return versions[0], versions[1]
    now = Version(NOW)
    if versions:
        return versions[0], now
    commit = Repository().merge_base()
    return Version(f"ref={commit[:9]}", ref=commit), now


def trees_of(stack: contextlib.ExitStack, versions: tuple[Version, Version]) -> list[Tree]:
    """The tree of each side; a commit that both name is checked out once."""
    if not any(version.ref for version in versions):
        try:
            own = Repository().own()
        except UsageError:
            own = without_git()
        return [own, own]
    repository = Repository()
    commits = [repository.commit(version.ref) if version.ref else "" for version in versions]
    trees = {
        commit: stack.enter_context(repository.checked_out(commit)) if commit else repository.own()
        for commit in dict.fromkeys(commits)
    }
    return [trees[commit] for commit in commits]


def workers_of(
    stack: contextlib.ExitStack, versions: tuple[Version, Version], conditions: Conditions
) -> list[Workers]:
    """Workers for each side, the same ones for both if interpreter and environment are equal."""
    by_interpreter: dict[tuple[str, tuple[tuple[str, str], ...]], Workers] = {}
    workers = []
    for version in versions:
        key = version.python, tuple(sorted(version.variables.items()))
        if key not in by_interpreter:
            interpreter = Interpreter(version.python or Interpreter().program, version.variables)
            own = _with_threads(conditions, version.variables)
            by_interpreter[key] = stack.enter_context(Workers(own, interpreter=interpreter))
        workers.append(by_interpreter[key])
    return workers


def _with_threads(conditions: Conditions, variables: Mapping[str, str]) -> Conditions:
    """The conditions with the number of threads in OMP_NUM_THREADS, if it is set, so that torch uses it as well."""
    text = variables.get("OMP_NUM_THREADS")
    if text is None:
        return conditions
    if not text.isdigit() or not int(text):
        raise UsageError(
            f"env:OMP_NUM_THREADS={text} is not a number of threads; give a whole number above 0"
        )
    return dataclasses.replace(conditions, threads=int(text))


def sides_of(
    versions: tuple[Version, Version],
    trees: Sequence[Tree],
    workers: Sequence[Workers],
    schedule: Schedule,
    folder: Path,
) -> Sides:
    """Both sides, without cases yet; `folder` is that of the A/B."""

    def side(number: int) -> MeasuredSide:
        logs = (folder / SIDES[number] / "logs").resolve()
        code = trees[number].code(trees[1 - number])
        own_workers = SideWorkers(workers[number], code, logs)
        return MeasuredSide(versions[number], trees[number], own_workers, Plan([], {}, schedule))

    return side(0), side(1)
