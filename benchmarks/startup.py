"""How long the commands take that measure nothing: --help, list and a dry run.

    python -m benchmarks.startup [RUNS]

Each is run RUNS (10) times after one run that is not counted; half a minute.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import workload

COMMANDS = (["--help"], ["list", "suites/vision.py"], ["run", "suites/vision.py", "--dry-run"])


def main() -> None:
    runs = workload.arguments(runs=10).runs
    print(f"{runs} runs after one that is not counted; seconds: minimum, median, maximum")
    for arguments in COMMANDS:
        times = []
        for _ in range(runs + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "bench", *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
        print(f"bench {' '.join(arguments):36}" + "".join(f"{t:8.2f}" for t in workload.quantiles(times[1:])))


if __name__ == "__main__":
    main()
