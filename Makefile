# Each of these works alone, on a machine that has only Python 3.11 or newer with pip, make and git.

# The first Python that is new enough; `make PYTHON=…` names another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
# As many test processes as there are cores, up to four; the tests of one file share their fixtures in one process.
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile
# What `make test-all` runs; `make test-all ONLY="slow and short"` is a part of it.
ONLY ?= slow or not slow

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint bench docs

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-10s %s\n", $$1, $$2 }'

install: .venv/installed ## Set up .venv; done again only when pyproject.toml changes

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=…"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { \
		echo "Without Python's venv module in full; pip is brought into .venv from here."; \
		$(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install -q pip; }
	$(BIN)/python -m pip install -q --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

demo: install ## Go the whole path on a small crawl made on the spot
	$(BIN)/curriculumnet demo

test: install ## Run the fast tests
	$(PYTEST)

test-all: install ## Run all tests: the slow ones and those in a browser as well
	$(PYTEST) -m "$(ONLY)"

lint: install ## Check style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: install ## Measure how fast this machine is at the parts that take long
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/design.py
	$(BIN)/python benchmarks/whole_design.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/cleanvision.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/loader_memory.py
	$(BIN)/python benchmarks/batches.py
	$(BIN)/python benchmarks/sources.py
	$(BIN)/python benchmarks/collect.py

docs: install ## Write docs/reference anew from the code
	$(BIN)/python docs/generate.py
