# `make bench` measures; some of it: make bench BENCH_ARGS="-k batch_size=64"
BENCH_SUITES ?= @suites@
BENCH_ARGS ?=

.PHONY: bench
bench: ## Measure the training loop: tables and pictures in results/
	bench run $(BENCH_SUITES) $(BENCH_ARGS)
