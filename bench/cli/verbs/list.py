"""The verb that says what there is to measure: `list`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import typer

from ...errors import UsageError
from ...plurals import counted
from ...report.units import plain, plain_json
from ...running.fork_server import Workers
from ...running.plan import SuiteListing
from ...running.preparation import describe
from ...suite.case import Case, spell
from ...suite.selection import parse
from ..options import Axis, Debug, Json, Keyword, Suites, Verb, conditions, overrides, suite_files


def register(app: typer.Typer) -> None:
    app.command("list", cls=Verb)(list_cases)


def list_cases(
    suites: Suites = None,
    keyword: Keyword = None,
    axis: Axis = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List the cases of suites, and which combinations were left out and why."""
    with Workers(conditions(), modules=[]) as workers:
        listings = describe(workers, suite_files(suites), overrides(axis))
    chosen = set(select(listings, keyword))
    if as_json:
        found = [listing_json(listing, chosen) for listing in listings]
        print(plain_json(json.dumps(found, indent=2)))
        return 0
    for listing in listings:
        for case in listing.expansion.cases:
            if case in chosen:
                print(plain(case.id))
        for line in dropped(listing):
            print(plain(line))
    print(counted(len(chosen), "case"))
    return 0


def select(listings: Sequence[SuiteListing], keyword: str | None) -> list[Case]:
    """The cases that -k takes. Raises UsageError, saying what there is, where it takes none."""
    cases = [case for listing in listings for case in listing.expansion.cases]
    chosen = list(filter(parse(keyword), cases)) if keyword is not None else cases
    if chosen:
        return chosen
    if not cases:
        reasons = {reason for listing in listings for _, reason in listing.expansion.excluded}
        raise UsageError(f"no case is left: {'; '.join(sorted(reasons))}")
    values: dict[str, dict[str, None]] = {}
    for case in cases:
        for axis, value in case.used.items():
            values.setdefault(axis, {})[spell(value)] = None
    there = "; ".join(f"{axis}: {', '.join(found)}" for axis, found in values.items())
    raise UsageError(f"-k {keyword!r} matches none of the {counted(len(cases), 'case')}; there are {there}")


def dropped(listing: SuiteListing) -> Iterator[str]:
    """What became of the combinations that are no cases."""
    for (mode, axes), count in listing.expansion.collapsed.items():
        why = f"{', '.join(axes)} is not used under mode={mode}" if axes else "the same case again"
        yield f"# {listing.name}: {counted(count, 'combination')} collapsed: {why}"
    for case, reason in listing.expansion.excluded:
        yield f"# {case} excluded: {reason}"


def listing_json(listing: SuiteListing, chosen: Collection[Case]) -> dict[str, Any]:
    return {
        "suite": listing.name,
        "file": listing.file,
        "cases": [{"id": case.id, "axes": case.used} for case in listing.expansion.cases if case in chosen],
        "collapsed": [
            {"mode": mode, "axes": list(axes), "combinations": count}
            for (mode, axes), count in listing.expansion.collapsed.items()
        ],
        "excluded": [{"id": case, "reason": reason} for case, reason in listing.expansion.excluded],
    }
