# Every target works in a fresh clone with Python 3.11 or newer and make, and nothing else.

PYTHON ?= python3
VENV ?= .venv
PARITY_VENV ?= .venv-parity
CLIENTS := pycytominer cosmicqc cytodataframe scanpy
PORT ?= 3000
CASES ?= 1000
SEED ?= 1
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help env demo test lint test-pythons parity clients client-environments azurite bench bench-csv bench-store bench-dataset bench-images bench-anndata attack test-slow docs screenshots wheel clean

help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Where Python is told to write no bytecode, every process would compile all sources again.
env: $(BIN)/.ready ## make the environment in .venv
	@$(BIN)/python -m compileall -q cytotable_dagster
	@$(BIN)/python -c "from cytotable_dagster.core.kernels.loading import load_all; load_all()"

# uv installs the pinned set in seconds; pip needs more than ten minutes to resolve it.
$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(BIN)/.ready: $(BIN)/uv constraints.txt pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: env ## convert a synthetic plate in the Dagster web UI on 127.0.0.1:3000 (PORT=..., ONCE=1 stops after)
	$(BIN)/cytotable-dagster demo --port $(PORT) $(if $(ONCE),--once)

# Two at a time, as many of them wait for servers; those of one file share what they start; files in the order of
# conftest.py, those that wait before those that do not.
test: env lint ## check style and types, and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-slow: env ## the tests that take minutes, and a thousand attacks of each kind
	$(BIN)/python -m pytest -m slow $(PYTEST)
	$(BIN)/python -m attacks --cases 1000 --seed $(SEED)

attack: env ## attack the converter: mutated files, kills, faults of a store (CASES=20000, SEED=...)
	$(BIN)/python -m attacks --cases $(CASES) --seed $(SEED)

lint: env ## style, types, import rules
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary

# pyenv's Pythons are found too, and uv fetches others where it can.
PYTHONS ?= 3.11 3.12 3.13
PYENVS := $(wildcard $(HOME)/.pyenv/versions/*/bin)
PYTHON_TESTS := $(addprefix cytotable_dagster_tests/core/,test_bytes.py test_convert.py kernels model parquet planning)
test-pythons: $(BIN)/uv ## the converter's quick tests on every Python that it is for (PYTHONS="3.13")
	@export PATH="$(subst $() ,:,$(PYENVS)):$$PATH"; for version in $(PYTHONS); do \
	  python=.venv-py$$version/bin/python; \
	  $(BIN)/uv venv --quiet --allow-existing --python $$version .venv-py$$version || \
	    { echo "Python $$version is not tested: there is none here, and none could be fetched"; continue; }; \
	  echo "Python $$version"; \
	  $(BIN)/uv pip install --quiet --python $$python -r constraints.txt && \
	  $(BIN)/uv pip install --quiet --python $$python --no-deps --editable . && \
	  $$python -m pytest -q -n 2 --dist loadfile $(PYTHON_TESTS) || exit 1; \
	done

$(PARITY_VENV)/.ready: $(BIN)/uv parity-constraints.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(PARITY_VENV)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(PARITY_VENV)/bin/python -r parity-constraints.txt
	@touch $@

parity: env $(PARITY_VENV)/.ready ## compare with CytoTable 1.2.6, in an environment of its own
	$(BIN)/python -m pytest cytotable_dagster_tests/parity $(PYTEST)

# The clients' pins exclude each other: an environment for each.
.venv-%/.ready: cytotable_dagster_tests/clients/%-constraints.txt $(BIN)/uv
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python -r $<
	@touch $@

client-environments: $(CLIENTS:%=.venv-%/.ready)

clients: env client-environments ## run pycytominer, coSMicQC, CytoDataFrame and scanpy on what is converted here
	$(BIN)/python -m pytest cytotable_dagster_tests/clients $(PYTEST)

# Of Azurite only the blobs are used; the tests with it are skipped where it is not.
AZURITE ?= azurite@3.35.0
azurite: .azurite/.ready ## Azurite, which the tests start for az:// (needs node and npm)

.azurite/.ready: Makefile
	npm install --silent --no-audit --no-fund --no-save --prefix .azurite $(AZURITE)
	@touch $@

# A wheel of pure Python is `uv build --wheel`. The folder is made anew, as what is in it goes into the wheel.
wheel: env ## a wheel for this platform, with the compiled readers, in dist/
	@rm -rf build/kernels
	@$(BIN)/python -c "from pathlib import Path; from cytotable_dagster.core.kernels.loading import keep_in; keep_in(Path('build/kernels'))"
	@CYTOTABLE_WHEEL_KERNELS=$(CURDIR)/build/kernels $(BIN)/uv build --quiet --wheel --out-dir dist .

bench: env $(PARITY_VENV)/.ready ## time against CytoTable, DuckDB and SQLite
	$(BIN)/python -m benchmarks

bench-csv: env $(PARITY_VENV)/.ready ## time plates of CSV files against CytoTable and pandas
	$(BIN)/python -m benchmarks.csv_figures

bench-store: env $(PARITY_VENV)/.ready ## time plates that come from a slow store against CytoTable (SITES=200 for a quick run)
	$(BIN)/python -m benchmarks.store_figures $(if $(SITES),--sites $(SITES))

bench-dataset: env ## time a dataset of 100 plates: one more, and reading all
	$(BIN)/python -m benchmarks.dataset_figures

# CytoTable's image export needs ome-arrow, whose boto3 is an older one than ours.
.venv-images/.ready: $(BIN)/uv benchmarks/image-constraints.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) .venv-images
	$(BIN)/uv pip install --quiet --python .venv-images/bin/python -r benchmarks/image-constraints.txt
	@touch $@

bench-images: env .venv-images/.ready ## time crops against tifffile and CytoTable's image export
	$(BIN)/python -m benchmarks.image_figures

# CytoTable brings AnnData and Zarr with it.
bench-anndata: env $(PARITY_VENV)/.ready ## time AnnData against CytoTable's
	$(BIN)/python -m benchmarks.anndata_figures

.venv-docs/.ready: $(BIN)/uv docs-constraints.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) .venv-docs
	$(BIN)/uv pip install --quiet --python .venv-docs/bin/python -r docs-constraints.txt
	@touch $@

docs: .venv-docs/.ready ## the documentation as a site, with the API, in build/site; broken links end it
	@PATH="$(CURDIR)/.venv-docs/bin:$$PATH" .venv-docs/bin/mkdocs build --strict

screenshots: env ## the pictures of the README and docs, of a demo that is started for them, by Chromium
	$(BIN)/python -m cytotable_dagster_tests.docs.screenshots

clean: ## remove the environments and the demo's folder
	rm -rf .azurite $(VENV) $(PARITY_VENV) $(CLIENTS:%=.venv-%) $(PYTHONS:%=.venv-py%) .venv-images .venv-docs .demo build/site
