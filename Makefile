# Symphony: `make demo` shows the main job, `make test` runs every test. Everything is installed into .venv.

PYTHON ?= python3
VERSIONS := 3.11 3.12 3.13
VENV := .venv
BIN := $(VENV)/bin
# Twice as many workers as there are cores: many tests wait rather than compute.
WORKERS := $(shell echo $$(( $$(nproc) * 2 )))
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
# Bytecode is kept: without it each of the hundreds of processes that tests start compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

NATIVE := $(shell find host/src host/mailbox pit -name '*.rs' -o -name Cargo.toml -path '*pit*') host/Cargo.toml Cargo.toml Cargo.lock host/control.openrpc.json
PACKAGING := pyproject.toml host/build_backend.py conductor_plugin/pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo install test test-rust test-python test-all lint format stubs soak memcheck instructions bench bench-rust tools clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: install ## Build and install all, index this repository, search it
	$(BIN)/symphony run conductor.index path=.
	$(BIN)/symphony run conductor.search query="who holds the lease of the pit" path=. top=3

install: tools $(VENV)/installed ## Build host, Pit and Conductor into .venv

tools: ## Check that the tools are there
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Symphony needs Python 3.11 or newer as '$(PYTHON)': install it (Debian: apt-get install python3 python3-venv), or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys, sysconfig; sys.exit(bool(sysconfig.get_config_var("Py_GIL_DISABLED")))' || { \
	  echo "Symphony does not support free-threaded builds of CPython such as '$(PYTHON)'" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Symphony needs Python's venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@command -v cargo >/dev/null || { \
	  echo "Symphony needs a Rust toolchain (cargo, 1.90 or newer): install it from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  echo "Symphony needs a C compiler as 'cc': install one (Debian: apt-get install gcc)" >&2; exit 1; }

$(BIN)/python: | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/backends: pyproject.toml conductor_plugin/pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet 'maturin>=1.16,<2' hatchling editables
	@touch $@

$(VENV)/installed: $(NATIVE) $(PACKAGING) $(VENV)/backends
	@echo "building Symphony: the first time takes some minutes"
	@touch $@.new # what is changed meanwhile is built the next time
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --no-build-isolation --editable . --editable ./conductor_plugin
	@$(BIN)/python -m compileall -q host/python conductor_plugin # pip leaves that out of what is editable
	@mv $@.new $@

$(VENV)/developing: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --group dev
	@touch $@

test: tools test-rust test-python ## Run all tests, Rust and Python

test-rust: $(VENV)/developing
	cargo test --workspace --exclude symphony-bench --exclude symphony-ffi-bench --quiet

test-python: $(VENV)/developing
	$(BIN)/python -m pytest -q -n $(WORKERS)

test-all: tools ## Run the Python tests with every CPython from 3.11 to 3.13 that is installed
	@for version in $(VERSIONS); do \
	  python$$version -c '' 2>/dev/null || { echo "python$$version is not installed: left out"; continue; }; \
	  echo "== python$$version"; \
	  $(MAKE) --no-print-directory test-python PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done

lint: $(VENV)/developing ## Formatting, lints and types
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo clippy --package symphony-host --lib --features python --quiet -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/developing ## Format Rust and Python
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

stubs: $(VENV)/developing ## Write the type stubs of the core's components anew
	$(BIN)/python -m symphony.pit_stubs host/python/symphony/pit_types

soak: $(VENV)/developing ## Kill a bare writer 10,000 times, host and interpreter in 200 runs and while the log is shortened; 1,000 faults of all kinds; end 1,000 interpreters that await; repeat calls a million times (some hours)
	SYMPHONY_SOAK_ROUNDS=10000 cargo test --package symphony-pit-journal --test soak_test
	SYMPHONY_SOAK_RUNS=200 $(BIN)/python -m pytest -q -s tests/integration/test_soak.py
	SYMPHONY_RETIREMENT_ROUNDS=100 $(BIN)/python -m pytest -q -s tests/integration/test_retirement_soak.py
	SYMPHONY_OBSERVED_RUNS=200 $(BIN)/python -m pytest -q tests/integration/test_observers.py
	SYMPHONY_FAULTS=1000 SYMPHONY_CROWDS=200 $(BIN)/python -m pytest -q -s tests/integration/test_fault_soak.py
	SYMPHONY_SHUTDOWNS=1000 SYMPHONY_MANY_OPERATIONS=1000000 $(BIN)/python -m pytest -q --timeout 3600 \
	  tests/python/test_async_loops.py tests/python/test_async_many.py
	SYMPHONY_REPLAY_EXAMPLES=1000 $(BIN)/python -m pytest -q --timeout 3600 tests/unit/python/test_replay_property.py
	SYMPHONY_REQUEST_EXAMPLES=100000 cargo test --package symphony-host --lib whatever_a_client_sends
	SYMPHONY_VALUE_EXAMPLES=20000 $(BIN)/python -m pytest -q tests/python/test_hostile_values.py
	SYMPHONY_MEMORY_ROUNDS=1000000 $(BIN)/python -m pytest -q tests/python/test_memory.py --timeout=0

memcheck: $(VENV)/developing ## Model-check log and mailbox (loom), run tests under valgrind and, with a nightly, sanitizers
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --package symphony-pit-journal --package symphony-mailbox --lib model
	$(BIN)/python tests/memcheck/valgrind.py
	tests/memcheck/sanitize

instructions: $(VENV)/developing ## Count the instructions of Pit calls, and compare with what is kept (needs valgrind)
	$(BIN)/python tests/benchmarks/instructions.py

bench: $(VENV)/developing ## Run the benchmarks and write docs/benchmarks.md
	$(BIN)/python tests/benchmarks/run.py --write docs/benchmarks.md

bench-rust: $(VENV)/developing ## Time conversions and Pit calls by themselves, in Rust (needs Python's shared library)
	cargo build --release --quiet --package symphony-shapes
	LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')" \
	  PYTHONPATH="$$($(BIN)/python -c 'import os, sys; print(os.pathsep.join(sys.path))')" \
	  cargo bench --quiet --package symphony-ffi-bench

clean: ## Remove what was built
	rm -rf target $(VENV) .venv-3.* host/python/symphony/_components host/python/symphony/_bin host/python/symphony/_include host/python/symphony/_host*.so
