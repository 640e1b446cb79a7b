"""How good the gate is on this machine, in one sitting: false alarms, power, and a busy process beside.

    python -m benchmarks.gate_live [DECISIONS [PLANTS [FOLDER]]]

`bench selftest` on a digits perceptron: comparisons of identical code, 3 % and 5 % planted into every step, and the
other plants; then ten comparisons of identical code beside a process that computes without end. Nothing else may run
meanwhile. With a FOLDER the decisions are kept there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import workload

_CASE = ("-k", "batch_size=64 and optimizer=adam", "--axis", "epochs=3", "--pairs", "40")
_BESIDE = 10


def main() -> None:
    numbers = [int(one) for one in sys.argv[1:3]] + [24, 10][len(sys.argv[1:3]) :]
    with TemporaryDirectory() as folder:
        place = Path(sys.argv[3] if len(sys.argv) > 3 else folder)
        began = time.monotonic()
        said = selftest(place / "alone", "--decisions", str(numbers[0]), "--plants", str(numbers[1]))
        print(said)
        print_more(place / "alone")
        print(f"{(time.monotonic() - began) / 60:.1f} minutes")
        print("\nbeside a busy process:")
        began = time.monotonic()
        with workload.busy(True):
            # At one thread: at two each launch waits for the other process at every operator, and takes seconds.
            beside = ("--decisions", str(_BESIDE), "--plants", "0", "--threads", "1")
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
    """The verdicts of each kind, and the longest decision: the table has means."""
    decisions = json.loads((place / "selftest.json").read_text())["decisions"]
    for arm in dict.fromkeys(one["arm"] for one in decisions):
        of = [one for one in decisions if one["arm"] == arm]
        verdicts = [verdict for one in of for verdict in one["verdicts"].values()]
        counted = ", ".join(f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts)))
        print(f"{arm}: {counted}; the longest took {max(one['seconds'] for one in of):.1f} s")


if __name__ == "__main__":
    main()
