# `make bench` measures; some of it: make bench BENCH_ARGS="-k batch_size=64"
# Where another tool is called bench, or nothing is installed on the path: make bench BENCH="python3 -m epochbench"
BENCH ?= bench
BENCH_SUITES ?= @suites@
BENCH_ARGS ?=

.PHONY: bench
bench: ## Measure the training loop: tables and pictures in results/
	$(BENCH) run $(BENCH_SUITES) $(BENCH_ARGS)
