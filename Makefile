# HomeRack's commands. `make` alone lists them.
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c '$(SUITABLE)' 2>/dev/null && echo $$name && break; done)
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run recover test test-slow test-deploy bench cluster failover screenshots lint types format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/production .env ## Run site, worker and schedules here, with the demo lab on the first start
	@$(BIN)/python -m homerack.config.keys .env
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py load_demo --if-empty
	@$(BIN)/python manage.py createinitialsuperuser
	@$(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

recover: .venv/production .env ## Recover the data of a lost machine: make recover FROM=ADDRESS (docs/recovering.md)
	@$(BIN)/python -m homerack.config.keys .env
	@$(BIN)/python manage.py recover $(if $(FROM),--from '$(FROM)') $(ARGS)

test: .venv/development ## Run the tests against a PostgreSQL server of their own
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

test-slow: .venv/development .venv/applications ## Run the tests that take minutes
	@$(BIN)/python -m pytest -m slow $(ARGS)

test-deploy: .venv/development ## Deploy for real on the Docker engine of DOCKER_HOST, which must be empty
	@$(BIN)/python -m pytest -m deploy tests/deploy $(ARGS)

bench: .venv/development .venv/peers/installed ## Measure (half an hour), and write docs/performance.md: make bench ARGS=migrate
	@$(BIN)/python -m bench $(ARGS)

cluster: .venv/development ## Start a PostgreSQL cluster to try a failover with (docs/high-availability.md)
	@$(BIN)/python -m tests.cluster

failover: .venv/development ## Measure failovers (10 minutes), and write docs/high-availability.md
	@KEEP_FIGURES=1 $(BIN)/python -m pytest -m slow tests/cluster/test_faults.py $(ARGS)

screenshots: .venv/development ## Take the pictures of the documents again (some minutes)
	@$(BIN)/python -m tests.screenshots $(ARGS)

lint: .venv/development ## Check style, formatting and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: .venv/development ## Check the types
	@SECRET_KEY=types $(BIN)/mypy

format: .venv/development ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove the virtual environment and the caches (never a database)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(or $(PYTHON),false) -c '$(SUITABLE)' || \
		{ echo "HomeRack needs Python 3.11, 3.12 or 3.13. Name one: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

.venv/production: requirements.txt | .venv/bin/python
	@echo "Installing what HomeRack needs (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/development: requirements-dev.txt requirements.txt | .venv/bin/python
	@echo "Installing the tests' and tools' requirements"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/production

# Complete without dependencies, so that neither Django nor another of our packages is installed a second time.
.venv/applications: tests/applications/requirements.txt | .venv/development
	@echo "Installing the applications of PyPI that are migrated in tests"
	@rm -rf $@ $@.new
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@.new -r $< && mv $@.new $@ || \
		echo "They cannot be installed. Their tests are skipped."

# An environment of their own: db-to-sqlite needs older packages than HomeRack.
.venv/peers/installed: bench/requirements.txt | .venv/development
	@echo "Installing the programs of PyPI that are measured, too"
	@$(BIN)/python -m venv --clear .venv/peers
	@.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@ || \
		{ rm -rf .venv/peers; echo "They cannot be installed, and are skipped."; }

.env: | .venv/production
	@$(BIN)/python -m homerack.config.keys $@
