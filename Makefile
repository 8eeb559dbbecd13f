# Short commands, the same at the desk and in CI. They need python3 (3.11 or newer), pip and make; uv is used where it
# is there, since it installs faster.

PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers/bin
WORKERS ?= 2
PEERS_EXTRAS := .[beam,tfma]
ARGS ?=
CHOSEN := $(if $(LONG),,-m "not $(if $(SLOW),long,slow)")

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format coverage bench test-peers clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.dev  ## install everything for development into .venv

demo: .venv/.demo  ## evaluate two models on real data, and write a report
	$(BIN)/evalkit demo $(ARGS)

test: .venv/.dev  ## run the tests; SLOW=1 runs the slow ones too, LONG=1 all of them, ARGS="-k name" chooses
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(CHOSEN) $(ARGS)

check: .venv/.dev  ## lint, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: .venv/.dev  ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: .venv/.dev  ## run the tests and print the lines that none of them reaches
	$(BIN)/coverage run -m pytest $(CHOSEN) $(ARGS)
	$(BIN)/coverage report

bench: .venv/.dev  ## run every benchmark
	@for script in benchmarks/*.py; do \
	  if [ -e "$$script" ]; then echo "== $$script"; $(BIN)/python "$$script" || exit 1; fi; \
	done

test-peers: .venv-peers/.ready  ## compare with TensorFlow Model Analysis, in an environment of its own
	$(PEERS)/python -m pytest tests/peers -W default $(ARGS)

clean:  ## remove environments, caches and build folders
	rm -rf .venv .venv-peers build dist *.egg-info .coverage .coverage.* htmlcov .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. A stamp is younger than pyproject.toml while what it names is installed.

.venv/.demo: pyproject.toml
	$(call environment,.venv)
	$(call install,.venv,-e '.[demo]')
	@touch $@

.venv/.dev: pyproject.toml
	$(call environment,.venv)
	$(call install,.venv,-e '.[dev]')
	@touch $@ .venv/.demo

.venv-peers/.ready: pyproject.toml
	$(call environment,.venv-peers)
	$(call install,.venv-peers,-e '$(PEERS_EXTRAS)' pytest hypothesis)
	@touch $@

define environment
@command -v $(PYTHON) >/dev/null || { echo "evalkit needs Python 3.11 or newer, and there is no $(PYTHON) here." >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evalkit needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) -c 'import platform; print(platform.python_version())'`: name another, as in: make $(or $(firstword $(MAKECMDGOALS)),setup) PYTHON=python3.12" >&2; exit 1; }
@[ -x $(1)/bin/python ] || if command -v uv >/dev/null; then uv venv --quiet --python "`command -v $(PYTHON)`" $(1); else $(PYTHON) -m venv $(1); fi
endef

define install
@if command -v uv >/dev/null; then uv pip install --quiet --python $(1)/bin/python $(2); else $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2); fi
endef
