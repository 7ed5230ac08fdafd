# Two commands do all the set-up: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs clean

demo: .venv/core
	$(BIN)/tailcut demo

# Two processes; a file stays in one, so that its networks are trained once.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/core
	$(BIN)/python docs/figure.py

# torch first, by itself: whatever comes later must be content with this build.
.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e .
	touch $@

# torchvision without its dependencies: it would ask for another build of torch.
.venv/test: .venv/core
	$(PIP) --no-deps torchvision
	$(PIP) -e '.[test]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .hypothesis .ruff_cache
