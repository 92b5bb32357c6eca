# make demo   install what is needed into .venv, then train, export with parity, and infer
# make test   install what tests need, and run them
# make help   the other targets

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The two onnxruntime wheels exclude each other: the CUDA one where there is an NVIDIA driver.
PROVIDER ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
UV := $(shell command -v uv 2>/dev/null)
DATA ?=
MODEL ?=
DEMO_EXTRAS := $(PROVIDER),train,export
DEV_EXTRAS := $(DEMO_EXTRAS),parquet,video,openvino,serve,cloud,ray,bench,dev

.PHONY: help demo test test-lean lint types bench clean

help:
	@echo "make demo [DATA=path/to/fer2013]   train, export with parity, infer; into ./demo"
	@echo "make demo MODEL=best.pt            the same with a model that is already trained"
	@echo "make test                          run the tests"
	@echo "make test-lean                     run the runtime's tests without torch, with the newest"
	@echo "                                   and the oldest dependencies that are allowed"
	@echo "make lint types                    ruff; mypy, strict except for the tests"
	@echo "make bench                         latency and throughput on this machine"
	@echo "make docs                          this project's pages as a site, into docs/_build/html"
	@echo "make clean                         remove ./demo and caches (not $(VENV))"

$(VENV)/bin/python:
ifneq ($(UV),)
	uv venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

# $(1): extras, $(2): uv's further options. Installing is cheap when all is there, so one stamp per set
# of extras is enough.
define install
	@echo "installing fer-runtime[$(1)] into $(VENV) (PyTorch alone is some gigabytes) ..."
	@if [ -n "$(UV)" ]; then \
	  uv pip install --quiet $(2) --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
	else \
	  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(1)]'; \
	fi
	@touch $@
endef

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,$(DEMO_EXTRAS))

# Compiled, as pip does: the tests start hundreds of processes, and importing torch from its sources
# takes twice as long.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,$(DEV_EXTRAS),--compile-bytecode)

DOCS_EXTRAS := $(DEMO_EXTRAS),parquet,docs

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,$(DOCS_EXTRAS))

.PHONY: docs
# A warning is an error, so a link to a page or a heading that is not there fails.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

.PHONY: doc-links
# Lists the links that leave the site; nothing is fetched.
doc-links: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links
	@grep -o 'https\?://[^"]*' docs/_build/links/output.json | sort -u

demo: $(VENV)/.demo
	@$(BIN)/fer-bench demo $(if $(DATA),--data "$(DATA)") $(if $(MODEL),--model "$(MODEL)")

ON_EVERY_CORE := -n auto --maxprocesses 8 --dist loadfile

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m "not slow" $(ON_EVERY_CORE)

# The lean installation: the runtime, and what its tests need. Without uv the oldest versions are left
# out, because pip cannot choose them.
LEAN := '.[cpu]' 'pytest>=8' 'pytest-xdist>=3.6' 'hypothesis>=6.100'
LEAN_TESTS := -m pytest -q -p no:cacheprovider -m "not slow" $(ON_EVERY_CORE) tests/runtime

test-lean:
ifneq ($(UV),)
	@for versions in highest lowest-direct; do \
	  echo "the runtime's tests with --resolution $$versions"; \
	  uv venv --quiet --clear --python $(PYTHON) .venv-lean && \
	  uv pip install --quiet --compile-bytecode --python .venv-lean/bin/python --resolution $$versions \
	    $(LEAN) && \
	  .venv-lean/bin/python $(LEAN_TESTS) || exit 1; \
	done
else
	$(PYTHON) -m venv --clear .venv-lean
	.venv-lean/bin/python -m pip install --quiet --upgrade $(LEAN)
	.venv-lean/bin/python $(LEAN_TESTS)
	@echo "uv is not installed: the oldest versions were not tested."
endif

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

bench: $(VENV)/.dev
	$(BIN)/python -m pytest -q benchmarks --benchmark-only

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info .venv-lean
