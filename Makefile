# The commands a newcomer needs; CI calls the same ones.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Each process of the tests takes about 2 GiB: no more of them than cores, nor than eight.
WORKERS ?= $(shell cores=$$(env -u OMP_NUM_THREADS nproc); echo $$((cores < 8 ? cores : 8)))
FAST   := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

# Tests of exported models have processes of their own: where all ran in two, one ended near the end, of an unknown cause.
SHIPPED := tests/runtime tests/scansuite/test_front_door.py tests/tasks/detect/test_exporter.py \
	$(addprefix tests/tasks/,deployment explain export exported serving) \
	$(addprefix tests/tasks/cli/test_,$(addsuffix .py,dicom dicom_exported explain export export_flags export_int8 \
	no_patient predict_exported verify))

.PHONY: setup fit test test-slow test-slurm test-random lint format clean
.DEFAULT_GOAL := setup

setup: $(STAMP)  ## make .venv with every extra

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "setup: Python environment in $(VENV), from $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "setup: installing scansuite with every extra; torch makes it 3 GB to fetch and 7 GB on disk: minutes, and silent"
	@$(BIN)/python -m pip install --quiet --editable '.[weights,cluster,sweep,remote,excel,export,openvino,explain,serve,dicom-out,test,dev]'
	@touch $@
	@echo "setup: done; python is $(BIN)/python, and 'make fit' trains a first model"

fit: $(STAMP)  ## train classification on drawn phantoms and print the results
	$(BIN)/python -m tasks.classify fit --config experiment/phantoms

test: $(STAMP)  ## the fast tests
	$(FAST) tests $(addprefix --ignore=,$(SHIPPED))
	$(FAST) $(SHIPPED)

test-random: $(STAMP)  ## the fast tests in random order, whose seed is printed
	$(FAST) -p randomly

test-slow: $(STAMP)  ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

test-slurm: $(STAMP)  ## of the slow ones, the shortest on a real SLURM of two nodes: as root, with slurm-wlm and munge
	$(BIN)/python -m pytest -m slow tests/slurm -k "two_nodes_train or requeued"

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what the commands above made, runs excepted
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
