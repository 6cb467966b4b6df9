# On a fresh machine: `make demo` or `make test`. Each does its own set-up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := $(VENV)/.documents

.PHONY: demo test notebooks docs screenshots setup system clean

demo: setup  ## simulate a raw scan, reconstruct it, end with a picture
	$(BIN)/imagereg demo -o demo-output

test: system setup  ## formatting, types and all tests
	$(BIN)/ruff check imagereg plugins tests benchmarks notebooks docs
	$(BIN)/ruff format --check imagereg plugins tests benchmarks notebooks docs
	$(BIN)/mypy
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal --ignore=tests/gui -m 'not slow and not alone'
	$(BIN)/pytest -q -m 'alone and not slow'

notebooks: $(DOCS)  ## run every tutorial, each in a kernel of its own; REFRESH=1 writes the notebooks anew
	$(BIN)/python notebooks/execute.py $(if $(REFRESH),--refresh)

docs: $(DOCS)  ## the documentation as a site, in build/site; a warning is an error
	$(BIN)/mkdocs build --strict

screenshots: system setup  ## pictures of the workbench for the documentation, into docs/images
	$(BIN)/python -m plugins.screenshots docs/images

system:
	.ci/system-packages

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "imagereg needs Python 3.11 or newer: call make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q torch torchvision
	$(BIN)/pip install --disable-pip-version-check -q -e '.[test]'
	touch $(STAMP)

$(DOCS): $(STAMP)
	$(BIN)/pip install --disable-pip-version-check -q -e '.[docs]'
	touch $(DOCS)

clean:
	rm -rf $(VENV) demo-output build
