"""Tests lie in three folders by what they cost, and this holds them to it.

`pure` imports no torch and starts no Python (git and a shell take milliseconds), `in_process` uses torch and starts no
worker process, `processes` does what it must.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TIERS = ("pure", "in_process", "processes")

# Launches in worker processes that all of `make test` may make: one of each verb, and what is told of a process. What
# a launch measures, and what is decided by it, is told with `stand_in.py`.
MOST_LAUNCHES = 30

FORKS = ("os.fork", "os.forkpty", "os.posix_spawn")

EXAMPLES = {"quick": 10, "long": 600}  # of a property
LONG = os.environ.get("TEST_EXAMPLES") == "long"


def takes_long(why: str) -> Any:
    """A test that `make test-long` has and `make test` has not; the reason is for the reader."""
    return lambda test: pytest.mark.long(pytest.mark.only_long(why)(test))


def sample(cases: Iterable[Any], every: int = 10) -> list[Any]:
    """All of these cases in `make test-long`, the first of so many in `make test`."""
    return list(cases)[:: 1 if LONG else every]


def long_only(*cases: tuple[Any, ...]) -> list[Any]:
    """Parameters that `make test-long` has beside those of `make test`: the same again, which takes minutes."""
    if not LONG:
        return []
    return [pytest.param(*case, marks=pytest.mark.long) for case in cases]


launches: list[
    str
] = []  # the tests that made them, in this process and in those of pytest-xdist that have ended


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a session of the quick tests that made more launches."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["launches"] = launches
    elif len(launches) > MOST_LAUNCHES and not LONG:
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended, and tells its launches."""
    launches.extend(getattr(node, "workeroutput", {}).get("launches", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if launches and not LONG:
        terminalreporter.write_line(f"{len(launches)} launches, of at most {MOST_LAUNCHES} (tests/tiers.py)")
        for test, number in Counter(launches).items() if len(launches) > MOST_LAUNCHES else ():
            terminalreporter.write_line(f"  {number} {test}")


_within = ""  # the tier of the test that runs, or of the file that is read


def tier_of(path: Path) -> str:
    parts = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    return parts[0] if parts and parts[0] in TIERS else ""


@contextmanager
def within(path: Path) -> Iterator[None]:
    """What is done meanwhile must suit the tier of this file."""
    global _within
    before, _within = _within, tier_of(path)
    try:
        yield
    finally:
        _within = before


def fault(tier: str, event: str, args: tuple[Any, ...]) -> str:
    """What of this audit event a tier forbids, or nothing."""
    if tier == "pure":
        if event == "import" and args[0] == "torch":
            return "imports torch, which is for tests/in_process"
        if event == "subprocess.Popen" and Path(str(args[0])).name.startswith("python"):
            return "starts Python, which is for tests/processes"
        if event in FORKS[:2]:
            return "forks, which is for tests/processes"
    if (
        tier == "in_process"
        and event == "subprocess.Popen"
        and "bench.worker.__main__" in " ".join(map(str, args[1]))
    ):
        return "starts a worker, which is for tests/processes"
    return ""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _within and (what := fault(_within, event, args)):
        pytest.fail(f"a test in tests/{_within} {what}")


def enforce() -> None:
    """From now on, in this process."""
    sys.addaudithook(_audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with within(item.path):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    with within(collector.path) if isinstance(collector, pytest.File) else within(HERE):
        return (yield)
