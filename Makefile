# Epochbench. `make bench` measures, `make test` tests; each sets up by itself what it needs.
#
#   PYTHON=python3   use this interpreter as it is, with no install (a GPU machine with its own packages)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifdef PYTHON
  PY := $(PYTHON)
  MEASURING :=
  TESTING :=
  BESIDE := # one test after the other: they may share a GPU
else
  PY := .venv/bin/python
  # What is installed: the 60 packages that measuring needs, or as many again, which tests and examples need too.
  MEASURING := .venv/.measuring
  TESTING := .venv/.testing
  # A process for each processor. What a class or a module makes once for its tests is made by one of them.
  BESIDE := --numprocesses logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder
endif

# What is measured by default; any suite file or folder: make bench SUITE=suites/models.py ARGS="-k resnet18"
SUITE ?= suites/vision.py
ARGS ?=

.PHONY: help bench regress baseline test test-long lint check coverage clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bench: $(MEASURING) ## Measure the vision suite: tables and pictures in results/
	$(PY) -m bench run $(SUITE) $(ARGS)

# What `make regress` compares with: a name in results/baselines/.
BASELINE ?= shipped
# Not of data_loading, which counts what vision counts, nor of precision, which compiles and has formats of its machine.
GATED := $(addprefix suites/,vision.py language.py models.py optimizers.py)
EXACT := run $(GATED) --launches 1 --repeats 0 --no-profile --quiet

# What is measured side by side with the commit that the work began from, or with another SIDE=ref=REV; for how long.
SIDE ?=
AB ?= suites/vision.py -k "batch_size=64 and optimizer=adam" --pairs 20 --time-budget 90s --allow-inconclusive

regress: $(MEASURING) ## Gate the exact metrics against the kept baseline, and the times against the merge base
	rm -rf build/regress
	$(PY) -m bench $(EXACT) --out build/regress
	$(PY) -m bench compare $(BASELINE) build/regress --metric 'count.*' --metric 'work.*' $(ARGS)
	@if git rev-parse --quiet --verify HEAD~1 > /dev/null 2>&1; \
	then $(PY) -m bench ab $(SIDE) $(AB); \
	else echo "times are not compared: there is no commit before this one"; fi

baseline: $(MEASURING) ## Renew that baseline, as after an upgrade of torch
	rm -rf build/baseline
	$(PY) -m bench $(EXACT) --out build/baseline
	$(PY) -m bench baseline save $(BASELINE) build/baseline

# The folders of tests/ by what they cost: no torch and no Python process; torch, but no worker; real runs. make test TIER=pure: the first alone.
TIER ?= pure in_process processes
# Each of them by itself, the next one even where one fails.
EACH = @failed=0; for tier in $(TIER); do echo "tests/$$tier"; $(PY) $(1) -q $(BESIDE) tests/$$tier || failed=1; done; exit $$failed

test: $(TESTING) ## Run the tests
	$(call EACH,-m pytest)

test-long: $(TESTING) ## Run the long tests: whole runs again and again, the examples, 10,000 damaged files
	TEST_EXAMPLES=long $(PY) -m pytest -q -m long $(BESIDE)

lint: $(TESTING) ## Check style and types: ruff, mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

coverage: $(TESTING) ## Run the tests and show which lines of bench/ they reach, worker processes included
	$(PY) -m coverage erase
	$(call EACH,-m coverage run -m pytest)
	-$(PY) -m coverage combine -q # a process that was killed leaves a file that cannot be read
	rm -f .coverage.*
	$(PY) -m coverage report --fail-under=90

check: lint coverage regress test-long ## All of it

clean: ## Remove the virtual environment, caches and runs (baselines stay)
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find results -mindepth 1 -maxdepth 1 ! -name baselines -exec rm -rf {} + 2>/dev/null || true

# Both are made anew by themselves when the dependencies change. The pins are what CI installs.
INSTALL := .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable

.venv/.measuring: pyproject.toml constraints.txt
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Epochbench needs Python 3.11 or later; use make PYTHON=...")'
	test -x .venv/bin/python || python3 -m venv .venv
	$(INSTALL) .
	touch $@

.venv/.testing: .venv/.measuring
	$(INSTALL) '.[dev]'
	touch $@
