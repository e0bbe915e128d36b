# Every target builds its own environment from the project's files.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
INPUTS := pyproject.toml constraints.txt
# One worker a core, each with one thread: the tests run side by side. With another in
# the place of one that died, pytest-xdist waits for ever.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1
WORKERS ?= auto
OUT ?= demo
DATA ?=

.PHONY: help demo test lint docs bench clean

help:  ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/python-ready:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skxmodal needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/%-ready: $(VENV)/python-ready $(INPUTS)
	@echo "Installing what 'make $*' needs into $(VENV) (some minutes the first time)"
	$(INSTALL) --editable '.[$*]'
	@touch $@

demo: $(VENV)/demo-ready  ## Search 1,923 pictures by words; pictures of the hits in ./demo.
	$(BIN)/skxmodal demo --output $(OUT)

test: $(VENV)/test-ready  ## Run every test and doctest.
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --max-worker-restart 0 $(PYTEST_ARGUMENTS)

lint: $(VENV)/lint-ready  ## Check style, types and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs-ready  ## Build the documentation into docs/_build/html.
	HF_HUB_OFFLINE=1 $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/test-ready  ## Run the benchmarks; DATA=folder adds those on real embeddings.
	for script in benchmarks/bench_*.py; do \
	    echo "== $$script"; $(BIN)/python $$script $(if $(DATA),--data $(DATA)) || exit 1; \
	done

clean:  ## Remove what the other targets made.
	rm -rf $(VENV) build dist docs/_build docs/auto_examples docs/generated $(OUT)
