# On a fresh machine: `make demo` or `make test`. Each does its own set-up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test setup system clean

demo: setup  ## simulate a raw scan, reconstruct it, end with a picture
	$(BIN)/imagereg demo -o demo-output

test: system setup  ## formatting, types and all tests
	$(BIN)/ruff check imagereg plugins tests benchmarks
	$(BIN)/ruff format --check imagereg plugins tests benchmarks
	$(BIN)/mypy
	$(BIN)/pytest -q

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

clean:
	rm -rf $(VENV) demo-output
