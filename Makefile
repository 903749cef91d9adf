# make demo       draw, score, mark, catalogue, query and verify the example sweep
# make test       lint, types and the tests, with real parts in every room
# make test-slow  the rest: the fault suite, clusters, schedules, training, many kills
# make test-fast  those that take seconds
#
# Without a GPU, TORCH_BACKEND=cpu makes uv download the CPU builds of torch and torchvision
# (both from the same source) instead of several GB of CUDA libraries.

VENV ?= .venv
PYTHON ?= python3
TORCH_BACKEND ?=
DEMO ?= demo

BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
# Test files in parallel; one thread each, since torch processes that share cores slow one another down tenfold.
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 20
INSTALL = $(UV) pip install --quiet --python $(BIN)/python $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))

.PHONY: demo test test-fast test-slow lint types docs pins clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nonesuch needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=…" >&2; exit 2; }
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); echo "python3-venv is missing: apt install python3-venv (or install uv), then run make again." >&2; exit 2; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv; fi

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing nonesuch into $(VENV) (the first time downloads torch) …" >&2
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing nonesuch and its test tools into $(VENV) …" >&2
	@$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed
	@$(BIN)/nonesuch run examples/demo.yaml --out $(DEMO)
	@$(BIN)/nonesuch query $(DEMO) --order aesthetic --top 10
	@$(BIN)/nonesuch sheet $(DEMO) --order aesthetic --top 24 --out $(DEMO)/best.png
	@$(BIN)/nonesuch verify --catalog $(DEMO) "$$($(BIN)/nonesuch query $(DEMO) --order aesthetic --top 1 --paths)"
	@echo
	@echo "images         $(DEMO)/images"
	@echo "contact sheet  $(DEMO)/best.png"
	@echo "catalog        $(DEMO)/catalog"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy
	$(BIN)/mypy examples/plugin/nonesuch_example

test: lint types
	$(PYTEST) -m "not long"

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m long

test-fast: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

docs: $(VENV)/.installed-dev
	$(BIN)/python -m nonesuch.reference > docs/cli.md
	$(BIN)/python -m nonesuch.api_reference > docs/api.md

pins: $(VENV)/.installed-dev
	$(BIN)/python tools/renew_pins.py $(UV)

clean:
	rm -rf $(VENV) $(DEMO) build dist
