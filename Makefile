# STAR. `make help` lists the targets. Everything a target needs is installed by `setup`, which the others call.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
RECIPE ?= recipes/tiny-geneval-star-forward.yaml
GOLDEN ?= $(if $(wildcard ../shared/golden),../shared/golden,golden)
VENV := .venv/bin
# Node comes with the npm packages (Node 24); the system's Node only has to be able to run npm.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
# onnxruntime-node's install script would download GPU libraries; the CPU library is in its package.
export ONNXRUNTIME_NODE_INSTALL := skip

.PHONY: help setup demo test check gen bench golden tiny-world clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: node_modules/.setup .venv/.setup ## Install everything (seconds when it is up to date)

node_modules/.setup: package-lock.json package.json server-ts/package.json
	# Not `npm ci`: it refuses a lock file in which a registry lacks an optional package of some other platform.
	npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

.venv/.setup: trainer-worker/constraints.txt trainer-worker/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(VENV)/pip install --quiet --disable-pip-version-check -c trainer-worker/constraints.txt -e 'trainer-worker[dev]'
	@touch $@

demo: setup ## Main job: train the small world with STAR on the CPU and write a report (RECIPE=recipes/... for another one)
	bin/star run $(RECIPE)

test: setup ## All tests of both languages; ends with "N passed, N failed"
	$(VENV)/python scripts/run_tests.py

check: setup ## Format, lint, strict types, import layers, generated code, golden vectors, protocol compatibility
	scripts/check.sh

gen: setup ## Regenerate code from proto/
	buf generate
	$(VENV)/python trainer-worker/generate_stubs.py

golden: setup ## Recompute golden cases (GOLDEN=folder) through the product's own functions
	scripts/golden.sh $(GOLDEN)

bench: setup ## Benchmarks, interleaved, with spread (BENCH_OUT=file writes JSON)
	$(VENV)/python scripts/run_benchmarks.py

tiny-world: setup ## Retrain the small world from nothing (one to two hours on two cores)
	cd trainer-worker && ../$(VENV)/python -m tiny_world all

clean: ## Remove run data and caches (keeps the installed packages)
	rm -rf .star .cache
