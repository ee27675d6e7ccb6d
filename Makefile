# Every target sets up what it needs. `make` alone lists the targets.

VENV := .venv
UV_VERSION := 0.13.9
WHEELS := ../shared/wheels

# uv from PATH, or a pinned one inside the virtual environment. pip only fetches that one: given the project itself, its
# resolver goes back through releases for minutes on this set of packages, where uv takes seconds.
UV := $(if $(shell uv --version 2>/dev/null),uv,$(VENV)/bin/uv)

# Python 3.11, or whatever python3 is. Another one: make PYTHON=/path/to/python
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)

# A folder of wheels beside the checkout is looked into first; without one everything comes from the package index.
FIND_LINKS := $(if $(wildcard $(WHEELS)),--find-links $(WHEELS))

# Test files are divided among the cores, at most four: each has a Prefect server and an S3 server of its own.
IN_PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

# What takes minutes on a new machine is done before the first test, which would be ended for its time otherwise.
define PREPARE_SYSTEM
@PYTHONPATH=tests $(VENV)/bin/python -m cluster prepare
@$(if $(KUBECONFIG),:,$(VENV)/bin/python -m scripts.image --torch cpu >/dev/null)
endef

# The build of torch in the worker's image: cuda or cpu.
TORCH ?= cuda

# How pytest ends where ARGS picks no test of a group.
NO_TEST := 5

# For the command of the target: make test ARGS="-k plan", make lock ARGS="--upgrade-package prefect"
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help setup demo test test-system test-full bench bench-full bench-gpu cluster image push check format lock audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed ## Make the virtual environment; every target that needs it does so by itself
	@:

demo: $(VENV)/.installed ## Compare seven tiny arms on a small real data set; the chart lands in out/
	@$(VENV)/bin/freeze-bench compare plans/demo.toml --results out $(ARGS)

test: $(VENV)/.installed ## Run the tests: no GPU, no cluster, no network
	@$(VENV)/bin/python -m pytest $(IN_PARALLEL) $(ARGS)

# Tests on the cluster run one after the other: there is one cluster, and some of them break it.
test-system: $(VENV)/.installed ## Run the tests on a real cluster: the one that KUBECONFIG names, or one on this machine
	$(PREPARE_SYSTEM)
	@$(VENV)/bin/python -m pytest -m 'system and not full' $(ARGS)

test-full: $(VENV)/.installed ## Run the tests that take minutes: kills at any moment, outages in real time, a cluster's faults
	$(PREPARE_SYSTEM)
	@$(VENV)/bin/python -m pytest -m 'full and not system' $(IN_PARALLEL) $(ARGS) || test $$? -eq $(NO_TEST)
	@$(VENV)/bin/python -m pytest -m 'full and system' $(ARGS) || test $$? -eq $(NO_TEST)

# Whoever runs a benchmark leaves the machine alone meanwhile. Ctrl-C loses one measurement at most.
bench: $(VENV)/.installed ## Measure every claim about speed and memory on small works; writes docs/benchmarks.md
	@PYTHONPATH=tests $(VENV)/bin/python -m benchmarks $(ARGS)

bench-full: $(VENV)/.installed ## Measure the claims on a whole 135M decoder; takes hours
	@PYTHONPATH=tests $(VENV)/bin/python -m benchmarks --work b $(ARGS)

bench-gpu: $(VENV)/.installed ## Measure the claims on one GPU
	@PYTHONPATH=tests $(VENV)/bin/python -m benchmarks --device cuda --work b $(ARGS)

cluster: $(VENV)/.installed ## Run a Kubernetes of one node on this machine until Ctrl-C; needs root and Go
	@PYTHONPATH=tests $(VENV)/bin/python -m cluster run

image: ## Build the images, with torch for GPUs; TORCH=cpu takes the small one
	@'$(PYTHON)' -m scripts.image --torch $(TORCH) $(ARGS)

push: ## Build the images and push them: make push REGISTRY=registry.example.com/team
	@test -n '$(REGISTRY)' || { echo "Where to? make push REGISTRY=registry.example.com/team" >&2; exit 2; }
	@'$(PYTHON)' -m scripts.image --torch $(TORCH) --push '$(REGISTRY)' $(ARGS)

check: $(VENV)/.installed ## Lint, format, types, import rules, spelling; changes nothing
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet
	@$(VENV)/bin/mypy --no-error-summary
	@kept=$$($(VENV)/bin/lint-imports --no-logo 2>&1) || { echo "$$kept"; exit 1; }
	@$(VENV)/bin/codespell
	@echo "All checks passed."

format: $(VENV)/.installed ## Format the code and mend what the linter can
	@$(VENV)/bin/ruff check --fix --quiet
	@$(VENV)/bin/ruff format --quiet

# The lock names no index, so that it holds wherever packages come from. It is valid for every system and every Python
# that the project supports, not only for this machine's.
lock: $(if $(filter uv,$(UV)),,$(VENV)/bin/uv) ## Pin the versions in requirements.lock anew, after a change to pyproject.toml
	@$(UV) pip compile --quiet --universal --no-emit-index-url --all-extras --python-version 3.11 \
		--custom-compile-command 'make lock' $(ARGS) pyproject.toml --output-file requirements.lock

audit: $(if $(filter uv,$(UV)),,$(VENV)/bin/uv) ## List what the images install (dist/sbom/), and ask whether any of it is known to be vulnerable
	@'$(PYTHON)' -m scripts.audit --uv '$(UV)' $(ARGS)

clean: ## Remove the virtual environment, caches and builds; results in out/ stay
	@rm -rf $(VENV) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Compiled once here, because every worker is a process: without bytecode, importing torch and transformers takes 8 s
# instead of 4. The lock constrains and does not list: packages that only another system or a CUDA build needs are left out.
$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python $(if $(filter uv,$(UV)),,$(VENV)/bin/uv)
	@echo "Installing into $(VENV), once ..."
	@$(UV) pip install --quiet --compile-bytecode --python $(VENV)/bin/python $(FIND_LINKS) --constraint requirements.lock \
		--editable '.[worker,flows,s3,dev]'
	@touch $@

$(VENV)/bin/python:
ifeq ($(UV),uv)
	@uv venv --quiet --allow-existing --python '$(PYTHON)' $(VENV)
else
	@'$(PYTHON)' -m venv $(VENV)
endif
	@$@ -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { version=$$($@ --version 2>&1); rm -rf $(VENV); \
		echo "freeze-bench needs Python 3.11, and $(PYTHON) is $$version. Name another: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }

$(VENV)/bin/uv: | $(VENV)/bin/python
	@$(VENV)/bin/python -m ensurepip >/dev/null
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
