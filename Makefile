# Every target makes what it needs: a virtual environment, and the package in it.
# Nothing is installed again while pyproject.toml and constraints.txt stay as they are.

PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints.txt
PRESET      ?= laptop
OUT         ?= runs/$(PRESET)

PIP := $(VENV)/bin/python -m pip --disable-pip-version-check

# what `make test` leaves out: `make test-all` runs it, CI also what is long; `make parity` compares with others
MARKS       ?= not long and not heavy and not parity

.PHONY: help reproduce test test-all mutants parity bench accelerator lint docs clean

help:
	@echo "make reproduce [PRESET=smoke|laptop|paper] [OUT=dir]   run the studies, write a report"
	@echo "make test [MARKS='long and not heavy']                 run the tests, but those that take long (tests/tiers.toml)"
	@echo "make test-all                                          run every test, parity and the heavy ones too"
	@echo "make mutants [ARGS=drivers]                            put errors into the package, one at a time, and see a test fail"
	@echo "make parity                                            compare with PyTorch and transformers"
	@echo "make bench [ARGS=gmm]                                  time the package beside its peers, write benchmarks/RESULTS.md"
	@echo "make accelerator [ARGS='--seconds 360 --out dir']      time the package on the device there is, within so many seconds"
	@echo "make docs                                              the pages of docs/ and the API as a site: build/docs"
	@echo "make lint                                              style, types, import directions"

reproduce: $(VENV)/.installed-base
	$(VENV)/bin/collapse-jax reproduce --preset $(PRESET) --out $(OUT) $(ARGS)

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n auto --dist loadfile -m "$(MARKS)" $(ARGS)

test-all: $(VENV)/.installed-test $(VENV)/.installed-peers
	$(VENV)/bin/python -m pytest -n auto --dist loadfile $(ARGS)

mutants: $(VENV)/.installed-test
	$(VENV)/bin/python tests/mutants.py $(ARGS)

parity: $(VENV)/.installed-test $(VENV)/.installed-peers
	$(VENV)/bin/python -m pytest -n auto -m "parity and not heavy" $(ARGS)

bench: $(VENV)/.installed-peers
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

accelerator: $(VENV)/.installed-peers
	$(VENV)/bin/python benchmarks/accelerator.py $(ARGS)

lint: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest tests/test_imports.py

docs: $(VENV)/.installed-docs
	$(VENV)/bin/mkdocs build --strict --quiet

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "collapse_jax needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP) install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.$(if $(filter-out base,$*),[$*])'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
