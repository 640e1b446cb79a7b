"""Machines for checks to look at: small trees like /sys and /proc, and facts of a quiet machine."""

from __future__ import annotations

from bench.machine.doctor.scene import Scene, SystemFacts
from bench.suite.case import Conditions

CPU = "sys/devices/system/cpu"
CGROUP = "sys/fs/cgroup"

GIB = 2**30
FOUR = Conditions(threads=4, cpus=(0, 1, 2, 3))
QUIET = SystemFacts(processors=4, load=0.02, memory=16 * GIB, available=12 * GIB, swap=0, swapped=0)


def build(root, files):
    """Writes files below a root that looks like Linux."""
    (root / "proc").mkdir(exist_ok=True)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")


def look(check, root, files=None, conditions=FOUR, environ=None, facts=QUIET, cards=()):
    """What a check finds on a machine that has these files, as a list; remedies stand where they should."""
    build(root, files or {})
    made = check(Scene(conditions, root, environ or {}, facts, cards))
    findings = made if isinstance(made, list) else [made]
    for finding in findings:
        assert bool(finding.remedy) is (finding.state in ("notice", "warning"))
        assert finding.remedy.count("`") % 2 == 0
    return findings


def one(check, root, files=None, **given):
    (finding,) = look(check, root, files, **given)
    return finding
