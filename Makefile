# Everything a person does with the house. `make help` lists it; each target sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORLDS := $(VENV)/.worlds

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install the package and its tools into .venv, at the pinned versions

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON): not found; name a Python 3.11 or 3.12 with 'make setup PYTHON=...'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v in ((3, 11), (3, 12)) or sys.exit("$(PYTHON) is Python %d.%d; Tacit is pinned for 3.11 and 3.12: name one with \"make setup PYTHON=...\"" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(WORLDS): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,worlds]'
	@touch $@

demo: setup ## Record, train, plan and report on a small world, into demo/
	$(BIN)/tacit demo --out demo

test: $(WORLDS) ## Run the fast tests, of the simulators too
	$(BIN)/python -m pytest -m "not slow"

check: setup ## Lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(WORLDS) ## Run the slow tests and every benchmark; numbers go to benchmarks/results/
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,worlds,bench]'
	$(BIN)/python -m pytest -m slow || test $$? -eq 5
	@set -e; for script in benchmarks/*.py; do test -e "$$script" || continue; echo "$$script"; $(BIN)/python -m "benchmarks.$$(basename "$$script" .py)"; done
