"""`bench doctor` examines the machine. It changes nothing."""

from __future__ import annotations

from ...machine.doctor import Noise, as_json, examine
from ...report.safe_text import plain_json
from ...report.terminal.checkup import page
from ...running.noise import probe_noise
from ...running.workers import Workers
from ...suite.case import Conditions
from ...system.gpu import open_gpus
from ...system.signals import stoppable
from ..command import option
from ..launching import lock
from ..options import JsonOptions, WaitOptions, conditions
from ..progress import waiting
from ..screen import print_pages, print_remark
from ..values import seconds

_MOST_CARDS = 16


class DoctorOptions(WaitOptions, JsonOptions):
    noise: float = option(
        "20s",
        metavar="TIME",
        help="Measure the noise of each device for this time; 0 skips it.",
        parser=seconds,
    )


def main(options: DoctorOptions) -> int:
    standard = conditions()
    findings = examine(standard, cards=[gpu.state() for gpu in open_gpus(range(_MOST_CARDS))])
    if not options.as_json:
        print_pages([page(findings, ())])
    noise = measured_noise(standard, options) if options.noise else []
    if options.as_json:
        print(plain_json(as_json(findings, noise)))
    elif noise:
        print_pages([page((), noise)])
    return 0


def measured_noise(standard: Conditions, options: DoctorOptions) -> list[Noise]:
    """The noise of every device on which a pair of launches was completed."""
    with (
        stoppable(),
        lock(options),
        Workers(standard) as workers,
        waiting("measuring the noise of launches", False),
    ):
        noise = list(probe_noise(workers, options.noise))
    if not noise:
        print_remark("the noise was not measured: no pair of launches was completed")
    return noise
