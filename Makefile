# Everything sets itself up: a .venv from requirements.lock. Python 3.11-3.13 and make are all you need.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
ENGINES_READY := $(VENV)/engines
ENGINES ?= tensorflow jax torch
# Of the training loop, what could differ from engine to engine.
EVERYWHERE := batches or parts or early or float16 or interrupted
ON_EACH_ENGINE := tests/engines tests/operators tests/layers tests/exchange tests/training/test_devices.py
# Files of tests that run at once. Each worker holds an engine: about two gigabytes.
WORKERS ?= 2
AT_ONCE := -n $(WORKERS) --dist loadfile
# Each binding of the native kernels needs its engine to be imported, and has no example.
EXAMPLES := --doctest-modules --doctest-glob="*.md" --ignore-glob="*/engines/native/*" deformconv book/api
HTML := _build/html/index.html
# The first Python of 3.11-3.13 on this machine; `make PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help book pdf zip test test-unit test-examples test-notebooks test-book test-engines test-portable links lint reproduce notebooks publish address lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 (with venv) is needed; none was found. Install one, or say make PYTHON=/path/to/python."; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): a few minutes, once."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Apart, for they are large and only test-engines needs them. On Linux pip takes PyTorch with CUDA unless it is told
# of an index that has the CPU build (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS).
$(ENGINES_READY): $(READY) requirements-engines.lock
	@echo "Adding JAX and PyTorch to $(VENV): a few minutes, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-engines.lock
	@touch $@

book: $(READY) ## render the book to _build/html
	@$(BIN)/jupyter-book build --quiet . 
	@echo "The book is at $(abspath $(HTML))"
	@echo "Open that file in a browser, for instance: python3 -m webbrowser -t 'file://$(abspath $(HTML))'"

# Sphinx writes the single page beside the first one, and its links as if it lay at the top.
pdf: $(READY) ## the book as one PDF, _build/deformconv.pdf (needs Chromium)
	@$(BIN)/jupyter-book build --quiet --builder singlehtml .
	@cp _build/singlehtml/book/index.html _build/singlehtml/print.html
	@$(BIN)/python tools/pdf.py _build/singlehtml/print.html _build/deformconv.pdf
	@echo "The book is at $(abspath _build/deformconv.pdf)"

zip: book ## the rendered book as one file to take along, _build/deformconv-book.zip
	@cd _build && $(abspath $(BIN))/python -m zipfile -c deformconv-book.zip html
	@echo "The book is at $(abspath _build/deformconv-book.zip); open html/index.html in it"

test: lint test-unit test-examples test-notebooks test-book ## all checks on TensorFlow: lint, tests, examples, notebooks, the book

lint: $(READY) ## format, lint, types and the walls of the package, without changing anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

test-unit: $(READY) ## the unit tests
	$(BIN)/python -m pytest $(AT_ONCE) tests --ignore tests/pages

test-examples: $(READY) ## the examples in docstrings and on the reference pages
	$(BIN)/python -m pytest $(EXAMPLES)

test-notebooks: $(READY) ## run every notebook and compare its outputs (nbval, strict)
	@$(BIN)/deformconv info > /dev/null # compiles the CPU kernels, if need be: no notebook's output shall tell of it
	DEFORMCONV_STATIC=1 $(BIN)/python -m pytest $(AT_ONCE) --nbval book

test-book: $(READY) ## build the book from nothing, warnings are errors; try every page in Chromium, if it is there
	$(BIN)/jupyter-book build --quiet --all -W --keep-going -n .
	$(BIN)/python -m pytest tests/pages

links: $(READY) ## ask every link of the book whether it still leads somewhere (needs a network)
	$(BIN)/jupyter-book build --quiet --builder linkcheck .

test-engines: $(ENGINES_READY) ## the operator, the training loop, several devices, on each engine (ENGINES="tensorflow jax torch")
	for engine in $(ENGINES); do \
		KERAS_BACKEND=$$engine $(BIN)/python -m pytest $(AT_ONCE) $(ON_EACH_ENGINE) && \
		KERAS_BACKEND=$$engine $(BIN)/python -m pytest tests/training/test_loop.py tests/training/test_checkpoint.py -k "$(EVERYWHERE)" && \
		KERAS_BACKEND=$$engine $(BIN)/python -m pytest $(EXAMPLES) || exit 1; \
	done

# JAX compiles the portable layer anew for each size: with it this takes twice as long.
test-portable: $(ENGINES_READY) ## operators and layers without the CPU kernels, on each engine (ENGINES="tensorflow jax torch")
	for engine in $(ENGINES); do \
		DEFORMCONV_CPU_KERNELS=0 KERAS_BACKEND=$$engine $(BIN)/python -m pytest $(AT_ONCE) tests/operators tests/layers || exit 1; \
	done

reproduce: $(READY) ## run the study (BUDGET=quick, standard or full; SEEDS=1; ARGS=more options)
	$(BIN)/deformconv reproduce --budget $(or $(BUDGET),standard) --seeds $(or $(SEEDS),1) $(ARGS)

notebooks: $(READY) ## run the notebooks and keep their outputs
	@$(BIN)/deformconv info > /dev/null
	$(BIN)/python tools/execute.py

publish: $(READY) ## put results into the book (FROM=results/mnist-standard copies a run there first)
	$(BIN)/python tools/publish.py $(FROM)

address: $(READY) ## the book's repository, for launch buttons and Colab (URL=https://github.com/OWNER/NAME, or none)
	@$(BIN)/python tools/address.py $(URL)

# The second lock holds what the engines need beside the first, without CUDA: a CPU is enough for the tests.
lock: ## renew requirements.lock and requirements-engines.lock (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra book --extra test --no-header --quiet --upgrade -o requirements.lock
	echo "torch==2.13.0" | uv pip compile pyproject.toml - --universal --python-version 3.11 --extra jax --extra torch --no-header --no-annotate --quiet --upgrade -c requirements.lock \
		| grep -vxFf requirements.lock | grep -vE '^(cuda|nvidia|triton)' > requirements-engines.new
	mv requirements-engines.new requirements-engines.lock

clean: ## remove what was built, and the environment
	rm -rf $(VENV) _build build dist *.egg-info
