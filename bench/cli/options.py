"""The table of options: each is declared once, in a group; a verb takes the groups that it uses."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from ..errors import UsageError
from ..machine.processors import default_threads, usable_cores
from ..report import formats
from ..suite.case import ALLOCATORS, MOST_PAIRS, START_METHODS, AxisValue, Conditions, Schedule
from ..suite.matrix import ALL, AVAILABLE
from ..suite.script import Script, script
from .command import Options, argument, option
from .values import script_axes, seconds, share, size, suite_axes

MOST_LAUNCHES = 20  # of a case with wide intervals: the vision suite then ends within 4 minutes
FORMATS = ("table", *formats.FORMATS)

# What is measured.


class KeywordOptions(Options):
    keyword: str | None = option(
        None, "-k", metavar="EXPR", help="Only the cases that match, such as 'adam and not mode=eval'."
    )


class CaseOptions(KeywordOptions):
    axis: list[str] | None = option(
        None, metavar="NAME=V1,V2", help="Values of an axis, instead of the suite's own; repeatable."
    )

    devices: str | None = option(
        None,
        metavar="NAMES",
        help="As --axis device=NAMES, such as cpu,cuda. Launches are spread over equal cards at the same time; "
        "all makes each card a case of its own, cuda:0 uses only that card.",
        show_default="the suite's own",
    )

    @property
    def axes(self) -> list[str]:
        """The values of axes, --devices among them."""
        return [*(self.axis or ()), *([f"device={self.devices}"] if self.devices is not None else ())]


class SuiteOptions(CaseOptions):
    suites: list[Path] | None = argument(
        None, metavar="SUITE", help="Suite files, or folders of them.", show_default="suites"
    )


class ScriptOptions(CaseOptions):
    takes_script = True

    script: Path | None = option(
        None,
        metavar="FILE",
        help="Measure a training script instead of suites: a file, or a module as for python -m (see "
        "epochbench.watch). Its own arguments follow --.",
    )
    in_place: bool = option(
        False,
        "--in-place",
        help="Let a script overwrite files; each launch then sees the files of the launch before.",
    )

    steps: int | None = option(
        None,
        metavar="N",
        help="End the script after N training steps, without those of the first epoch: a long one need not end.",
    )
    steps_per_epoch: int | None = option(
        None,
        metavar="N",
        help="In a script that marks no loop, an epoch is N training steps.",
        show_default="a pass over its loader, else 100",
    )

    def axes_and_script(
        self, suites: Sequence[Path] | None
    ) -> tuple[dict[str, list[AxisValue]], Script | None]:
        """The values of axes, and the script with these axes; None if suites are measured.

        Raises UsageError for a script together with suites or --devices, and for arguments or --in-place without a
        script.
        """
        for name, number in (("--steps", self.steps), ("--steps-per-epoch", self.steps_per_epoch)):
            if number is not None and self.script is None:
                raise UsageError(f"{name} is for scripts; name one: --script train.py")
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        if self.script is None:
            if self.script_arguments is not None:
                raise UsageError(
                    "arguments after -- belong to a script; name it: --script train.py -- ARGUMENTS"
                )
            if self.in_place:
                raise UsageError("--in-place is for scripts; name one: --script train.py")
            return suite_axes(self.axes), None
        if suites:
            raise UsageError(
                f"--script {self.script} and suites ({', '.join(map(str, suites))}) cannot be measured together; "
                f"arguments of the script follow --"
            )
        values = script_axes(self.axis)
        made = dataclasses.replace(
            script(self.script, self.script_arguments or (), list(values), self.in_place),
            epoch=self.steps_per_epoch,
            steps=self.steps,
        )
        if self.devices is None:
            return values, made
        if "device" in values or "," in self.devices or self.devices in (ALL, AVAILABLE):
            raise UsageError(
                f"--devices {self.devices}: a script runs on one device, which it chooses itself; name that one, such "
                f"as cuda:0, or give the script its option for it: --axis device=cpu,cuda"
            )
        return {**values, "device": [self.devices]}, made


# How often.


class RepetitionOptions(Options):
    launches: int | None = option(
        None,
        metavar="N",
        help="Launch each case this many times (with --max-launches: at least), each in a fresh process.",
        show_default="6, the fewest for a 95 % interval, or more",
    )
    max_launches: int | None = option(
        None,
        metavar="N",
        help="Launch a case at most this many times while its intervals are wider than --tolerance.",
        show_default=str(MOST_LAUNCHES),
    )
    tolerance: float = option(
        "2%",
        metavar="SHARE",
        help="A case needs no more launches when its 95 % intervals are within ± this.",
        parser=share,
    )
    repeats: int = option(6, metavar="N", help="Repeat at most this many contaminated launches of a case.")


class MetricOptions(Options):
    metric: list[str] | None = option(
        None, metavar="NAME", help="Compare only these metrics, such as 'count.*'; repeatable."
    )


class PairOptions(Options):
    pairs: int = option(
        MOST_PAIRS,
        metavar="N",
        help="Measure at most this many pairs of launches of a case; fewer if they decide it.",
    )


class BudgetOptions(Options):
    time_budget: float | None = option(
        None,
        metavar="TIME",
        help="End after this time, such as 5m or 1h, with the results so far.",
        parser=seconds,
    )


class VersionOptions(MetricOptions, PairOptions):
    build: str = option(
        "", metavar="CMD", help="Run this command in the tree of each version before measuring."
    )


class UntimedOptions(Options):
    no_counts: bool = option(
        False, "--no-counts", help="Skip the launch of each case that counts its operators."
    )
    no_profile: bool = option(False, "--no-profile", help="Do not profile; this saves a launch of each case.")


# What is read and written.


class RunNameOptions(Options):
    run: str = argument(
        "latest",
        metavar="RUN",
        help="A run: its folder, the beginning of its name, latest, or latest~1 for the one before.",
    )


class OutputOptions(Options):
    out: Path | None = option(
        None,
        metavar="DIR",
        help="Write to this folder, which must be new or empty.",
        show_default="one in results",
    )


class RunFolderOptions(OutputOptions):
    name: str = option("", metavar="TEXT", help="A name for the run, shown above its tables.")
    note: str = option("", metavar="TEXT", help="A remark that is stored with the run.")
    download: bool = option(False, "--download", help="Download missing data sets.")

    @property
    def labels(self) -> dict[str, str]:
        return {"name": self.name, "note": self.note}


class VerdictOptions(Options):
    thresholds: Path | None = option(
        None,
        metavar="FILE",
        help="The file with the thresholds that fail a build.",
        show_default="thresholds.toml, if it exists",
    )
    allow_inconclusive: bool = option(
        False, "--allow-inconclusive", help="Exit with 0, not 3, if a change could not be decided."
    )
    everything: bool = option(False, "--all", help="Also show the rows that did not change.")
    form: str = option(
        "table", "--format", metavar="FORMAT", help=f"Print as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
    )
    junit: Path | None = option(
        None, metavar="FILE", help="Also write the verdicts as JUnit XML, for a CI server."
    )

    def check_format(self) -> None:
        """Raises UsageError for a format that does not exist."""
        if self.form not in FORMATS:
            raise UsageError(f"unknown format {self.form!r}; there are {', '.join(FORMATS)}")


# Under which conditions.


class WaitOptions(Options):
    no_wait: bool = option(
        False, "--no-wait", help="Exit instead of waiting if another run is measuring on this machine."
    )


class LaunchOptions(WaitOptions):
    """The options of every verb that launches; `began` is when it was called, on time.monotonic."""

    began: float = field(default_factory=time.monotonic)
    start_method: str | None = None

    timeout: float = option(
        "10m", metavar="TIME", help="Time limit of one launch: 90s, 5m, 1h.", parser=seconds
    )
    seed: int = option(
        0, metavar="N", help="Seed of the order of the launches, and of torch in each of them."
    )
    threads: int | None = option(
        None, metavar="N", help="CPU threads of each launch.", show_default="physical cores"
    )
    allocator: str = option(
        "pinned",
        metavar="|".join(ALLOCATORS),
        help="pinned: every launch allocates memory alike, so times vary less; system: the default of the system.",
    )
    data: Path = option(Path("data"), metavar="DIR", help="The folder of downloaded data sets.")
    quiet: bool = option(False, "--quiet", "-q", help="Print only failures.")

    @property
    def conditions(self) -> Conditions:
        return conditions(self.threads, self.allocator, self.start_method, self.data)


class JsonOptions(Options):
    as_json: bool = option(False, "--json", help="Print the results as JSON.")


# The verbs that measure into the folder of a run.


class MeasureOptions(SuiteOptions, ScriptOptions, RunFolderOptions, LaunchOptions, JsonOptions):
    """What `run` and `profile` have in common."""

    start_method: str | None = option(
        None,
        metavar="|".join(START_METHODS),
        help="How a launch starts: fork copies a process that has imported torch; spawn imports it in a new process.",
        show_default="fork if it is safe",
    )
    memory_limit: int | None = option(
        None,
        metavar="SIZE",
        help="With batch_size=max on the CPU: the memory, as tables show it, that a launch may take, such as "
        "2GiB.",
        show_default="80 % of the free memory",
        parser=size,
    )


class RunOptions(MeasureOptions, RepetitionOptions, BudgetOptions, UntimedOptions):
    resume: str | None = option(
        None, metavar="RUN", help="Continue a run that was interrupted, with the options that it had."
    )
    dry_run: bool = option(False, "--dry-run", help="Only print what would be measured.")

    @property
    def schedule(self) -> Schedule:
        """--launches without --max-launches is an exact number."""
        numbers = (self.max_launches, self.launches, MOST_LAUNCHES)
        most = next(number for number in numbers if number is not None)
        return Schedule(
            launches=self.launches if self.launches is not None else min(Schedule().launches, max(1, most)),
            max_launches=most,
            tolerance=self.tolerance,
            repeats=self.repeats,
            time_budget=self.time_budget,
            timeout=self.timeout,
            seed=self.seed,
        )


def conditions(
    threads: int | None = None,
    allocator: str = "pinned",
    start_method: str | None = None,
    data: Path = Path("data"),
) -> Conditions:
    """The conditions of launches, with the defaults of this machine."""
    cores = usable_cores()
    return Conditions(
        threads=default_threads(cores) if threads is None else threads,
        cpus=cores,
        allocator=allocator,
        # On macOS a forked child cannot use the system's own libraries.
        start_method=start_method or ("fork" if sys.platform == "linux" else "spawn"),
        data_root=str(data.resolve()),
    )
