# Run inside the virtual environment that has the dev extra (CONTRIBUTING.md says how to make one).
PYTHON ?= python

.PHONY: check test format

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports --no-logo

test:
	$(PYTHON) -m pytest -n auto --dist loadfile

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
