# Two commands do all the set-up: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
MIN := .venv-min/bin
INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-min fuzz lint docs dist quick study clean

demo: .venv/core
	$(BIN)/tailcut demo

# Two processes; a file stays in one, so that its networks are trained once.
test: lint
	SCIPY_ARRAY_API=1 $(BIN)/pytest -n 2 --dist loadfile

# The same tests with the oldest releases that pyproject.toml admits. Those warn of each other.
test-min: .venv-min/test
	$(MIN)/pytest -n 2 --dist loadfile -W default $(TESTS)

fuzz: .venv/test
	TAILCUT_FUZZ=10000 $(BIN)/pytest -n 2 tests/fuzz

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/core
	$(BIN)/python docs/figure.py

dist: .venv/test
	$(BIN)/python -m hatchling build

# Ten minutes on two cores: digits in clutter under three kinds of noise, with controls.
QUICK := clutter-maxcnn-symmetric-40 clutter-maxcnn-symmetric-20 clutter-maxcnn-pair-40
quick: .venv/core
	TAILCUT_STUDY=runs/quick $(BIN)/python benchmarks/study.py train measure inputs table \
	    --settings $(QUICK) --seeds 0 1 2 --results runs/quick/results

# Nights on two cores: goes on where it stopped. TAILCUT_STUDY names its folder.
study: .venv/study
	$(BIN)/python benchmarks/study.py train

# torch first, by itself: whatever comes later must be content with this build.
.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) -c constraints.txt torch
	$(BIN)/python $(INSTALL) -c constraints.txt -e .
	touch $@

.venv/test: .venv/core
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[test]'
	touch $@

# Those releases have wheels for Python 3.10 and 3.11: `make test-min PYTHON=python3.10`.
.venv-min/test: pyproject.toml constraints-min.txt
	$(PYTHON) -m venv .venv-min
	$(MIN)/python $(INSTALL) -c constraints-min.txt -e '.[test]'
	touch $@

.venv/study: .venv/core
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[study]'
	touch $@

clean:
	rm -rf .venv .venv-min dist runs/*-demo .pytest_cache .hypothesis .ruff_cache
	find src tests benchmarks docs -name __pycache__ -exec rm -rf {} +
