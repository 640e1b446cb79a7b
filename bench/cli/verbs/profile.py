"""`bench profile` profiles a few steps."""

from __future__ import annotations

from ...errors import UsageError
from ...report import plots
from ...report.reason_words import search_line
from ...report.safe_text import plain, plain_json
from ...report.speedscope import read_folded, speedscope
from ...report.terminal.profile import profiles
from ...results import folder as folders
from ...results import tables as run_tables
from ...results.tables import Tables
from ...running.workers import Workers
from ...suite.case import Schedule, UntimedLaunches
from ...system.paths import file_name
from ...system.signals import stoppable
from ..command import FAILED, option
from ..launching import lock
from ..measuring import finish, measured, planned
from ..options import MeasureOptions
from ..run_output import MOST_OPERATORS, print_places
from ..run_request import RunRequest
from ..screen import print_pages, print_remark

_MEGA = 1_000_000
_MOST_CAP = 1e6  # MB


class ProfileOptions(MeasureOptions):
    profile_steps: int = option(5, metavar="N", help="Profile this many steps of each stage.")
    top: int = option(MOST_OPERATORS, metavar="N", help="Show this many operators of each case.")
    no_stacks: bool = option(False, "--no-stacks", help="No flame graph; this saves a launch of each case.")
    graph: bool = option(False, "--graph", help="Also draw the autograd graph of a step.")
    trace_cap: float = option(50.0, metavar="MB", help="Do not keep a trace that is larger than this.")


def main(options: ProfileOptions) -> int:
    if options.top < 1:
        raise UsageError(f"top must be at least 1, not {options.top}")
    if not options.trace_cap > 0:
        raise UsageError(f"trace-cap must be above 0 MB, not {options.trace_cap:g}")
    schedule = Schedule(launches=0, timeout=options.timeout, seed=options.seed)
    untimed = UntimedLaunches(
        counts=True,
        profile=True,
        stacks=not options.no_stacks,
        graph=options.graph,
        profile_steps=options.profile_steps,
        trace_cap=max(1, round(min(options.trace_cap, _MOST_CAP) * _MEGA)),
    )
    request = RunRequest.of(options, schedule, untimed)
    with stoppable(), lock(options), Workers(request.conditions) as workers:
        plan = planned(workers, request, options.quiet)
        measuring = measured(workers, plan, request, options)
    tables = finish(measuring.folder)
    draw(measuring.folder, tables)
    if options.as_json:
        print(plain_json(run_tables.as_json(tables)))
    elif not options.quiet:
        print_results(measuring.folder, tables, options.top)
    return measuring.stop or (FAILED if len(tables.failures) else 0)


def draw(folder: folders.RunFolder, tables: Tables) -> None:
    """The pictures of each case, and its flame graph for speedscope."""
    plots.draw_cases(tables, folder.plots, {case: file_name(case) for case in tables.untimed})
    for case, untimed in tables.untimed.items():
        if untimed.stacks is None or not untimed.stacks.stacks:
            continue
        stacks = read_folded((folder.path / untimed.stacks.stacks).read_text())
        (folder.traces / f"{file_name(case)}.speedscope.json").write_text(speedscope(stacks, case))


def print_results(folder: folders.RunFolder, tables: Tables, operators: int) -> None:
    print_pages(profiles(tables, operators))
    for search in tables.searches:
        print(plain(search_line(search)))
    for case, untimed in tables.untimed.items():
        for profile in (untimed.profile, untimed.stacks):
            if profile is not None and profile.omitted:
                print_remark(f"no trace of {case}: {profile.omitted}")
    print_places(folder, tables)
