"""The error rates of the gate on this machine: false alarms and power, then false alarms next to a busy process.

    python -m benchmarks.gate_live [DECISIONS [SLOWDOWNS [FOLDER]]]

`bench selftest` on a digits perceptron: DECISIONS (24) comparisons of identical code, SLOWDOWNS (10) of 3 % and of 5 %
in every step, and one of each other slowdown; then ten comparisons of identical code next to a process that computes
endlessly. With a FOLDER the decisions are kept there. About 12 minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import workload

_CASE = ("-k", "batch_size=64 and optimizer=adam", "--axis", "epochs=3", "--pairs", "40")
_BESIDE = 10


def main() -> None:
    options = workload.arguments(decisions=24, slowdowns=10, folder="")
    with TemporaryDirectory() as folder:
        place = Path(options.folder or folder)
        began = time.monotonic()
        numbers = ("--decisions", str(options.decisions), "--slowdowns", str(options.slowdowns))
        print(selftest(place / "alone", *numbers))
        print_more(place / "alone")
        print(f"{(time.monotonic() - began) / 60:.1f} minutes")
        print("\nnext to a busy process:")
        began = time.monotonic()
        with workload.busy(True):
            # With two threads a launch would wait for the other process at every operator, and take seconds.
            beside = ("--decisions", str(_BESIDE), "--slowdowns", "0", "--threads", "1")
            print(selftest(place / "beside", *beside))
        print_more(place / "beside")
        print(f"{(time.monotonic() - began) / 60:.1f} minutes")


def selftest(place: Path, *arguments: str) -> str:
    command = [
        sys.executable,
        "-m",
        "bench",
        "selftest",
        workload.VISION,
        *_CASE,
        "--out",
        str(place),
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=workload.ROOT,
        env={**os.environ, "PYTHONPATH": str(workload.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def print_more(place: Path) -> None:
    """The verdicts of each kind of decision, and the longest decision: the table has means only."""
    decisions = json.loads((place / "selftest.json").read_text())["decisions"]
    for arm in dict.fromkeys(decision["arm"] for decision in decisions):
        own = [decision for decision in decisions if decision["arm"] == arm]
        counts = Counter(verdict for decision in own for verdict in decision["verdicts"].values())
        listed = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
        print(f"{arm}: {listed}; the longest took {max(decision['seconds'] for decision in own):.1f} s")


if __name__ == "__main__":
    main()
