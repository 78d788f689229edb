# Needs Python 3.11 or 3.12 and make; everything else is installed into .venv from hashed locks.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= .darkroom
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo up test check format lock bench clean
setup: $(VENV)/.ready

$(VENV)/.uv: requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "Darkroom needs Python 3.11 or 3.12, this is %d.%d: call make with PYTHON=python3.11" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< 2>&1 | grep -v '^WARNING: Location' || true
	@test -x $(BIN)/uv && touch $@

$(VENV)/.ready: $(VENV)/.uv requirements.lock pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-dev.lock
	@touch $@

demo: setup  ## A throw-away stack paints two pictures and proves what it did.
	@$(BIN)/darkroom demo

up: setup  ## The whole service on this machine, until Ctrl-C.
	@DARKROOM_DATA_DIR="$(DATA)" $(BIN)/darkroom up

test: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest

check: $(VENV)/.ready-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev
	@$(BIN)/python -m bench

lock: $(VENV)/.uv  ## Pin again what pyproject.toml asks for.
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements.lock --group dev -o requirements-dev.lock pyproject.toml

clean:
	@rm -rf $(VENV) .darkroom build
