"""`bench tables` rebuilds the tables of a run from its journal."""

from __future__ import annotations

from ...plurals import counted
from ...results import tables
from ...results.folder import shown
from ..options import RunNameOptions
from ..run_output import print_notes, run_folder


def main(options: RunNameOptions) -> int:
    folder = run_folder(options.run, "tables")
    made = tables.read(folder.path)
    tables.write(folder, made)
    print_notes(made)
    print(
        f"{counted(len(made.summary), 'row')}, {counted(len(made.failures), 'failure')}: "
        f"{shown(folder.path)}/summary.csv"
    )
    return 0
