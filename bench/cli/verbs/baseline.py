"""`bench baseline` keeps runs to compare with later."""

from __future__ import annotations

from pathlib import Path

from ...report.safe_text import plain
from ...results import baselines
from ...results.folder import shown
from ..command import Options, argument
from ..options import RunNameOptions
from ..project import about_baseline


class SaveOptions(RunNameOptions):
    name: str = argument(metavar="NAME", help="The name of the baseline.")


def save(options: SaveOptions) -> int:
    print(f"kept: {shown(baselines.save(options.name, options.run))}")
    if ignored := about_baseline(Path.cwd(), options.name):
        print(plain(ignored))
    return 0


def list_names(_options: Options) -> int:
    for name in baselines.names():
        print(name)
    return 0
