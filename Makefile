# Two commands do everything on a machine that has Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
	--custom-compile-command "make lock"
PYTEST := $(BIN)/pytest
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Where it is set, each process compiles all it imports anew: half of its start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-unit check soak docs lock benchmarks clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed ## Only the set-up: make .venv with everything in it

.venv/installed: bootstrap.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed (make PYTHON=...)"'
	@echo "==> installing into .venv: about 400 MB to fetch the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --only-binary :all: -r bootstrap.lock
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --only-binary :all: --compile-bytecode \
		-r requirements.lock \
		|| { echo "==> uv could not: once more with pip"; $(PIP) --require-hashes --only-binary :all: -r requirements.lock; }
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## The main job: everything starts, votes flow, an alert fires, SQL answers
	@$(BIN)/thumbstream demo

test: install ## All tests but the soak runs
	@$(PYTEST) -m "not soak" -n 4

test-unit: install ## Tests that need neither Kafka nor ClickHouse: seconds
	@$(PYTEST) tests/unit tests/property -m "not soak and not integration and not system"

check: install ## Lint, types and the fast tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test-unit

soak: install ## Minutes of faults on the real parts
	@$(PYTEST) -m soak -s

benchmarks: install ## Measure, each against a bare loop in the same run
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: install ## Write the generated parts of the documentation
	@$(BIN)/python docs/generate.py

lock: install ## Resolve the dependencies anew
	@echo uv | $(LOCK) --output-file bootstrap.lock -
	@$(LOCK) --all-extras --output-file requirements.lock pyproject.toml
	@echo hatchling | $(LOCK) --constraint requirements.lock --output-file requirements-build.lock -
	@$(LOCK) --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml

clean: ## Remove .venv and the data of local runs
	rm -rf .venv .thumbstream .mypy_cache .ruff_cache .pytest_cache
