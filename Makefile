# Needs Python 3.11 or 3.12 and make; everything else is installed into .venv from hashed locks.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE =
# The machine's own certificate authorities, where it keeps any: behind a company's proxy only they do.
CERTS  := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),--system-certs)
INSTALL = $(BIN)/uv pip install --quiet $(CERTS) --python $(BIN)/python

NODE_TOOLS := tests/node/node_modules/.ready

.PHONY: setup demo up test check format lock bench drill soak chaos fuzz surface docs-page clean
setup: $(VENV)/.ready

$(VENV)/.uv: requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "Darkroom needs Python 3.11 or 3.12, this is %d.%d: call make with PYTHON=python3.11" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< 2>&1 | grep -v '^WARNING: Location' || true
	@test -x $(BIN)/uv && touch $@

$(VENV)/.ready: $(VENV)/.uv requirements.lock pyproject.toml
	@$(INSTALL) --require-hashes --compile-bytecode -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@$(INSTALL) --require-hashes --compile-bytecode -r requirements-dev.lock
	@touch $@

$(VENV)/tools/.ready: $(VENV)/.uv requirements-tools.lock
	@$(BIN)/python -m venv --without-pip $(VENV)/tools
	@$(BIN)/uv pip install --quiet $(CERTS) --python $(VENV)/tools/bin/python --require-hashes -r requirements-tools.lock
	@touch $@

$(VENV)/bench/.ready: $(VENV)/.uv requirements-bench.lock
	@$(BIN)/python -m venv --without-pip $(VENV)/bench
	@$(BIN)/uv pip install --quiet $(CERTS) --python $(VENV)/bench/bin/python --require-hashes -r requirements-bench.lock
	@touch $@

build/slow_commits.so: $(VENV)/bench/.ready bench/slow_commits.c
	@mkdir -p build
	@ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/$(VENV)/bench/cache $(VENV)/bench/bin/python -m ziglang cc -target x86_64-linux-gnu.2.17 -shared -fPIC -O2 -Wall -Werror -o $@ bench/slow_commits.c

$(NODE_TOOLS): $(VENV)/.ready-dev tests/node/package-lock.json tests/node/browser.mjs
	@$(BIN)/python -m tests.node install
	@touch $@

demo: setup  ## A throw-away stack paints pictures and proves what it did: make demo PROVIDERS=openai,gemini,stability STORE=supabase
	@$(BIN)/$(if $(PROVIDERS)$(STORE),python -m tests.servers.demo --providers=$(or $(PROVIDERS),sketch) --store=$(or $(STORE),filesystem),darkroom demo)

up: setup  ## The whole service on this machine, until Ctrl-C.
	@$(BIN)/darkroom up

test: $(VENV)/.ready-dev $(VENV)/tools/.ready $(NODE_TOOLS)
	@$(BIN)/python -m pytest -n 3 --dist worksteal

check: $(VENV)/.ready-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: $(VENV)/.ready-dev  ## As `make test` does, for longer: make fuzz EXAMPLES=1000 SEED=7
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),300) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/surface/test_fuzz.py -s

surface: $(VENV)/.ready-dev  ## Write docs/openapi.json, errors.md and providers.md, which the code makes.
	@$(BIN)/python -m tests.surface.stored

docs-page: $(VENV)/.ready-dev  ## Fetch what /docs shows: make docs-page SCALAR=1.72.1
	@$(BIN)/python -m tests.node page $(SCALAR)

bench: $(VENV)/.ready-dev build/slow_commits.so  ## All figures, or one: make bench FIGURE=append
	@$(BIN)/python -m bench $(FIGURE)

soak: $(VENV)/.ready-dev  ## Half of what it can do, for long: make soak MINUTES=20
	@$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),20)

chaos: $(VENV)/.ready-dev  ## Break everything under load: make chaos GENERATIONS=1000 SEEDS=1..10
	@$(BIN)/python -m tests.chaos.rounds --generations=$(or $(GENERATIONS),200) --seeds=$(or $(SEEDS),1..3) --faults=$(or $(FAULTS),all) --outside=$(or $(OUTSIDE),both)

drill: $(VENV)/.ready-dev  ## Restart all under load in calls of 30 s, PostgreSQL ten times, Supabase away for 60 s: make drill SECONDS=30 OUTAGES=10 AWAY=60
	@DRILL_CALL_SECONDS=$(or $(SECONDS),30) DRILL_OUTAGES=$(or $(OUTAGES),10) DRILL_AWAY_SECONDS=$(or $(AWAY),60) $(BIN)/python -m pytest -s tests/chaos/test_rolling_restart.py tests/chaos/test_postgres_away.py tests/chaos/test_supabase_away.py

lock: $(VENV)/.uv  ## Pin again what pyproject.toml asks for.
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements.lock --group dev -o requirements-dev.lock pyproject.toml
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group tools -o requirements-tools.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group bench -o requirements-bench.lock

clean:
	@rm -rf $(VENV) .darkroom build tests/node/node_modules
