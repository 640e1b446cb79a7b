"""`bench plot` draws the pictures of a run."""

from __future__ import annotations

import sys

from ...report import plots
from ...results import tables
from ...results.folder import is_session, shown
from ..ab_sessions import page_of_stored_session
from ..options import RunNameOptions
from ..run_output import run_folder


def main(options: RunNameOptions) -> int:
    folder = run_folder(options.run, "plot")
    drawn = plots.draw(tables.read(folder.path), folder.plots)
    if is_session(folder.path):
        drawn += plots.draw_comparison(page_of_stored_session(folder.path), folder.plots)
    for path in drawn:
        if path.suffix == ".png":
            print(shown(path))
    if not drawn:
        print(f"bench: {shown(folder.path)} holds nothing to draw", file=sys.stderr)
    return 0
