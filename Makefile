# `make demo` and `make test` set up everything they need. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_INSTALLED := $(VENV)/.installed-demo
DOCS_INSTALLED := $(VENV)/.installed-docs
LAB_INSTALLED := $(VENV)/.installed-lab
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))

# Tests, type checks and pip run on small machines: BLAS and numba threads would fight the test workers.
THREADS := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help test nightly demo lab docs bench bench-promises bench-quick lint clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

test: lint  ## lint, types and the whole test suite with coverage (LIVE and nightly tests apart)
	$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term --durations=15

nightly: $(INSTALLED)  ## what takes hours: the long tests, then the suite of wrong models
	$(THREADS) $(BIN)/python -m pytest -m nightly --durations=15
	$(THREADS) $(BIN)/python -m benchmarks.wrong_models

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

demo: $(DEMO_INSTALLED)  ## tune the garbage collector of a real JVM (LIVE=1: fail rather than replay recorded runs)
	LIVE="$(LIVE)" $(BIN)/python -m models.jvm_gc.demo

lab: $(LAB_INSTALLED)  ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyterlab notebooks/01_ten_minutes_to_a_tuned_jvm.ipynb

docs: $(DOCS_INSTALLED)  ## build the documentation site into build/docs; a warning is an error
	$(THREADS) $(BIN)/python -m sphinx -W --keep-going -n -q docs build/docs
	@echo "open build/docs/index.html"

bench: bench-promises  ## the promises, then boatppl beside all its peers: days; interrupted, it goes on
	$(THREADS) $(BIN)/python -m benchmarks.compare

bench-promises: $(INSTALLED)  ## what was promised and what is measured here: a quarter of an hour
	$(BIN)/python -m benchmarks

bench-quick: $(INSTALLED)  ## boatppl beside a few of its peers on a few problems: under 10 minutes
	$(THREADS) $(BIN)/python -m benchmarks.compare --quick

clean:  ## remove the environment, caches and reports (never a study's .db)
	rm -rf $(VENV) build docs/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov report
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Done again only when the dependencies change; without a network nothing here runs twice.
$(INSTALLED): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c '$(SUITABLE)' 2>/dev/null; then \
	    found=; \
	    for candidate in $(PYTHON) python3.13 python3.12 python3.14 python3 python \
	            "$$HOME"/.pyenv/versions/3.13*/bin/python3 "$$HOME"/.pyenv/versions/3.12*/bin/python3 \
	            "$$HOME"/.pyenv/versions/3.14*/bin/python3 \
	            "$$(uv python find '>=3.12,<3.15' 2>/dev/null || true)" \
	            "$$("$$HOME"/.local/bin/uv python find '>=3.12,<3.15' 2>/dev/null || true)"; do \
	        if [ -n "$$candidate" ] && "$$candidate" -c '$(SUITABLE)' 2>/dev/null; then \
	            found="$$candidate"; break; \
	        fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "boatppl needs Python 3.12, 3.13 or 3.14 with its venv module, and found none on PATH, in pyenv or in uv."; \
	        echo "Type one of these, then the same make command again:"; \
	        echo "    pyenv install 3.13"; \
	        echo "    uv python install 3.13          # python3 -m pip install --user uv, where uv is missing"; \
	        echo "    sudo apt-get install python3-venv   # Debian 13, Ubuntu 24.04 and later"; \
	        echo "or name one: make PYTHON=/path/to/python3.13 ..."; \
	        exit 1; \
	    fi; \
	    echo "Creating $(VENV) with $$found ($$("$$found" --version))"; \
	    "$$found" -m venv --clear $(VENV); \
	fi
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	@touch $@

$(DEMO_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,demo]"
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,docs]"
	@touch $@

$(LAB_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,notebooks]"
	@touch $@
