"""Mutation testing of the modules that decide: `analysis/` and the thresholds.

    pip install mutmut
    python benchmarks/mutation.py [MODULE ...]    # such as run/estimate; all of those below without a name

mutmut (3.x) changes a function at one place (a comparison, a number, an operator, a text), runs the tests that call it,
and counts the mutants that no test noticed. The tests of each module are listed below; they start no process. Each
module gets a copy of the package under its installed name, since mutmut must find it where tests import it from.
Results, and which survivors change nothing: docs/mutation.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The tests of each module, the quick ones that call it directly.
TESTS = {
    "analysis/caveats": "caveats",
    "analysis/compare/attribution": "attribution",
    "analysis/compare/comparable": "comparing work",
    "analysis/compare/environments": "comparability",
    "analysis/compare/policy": "policy",
    "analysis/compare/quality_change": "learnt",
    "analysis/compare/rows": "comparing",
    "analysis/compare/sequential": "sequential",
    "analysis/compare/side_by_side": "side_by_side gate_paired",
    "analysis/compare/sides": "compare sides",
    "analysis/compare/verdict": "compare comparing",
    "analysis/compare/work": "work",
    "analysis/launch/contamination": "guards",
    "analysis/launch/derived_counts": "counts_analysis",
    "analysis/launch/learning_curve": "quality",
    "analysis/launch/profile_summary": "profile_analysis",
    "analysis/launch/values": "launch_values counts_analysis quality",
    "analysis/launch/warmup": "warmup",
    "analysis/run/estimate": "estimate",
    "analysis/run/largest_batch": "largest_search",
    "analysis/run/stopping": "stopping",
    "analysis/run/time_to_quality": "quality",
    "thresholds/rules": "thresholds",
    "thresholds/suggestions": "thresholds",
}
# Simulations of thousands of launches, which every mutant would wait for; and a method that hypothesis runs, which it
# refuses to run twice in one process.
SKIPPED = "FalseAlarms or IntervalCoverage or Simulat or deviation_was or none_breaks_a_comparison"
CONFIGURATION = """
[tool.mutmut]
source_paths = ["epochbench"]
only_mutate = ["epochbench/{module}.py"]
pytest_add_cli_args_test_selection = [{tests}, "-k", "not ({skipped})", "-n0"]
also_copy = ["tests", "bench", "pyproject.toml"]
use_git_change_detection = false
"""


def mutated(module: str, folder: Path) -> dict[str, str]:
    """The result of each mutant of a module: killed, survived, timeout or no tests."""
    shutil.copytree(ROOT / "bench", folder / "epochbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bench/as_bench", folder / "bench")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    tests = ", ".join(f'"tests/pure/test_{name}.py"' for name in TESTS[module].split())
    configuration = CONFIGURATION.format(module=module, tests=tests, skipped=SKIPPED)
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + configuration)
    subprocess.run([*MUTMUT, "run", "--max-children", "2"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    lines = subprocess.check_output([*MUTMUT, "results", "--all", "true"], cwd=folder, text=True).splitlines()
    return {name.strip(): said.strip() for name, _, said in (line.partition(": ") for line in lines) if said}


MUTMUT = (sys.executable, "-m", "mutmut")


def change(mutant: str, folder: Path) -> str:
    """The changed lines of a mutant."""
    lines = subprocess.check_output([*MUTMUT, "show", mutant], cwd=folder, text=True).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def main(names: list[str]) -> None:
    modules = [module for module in TESTS if not names or any(name in module for name in names)]
    total: Counter[bool] = Counter()
    for module in modules:
        with tempfile.TemporaryDirectory() as folder:
            found = mutated(module, Path(folder))
            survivors = [mutant for mutant, said in found.items() if said in ("survived", "no tests")]
            total[True] += len(found) - len(survivors)
            total[False] += len(survivors)
            print(f"{module}: {len(found) - len(survivors)} of {len(found)} mutants noticed", flush=True)
            for mutant in survivors:
                print(f"  {mutant} ({found[mutant]})\n{change(mutant, Path(folder))}", flush=True)
    print(f"all: {total[True]} of {total.total()}, {total[True] / max(1, total.total()):.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
