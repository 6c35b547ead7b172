# Everything runs in .venv, which is made at the first use. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PRESET ?= quick
RECORDED := mlruns/recorded
PAGES := build/pages
# Files that the README links to.
SOURCES_SHOWN = $(shell grep -ohE '\]\(mnist_ops/[a-z_/]+\.py' README.md | cut -c3- | sort -u)

# `mlflow run --env-manager local` starts the `python` that it finds first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: run test test-slow soak soak-edges lint bench bench-accuracy team audit report results site clean help

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "mnist-ops needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): torch alone is about 5 GB, some minutes the first time."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Relative, for MLflow makes a folder of an absolute path before it decodes it.
run: export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db
run: $(INSTALLED) ## The whole study (PRESET=quick|paper|rigorous), tracked in MLflow, and its report
	-@mnist-ops sync --timeout 10  # makes the store, whole or not at all
	mlflow run . -e main --env-manager local -P preset=$(PRESET)
	@echo "Report: $(CURDIR)/report/index.html"

test: $(INSTALLED) ## The fast tests, on all cores
	pytest -n auto --dist loadfile

test-slow: $(INSTALLED) ## The slow tests: servers, worker processes, a browser, the network
	pytest -m slow -n auto --dist loadfile

soak: $(INSTALLED) ## 40 grids with a random fault each, against undisturbed ones: prints what came of each
	pytest -m slow tests/end_to_end/test_soak.py -s

soak-edges: $(INSTALLED) ## Hours of cut first starts, moved folders, wrong clocks, stopped processes, bad proxies
	MNIST_OPS_EDGE_ROUNDS=all pytest -m slow tests/end_to_end/test_soak_edges.py -s

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
	python tests/support/team_study.py --preset $(PRESET)

audit: $(INSTALLED) ## Known vulnerabilities of what is installed, if the service that knows can be reached
	python tests/support/audit.py

report: $(INSTALLED) ## The report from the runs recorded with the project: no training
	mnist-ops summarize --from $(RECORDED) --open

results: $(INSTALLED) ## Put the results of the recorded runs into the documents and the baseline
	mnist-ops summarize --from $(RECORDED) --into README.md --into docs/beyond-the-study.md \
		--pictures docs/results
	cp report/findings.json pipelines/paper/baseline.json

site: $(INSTALLED) ## The project's pages: these documents, the report and the recorded runs, into site/
	rm -rf $(PAGES) && mkdir -p $(PAGES)
	cp README.md $(PAGES)/index.md
	cp -r CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs $(PAGES)
	for file in $(SOURCES_SHOWN); do install -D -m 644 $$file $(PAGES)/$$file; done
	cp -r $(RECORDED) $(PAGES)/recorded
	mnist-ops summarize --from $(RECORDED) --out $(PAGES)/report
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --config-file docs/mkdocs.yml
	@echo "Site: $(CURDIR)/site/index.html"

clean: ## Remove the environment, caches, the report and the site; tracked runs stay
	rm -rf $(VENV) report site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
