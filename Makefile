# Everything runs in .venv, which is made at the first use. `make help` lists the targets.

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
# What running needs, and what developing needs besides.
RUNNABLE := $(VENV)/.installed-run
INSTALLED := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# TORCH=cpu installs the build for CPUs, which is much smaller.
TORCH ?=
PRESET ?= quick
# Further options of `make bench`, such as --torch and --against.
BENCH ?=
# Of `make gpu`: the device, and the minutes that a call may take; the Python that its kit is for.
DEVICE ?= cuda
MINUTES ?= 9
GPU_PYTHON ?= 3.12
RECORDED := mlruns/recorded
PAGES := build/pages

# `mlflow run --env-manager local` starts the `python` that it finds first.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A machine without git is not warned of it.
export GIT_PYTHON_REFRESH ?= quiet

.DEFAULT_GOAL := help
.PHONY: install run test test-slow soak soak-edges lint bench bench-accuracy gpu-kit gpu team audit report results commands site clean help

$(RUNNABLE): pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "mnist-ops needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	@echo "Installing into $(VENV), torch for CPUs: some minutes the first time."
	$(PIP) torch torchvision --index-url https://download.pytorch.org/whl/cpu
else
	@echo "Installing into $(VENV): about 6 GB, most of it torch with CUDA; some minutes the first time."
	@test "$$(uname)" != Linux || command -v nvidia-smi >/dev/null || $(BIN)/python -c 'import torch' 2>/dev/null \
		|| echo "There is no NVIDIA GPU: 'make $(MAKECMDGOALS) TORCH=cpu' installs the small build of torch instead."
endif
	$(PIP) --editable '.[images,kernels]'
	@touch $@

$(INSTALLED): $(RUNNABLE)
	$(PIP) --editable '.[dev]'
	@touch $@

install: $(RUNNABLE) ## What running needs, into .venv

# Relative, for MLflow makes a folder of an absolute path before it decodes it.
run: export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db
run: $(RUNNABLE) ## The whole study (PRESET=quick|paper|rigorous), tracked in MLflow, and its report
	-@mnist-ops sync --timeout 10  # makes the store, whole or not at all
	mlflow run . -e main --env-manager local --experiment-name mnist-ops -P preset=$(PRESET)
	@echo "Report: $(CURDIR)/report/index.html"

test: $(INSTALLED) ## The fast tests, on all cores
	pytest -n auto --dist worksteal --durations 10

test-slow: $(INSTALLED) ## The slow tests: servers, worker processes, a browser, the network
	pytest -m slow -n auto --dist worksteal --durations 10

soak: $(INSTALLED) ## 40 grids with a random fault each, against undisturbed ones: prints what came of each
	pytest -m slow tests/end_to_end/test_soak.py -s

soak-edges: $(INSTALLED) ## Hours of cut first starts, moved folders, wrong clocks, stopped processes, bad proxies
	MNIST_OPS_EDGE_ROUNDS=all pytest -m slow tests/end_to_end/test_soak_edges.py -s

lint: $(INSTALLED) ## ruff, mypy, import-linter
	ruff check .
	ruff format --check .
	mypy
	lint-imports

bench: $(INSTALLED) ## Speed, on this machine: prints figures, asserts none (QUICK=1: the main ones)
	python -m tests.benchmarks $(if $(QUICK),--quick) $(BENCH)

bench-accuracy: $(INSTALLED) ## Fast against plain, 5 seeds, 2 whole epochs: hours; goes on where it was
	python -m tests.benchmarks.accuracy

gpu-kit: $(INSTALLED) ## What `make gpu` needs on a machine without a network (GPU_PYTHON=3.12)
	python tests/support/gpu_kit.py --python $(GPU_PYTHON)

# Nothing is installed there: the Python that has torch runs it.
gpu: ## Proof of the CUDA code with the kit: tests, runs, benchmark (DEVICE=cpu tries it)
	@$(or $(PYTHON),python3) tests/support/gpu_proof.py --device $(DEVICE) --minutes $(MINUTES) --out build/gpu-$(DEVICE)

team: $(INSTALLED) ## The study on PostgreSQL, S3 and sign-in (on loopback), its tables against SQLite's
	python tests/support/team_study.py --preset $(PRESET)

audit: $(INSTALLED) ## Known vulnerabilities of what is installed, if the service that knows can be reached
	python tests/support/audit.py

report: $(RUNNABLE) ## The report from the runs recorded with the project: no training
	mnist-ops summarize --from $(RECORDED) --open

results: $(RUNNABLE) ## Put the results of the recorded runs into the documents and the baseline
	mnist-ops summarize --from $(RECORDED) --into README.md --into docs/results.md \
		--into docs/beyond-the-study.md --pictures docs/results
	cp report/findings.json pipelines/paper/baseline.json

commands: $(RUNNABLE) ## Put the help of every command into docs/commands.md
	python tests/support/commands_page.py > docs/commands.md

site: $(INSTALLED) ## The project's pages: these documents, the report and the recorded runs, into site/
	rm -rf $(PAGES) site && mkdir -p $(PAGES)
	cp README.md $(PAGES)/index.md
	cp -r CHANGELOG.md CITATION.cff CONTRIBUTING.md SECURITY.md LICENSE docs $(PAGES)
	grep -ohE 'mnist_ops/[a-z_/]+\.py\)' README.md docs/*.md | tr -d ')' | sort -u \
		| while read -r file; do install -D -m 644 $$file $(PAGES)/$$file; done
	zensical build --strict --clean --config-file mkdocs.yml
	cp -r $(RECORDED) site/recorded
	mnist-ops summarize --from $(RECORDED) --out site/report
	python tests/support/site_links.py site
	@echo "Site: $(CURDIR)/site/index.html"

clean: ## Remove the environment, caches, the report and the site; tracked runs stay
	rm -rf $(VENV) report site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
