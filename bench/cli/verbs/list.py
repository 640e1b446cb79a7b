"""`bench list` shows the cases of suites."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ...plurals import counted
from ...report.safe_text import plain, plain_json
from ...running.plan import SuiteListing
from ...running.preparation import describe, suite_files
from ...running.workers import Workers
from ...suite.case import Case
from ..options import JsonOptions, SuiteOptions, conditions
from ..values import select_cases, suite_axes


class ListOptions(SuiteOptions, JsonOptions): ...


def main(options: ListOptions) -> int:
    with Workers(conditions(), modules=[]) as workers:
        listings = describe(workers, suite_files(options.suites), suite_axes(options.axes))
    chosen = set(select_cases(listings, options.keyword))
    if options.as_json:
        print(plain_json([listing_json(listing, chosen) for listing in listings]))
        return 0
    for listing in listings:
        for case in listing.expansion.cases:
            if case in chosen:
                print(plain(case.id))
        for line in dropped_combinations(listing):
            print(plain(line))
    print(counted(len(chosen), "case"))
    return 0


def dropped_combinations(listing: SuiteListing) -> Iterator[str]:
    """A line for each group of combinations that are not cases, with the reason."""
    for (mode, axes), count in listing.expansion.collapsed.items():
        why = f"{', '.join(axes)} is not used under mode={mode}" if axes else "the same case again"
        yield f"# {listing.name}: {counted(count, 'combination')} collapsed: {why}"
    for case, reason in listing.expansion.excluded:
        yield f"# {case} excluded: {reason}"
    for device, cards in listing.expansion.spread.items():
        yield (
            f"# {listing.name}: device={device} stands for {counted(len(cards), 'equal card')}, {cards[0]} to "
            f"{cards[-1]}, over which launches are spread; --devices all makes each a case"
        )


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
        "equal_cards": listing.expansion.spread,
    }
