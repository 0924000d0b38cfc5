.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
# Two files of tests at a time, the long ones first: one leaves a core idle half of its time.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

help: ## List the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Set up Python packages and the Delta jars (done by the others when needed)

.venv/.ready: requirements.lock tools/setup.sh spark_jobs/jars.sha256
	@bash tools/setup.sh

run: setup ## Run the whole pipeline through Airflow over the bundled silos
	@$(BIN)/python -m tools.airflow_run

airflow: setup ## Open the Airflow UI with the DAGs ready to trigger
	@$(BIN)/python -m tools.airflow_run --serve

test: setup ## Run the tests
	@$(PYTEST) $(ARGS)

acceptance: setup ## Run the slow proofs, and record those that are green (docs/testing.md)
	@$(BIN)/python -m tools.proofs run --all $(ARGS)

lint: setup ## Check style, types and import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: setup ## Measure, and write benchmarks/RESULTS.md (ARGS="--help" lists the sections)
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## Resolve requirements.lock again from pyproject.toml
	@.tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.lock

clean: ## Remove the lake and everything built (the set-up stays)
	@rm -rf lake .airflow build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.PHONY: help setup run airflow test acceptance lint bench lock clean
