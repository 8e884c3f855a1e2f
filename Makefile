# make demo | test | check | figures | bench: each creates the environment first where it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test check format figures bench campaign campaign-store campaign-slices campaign-training docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): constraints.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[data,xarray,test,check]'
	@touch $@

demo: $(STAMP)  ## the main job on the embedded digits data: trains, measures, compares, draws (about a minute of computing)
	$(BIN)/landscape demo

check: $(STAMP)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

test: check  ## lint, types and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

format: $(STAMP)  ## rewrites the sources in the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## docs/cli.md from the commands' help, schema.md, layers.md and measures.md from the code
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_schema.py
	$(BIN)/python docs/make_layers.py
	$(BIN)/python docs/make_measures.py

figures: $(STAMP)  ## the gallery in figures/, from the reference minima in checkpoints/
	$(BIN)/python figures/make_gallery.py

bench: $(STAMP)  ## speed, as ratios side by side in one run
	$(BIN)/python benchmarks/curvature.py
	$(BIN)/python benchmarks/training.py

campaign: campaign-store campaign-slices campaign-training  ## all fault campaigns at full size

campaign-store: $(STAMP)  ## kills, full disks, failing calls and damaged files; writes docs/reliability.md (a quarter of an hour)
	$(BIN)/python tests/faults --full --write docs/reliability.md

campaign-slices: $(STAMP)  ## slices and curves killed and gone on with; writes docs/reliability-slices.md
	$(BIN)/python tests/faults --full --group slices --write docs/reliability-slices.md

campaign-training: $(STAMP)  ## training killed in every regime and gone on with; writes docs/reliability-training.md
	$(BIN)/python tests/faults --full --group training --write docs/reliability-training.md

clean:  ## removes the environment and the demo's output
	rm -rf $(VENV) demo-output
