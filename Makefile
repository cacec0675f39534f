# The whole interface: demo, test, lab, validate. Everything lives in .venv; `make clean` forgets it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PATIENT ?= sample_dicom/TT-0001
OUT    ?= demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# cython-lint calls pycodestyle by name
export PATH := $(abspath $(BIN)):$(PATH)
sources := pyproject.toml setup.py $(shell find tumortwin -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.PHONY: demo test wheel-test lab lint validate notebooks clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# one stamp per set of extras: make asks pip only when what is installed is older than what is declared
$(VENV)/installed: $(BIN)/python $(sources)
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install -q -e '.[test,lint]'
	@touch $@

$(VENV)/installed-lab: $(VENV)/installed
	$(BIN)/pip install -q -e '.[lab]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/tumortwin run $(PATIENT) --out $(OUT) --force

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint tumortwin
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 20

wheel-test: $(VENV)/installed-test
	.ci/wheel-test

lab: $(VENV)/installed-lab
	$(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(VENV)/installed-test
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb

validate: $(VENV)/installed-test
	$(BIN)/pip install -q -e '.[bench]'
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest tests/physics -q --write-validation docs/validation.md
	$(BIN)/python benchmarks/patients.py --write docs/validation.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/corpus.py --write docs/imaging.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/deidentification.py --write docs/deidentification.md
	$(BIN)/python benchmarks/fuzz.py --write docs/imaging.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/imaging.py --write benchmarks/README.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/growth.py --plot docs/img/growth_cost.png --write benchmarks/README.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/sensitivities.py --write benchmarks/README.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/measures.py --write docs/geometry/measures.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/geometry.py --plot docs/img/geometry_worst.png --write docs/geometry/validation.md

clean:
	rm -rf $(VENV) build *.egg-info
