# `make` alone prints the targets. Everything here sets up what it needs.

PYTHON ?= python3
VENV := .venv
SERVER := .venv-server
ARGS ?=

# The rules of the product: every branch of them has a test.
CORE := announce answers cron decide documents egress facts manifests payload resource rules schedule settings spec \
	status table
comma := ,
empty :=
space := $(empty) $(empty)
CORE_FILES := $(subst $(space),$(comma),$(CORE:%=operator/assistantcron/%.py))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv server binaries ## One AssistantCron from apply to outcome, on real servers, without a cluster
	@$(VENV)/bin/python -m tests.bed.demo

.PHONY: test
test: venv server binaries ## Every test that needs no container engine (ARGS="-k forbid" passes options to pytest)
	@$(VENV)/bin/python -m pytest --cov --cov-report=term $(ARGS)
ifeq ($(ARGS),)
	@$(VENV)/bin/coverage report --include='$(CORE_FILES)' --fail-under=100
endif

.PHONY: bench
bench: venv binaries ## How late runs start when 1,000 slots come at once; how fast schedules are computed
	@$(VENV)/bin/python -m bench.starts
	@$(VENV)/bin/python -m bench.schedule

.PHONY: check
check: venv ## Lint, format, types, layers
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: format
format: venv ## Format the code and apply the linter's safe fixes
	@$(VENV)/bin/ruff format
	@$(VENV)/bin/ruff check --fix

.PHONY: cluster cluster-stop
cluster: venv server binaries ## A control plane and a LangGraph server that stay up, for trying things by hand
	@$(VENV)/bin/python -m tests.bed.cluster start
cluster-stop: venv ## Stop them
	@$(VENV)/bin/python -m tests.bed.cluster stop

.PHONY: venv
venv: $(VENV)/.installed ## The operator and the developer's tools, in .venv

.PHONY: server
server: $(SERVER)/.installed ## langgraph dev, in .venv-server

.PHONY: binaries
binaries: python ## kube-apiserver, etcd and kubectl, found or made once outside the tree
	@$(PYTHON) -m tests.bed.binaries

.PHONY: lock
LOCK = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(ARGS)
lock: venv ## Pin the dependencies anew (ARGS=--upgrade takes the newest)
	$(LOCK) pyproject.toml -o requirements/operator.txt
	$(LOCK) pyproject.toml requirements/dev.in -c requirements/operator.txt -o requirements/dev.txt
	$(LOCK) requirements/server.in -o requirements/server.txt

.PHONY: clean
clean: ## Remove the environments and what the tools have left
	rm -rf $(VENV) $(SERVER) .coverage .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find bench operator tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3 …' >&2; exit 1; }

# An environment whose Python has gone is made anew. The lists are complete: with --no-deps pip does not look for
# anything newer than what is pinned.
$(VENV)/.installed: requirements/dev.txt pyproject.toml | python
	@echo 'installing the operator and its tools into $(VENV)'
	@$(VENV)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(SERVER)/.installed: requirements/server.txt | python
	@echo 'installing langgraph dev into $(SERVER)'
	@$(SERVER)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(SERVER)
	@$(SERVER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/server.txt
	@touch $@
