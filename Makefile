# Everything runs in .venv, which is made at the first use. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PRESET ?= quick

# `mlflow run --env-manager local` starts the `python` that it finds first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: run test test-slow soak lint bench bench-accuracy team audit report clean help

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "mnist-ops needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): torch alone is about 5 GB, some minutes the first time."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(INSTALLED) ## The whole study (PRESET=quick|paper|rigorous), tracked in MLflow, and its report
	mlflow run . -e main --env-manager local -P preset=$(PRESET)
	@echo "Report: $(CURDIR)/report/index.html"

test: $(INSTALLED) ## The fast tests
	pytest

test-slow: $(INSTALLED) ## The slow tests: servers, worker processes, a browser, the network
	pytest -m slow

soak: $(INSTALLED) ## 40 grids with a random fault each, against undisturbed ones: prints what came of each
	pytest -m slow tests/test_soak.py -s

lint: $(INSTALLED) ## ruff, mypy, import-linter
	ruff check .
	ruff format --check .
	mypy
	lint-imports

bench: $(INSTALLED) ## Speed, on this machine: prints figures, asserts none (QUICK=1: training, 5 minutes)
	python -m tests.benchmarks$(if $(QUICK),.bench_resnet --quick)

bench-accuracy: $(INSTALLED) ## Fast against plain, 5 seeds, 2 whole epochs: hours; goes on where it was
	python -m tests.benchmarks.accuracy

team: $(INSTALLED) ## The study on PostgreSQL, S3 and sign-in (on loopback), its tables against SQLite's
	python tests/team_study.py --preset $(PRESET)

audit: $(INSTALLED) ## Known vulnerabilities of what is installed, if the service that knows can be reached
	python tests/audit.py

report: $(INSTALLED) ## The report from the runs that are tracked so far
	mnist-ops summarize

clean: ## Remove the environment, caches and the report; tracked runs stay
	rm -rf $(VENV) report build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
