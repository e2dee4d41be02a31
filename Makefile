# Every target first makes sure that everything is installed (scripts/setup.sh; quick when it is).
INPUT ?= examples/silicon/input.yaml
BIN := .venv/bin
# One thread per process: two workers on two cores with several threads each run many times slower.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help setup run test live lint format doctor plugin cp2k coverage mutants surrogate-mace surrogate-sevennet

help:
	@echo 'make run [INPUT=$(INPUT)]   a whole campaign: input file in, potential and report out'
	@echo 'make test      the test suite          make live   tests that run for longer'
	@echo 'make lint      ruff, mypy, imports     make format ruff format'
	@echo 'make coverage  how much of the package the tests without outside programs reach'
	@echo 'make mutants   deliberate faults in a copy of the tree: which of them do the tests notice?'
	@echo 'make doctor    does everything here work?           make setup  install only'
	@echo 'make surrogate-mace, make surrogate-sevennet   an environment for each of these surrogates (1.4 GB)'
	@echo 'make cp2k      CP2K, for the labelling engine of that name (Debian, as root; 38 MB, 240 MB on disk)'
	@echo 'make plugin    compile the pair style that mlip-auto lammps uses (needs g++)'

setup:
	@scripts/setup.sh

run: setup
	$(BIN)/mlip-auto run $(INPUT)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

live: setup surrogate-mace surrogate-sevennet cp2k
	$(BIN)/python -m pytest tests/live

coverage: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not real' --cov --cov-report=term:skip-covered

mutants: setup
	$(BIN)/python -m benchmarks.mutants

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

doctor: setup
	$(BIN)/mlip-auto doctor

plugin: setup
	$(BIN)/python -m mlip_autopipec.engines.md.lammps.plugin.build

cp2k:
	@command -v cp2k.psmp >/dev/null || { apt-get update && apt-get install -y --no-install-recommends cp2k cp2k-data; }

surrogate-mace surrogate-sevennet: setup
	@scripts/surrogate.sh $(@:surrogate-%=%)
