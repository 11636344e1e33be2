# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes, which would compile all of fluxfast anew
.PHONY: demo test test-long lint sanitize coverage bench bench-check wheel clean help setup build

setup: ## make .venv and install everything into it
	@ci/setup $(PYTHON)

build: setup ## compile what changed
	@ci/build

demo: build ## simulate 400 PowerPacks and 100 meters, poll them for 20 s, draw a chart
	@.venv/bin/fluxfast demo

test: build ## the tests, under five minutes
	@ci/test

test-long: build ## fuzz, simulation, soak and crash tests
	@ci/test-long

lint: build ## ruff, mypy, cython-lint, stubtest, the layers, compiler warnings
	@ci/lint

sanitize: setup ## parsers, link and simulation under the address and undefined-behaviour sanitizers
	@ci/sanitize

coverage: setup ## which lines of .py and .pyx the tests reach
	@ci/coverage

bench: build ## all benchmarks, beside the floor and the peers: half an hour; CASES='link/500 decode'
	@ci/bench $(CASES)

bench-check: build ## every stage against its budget: instructions (valgrind) and ratios; SHORT=--short
	@ci/bench-check $(SHORT)

wheel: setup ## one abi3 wheel for Python 3.11 and later, in dist/
	@ci/wheel

clean: ## remove everything that was built
	rm -rf build dist demo .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find fluxfast \( -name '*.so' -o -name '*.c' \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
