# `make help` lists everything. Plain `=`: the environment does not set these, the command line does.
METHOD    = sgma
DATA      = miniature
PROTOCOL  = standard
SEED      = 0
BACKBONE  =
RUNS      = results/runs
STORE     = data/stores
LOGGER    = csv
SOURCE    =
TILES     =
FORCE     =
INCOMPLETE =
COPY      =
VERIFY    =
CHECKPOINT =
RUN       =
SCENES    =
OUT       =
METHODS   =
SIDE      =
DEVICE    =
TIMING    =
PROJECT   =
ENTITY    =
INPUT     =
PROBABILITIES =
CHECK     =
COSTS     =
ARGS      =

PYTHON    = python3
VENV      = .venv
STAMP     = $(VENV)/.installed
IMSS      = $(VENV)/bin/python -m benchmark

.DEFAULT_GOAL := help
.PHONY: help install bench evaluate data show leaderboard tables report audit worth compare lens profile profile-all \
  speed picture predict examples synthesised diagnose dashboard publish refresh test lint lock clean

help: ## list targets, methods and datasets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables of bench: METHOD DATA PROTOCOL SEED BACKBONE RUNS STORE LOGGER FORCE=1 ARGS=\"--trainer.max_epochs 2\""
	@$(PYTHON) -m benchmark list --store "$(STORE)"

install: $(STAMP) ## create .venv with the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

bench: $(STAMP) ## train METHOD on DATA, score every modality subset, write the leaderboard
	$(IMSS) bench --method "$(METHOD)" --data "$(DATA)" --protocol "$(PROTOCOL)" --seed "$(SEED)" \
	  --backbone "$(BACKBONE)" --runs "$(RUNS)" --store "$(STORE)" --logger "$(LOGGER)" $(if $(FORCE),--force) $(ARGS)

evaluate: $(STAMP) ## score CHECKPOINT on every modality subset
	$(IMSS) evaluate --checkpoint "$(CHECKPOINT)" --runs "$(RUNS)" --store "$(STORE)" $(ARGS)

data: $(STAMP) ## import DATA from SOURCE (what you downloaded; COPY=1 leaves nothing there); VERIFY=1 checks
	$(IMSS) data "$(DATA)" --source "$(SOURCE)" --store "$(STORE)" --tiles "$(TILES)" \
	  $(if $(INCOMPLETE),--allow-incomplete) $(if $(COPY),--copy) $(if $(FORCE),--force) $(if $(VERIFY),--verify) $(ARGS)

show: $(STAMP) ## draw imported DATA on one sheet: SCENES (names), OUT (PNG file)
	$(IMSS) show "$(DATA)" --store "$(STORE)" --scenes "$(SCENES)" --out "$(OUT)" $(ARGS)

leaderboard: $(STAMP) ## rebuild results/leaderboards from run records
	$(IMSS) leaderboard --runs "$(RUNS)" $(ARGS)

tables: $(STAMP) ## write the papers' tables, reported beside measured, to results/tables
	$(IMSS) tables --runs "$(RUNS)" $(ARGS)

report: $(STAMP) ## write results/report/index.html, one page that shows all run records
	$(IMSS) report --runs "$(RUNS)" $(ARGS)

audit: $(STAMP) ## recompute what the papers derive from their own numbers: results/audit.csv and .md
	$(IMSS) audit $(ARGS)

worth: $(STAMP) ## what each sensor is worth on DATA, and what is left when sensors fail
	$(IMSS) worth --data "$(DATA)" --runs "$(RUNS)" $(ARGS)

compare: $(STAMP) ## intervals of the differences between METHODS (a,b,...; default all) on DATA
	$(IMSS) compare --data "$(DATA)" --runs "$(RUNS)" --methods "$(METHODS)" $(ARGS)

lens: $(STAMP) ## the leaderboard of DATA under each convention; marks where the ranking changes
	$(IMSS) lens --data "$(DATA)" --runs "$(RUNS)" $(ARGS)

# costs are published for real data: DATA is potsdam here unless it is named
profile profile-all: DATA = potsdam

profile: $(STAMP) ## parameters, GMAC, latency and memory of METHOD on DATA (default potsdam): BACKBONE SIDE DEVICE
	$(IMSS) profile --method "$(METHOD)" --data "$(DATA)" --protocol "$(PROTOCOL)" --backbone "$(BACKBONE)" \
	  --store "$(STORE)" --side "$(SIDE)" --device "$(DEVICE)" $(ARGS)

profile-all: $(STAMP) ## parameters and GMAC of every method on DATA (default potsdam); TIMING=1 times them too
	$(IMSS) profile --all --data "$(DATA)" --protocol "$(PROTOCOL)" --store "$(STORE)" --side "$(SIDE)" \
	  --device "$(DEVICE)" $(if $(TIMING),--timing) $(ARGS)

speed: $(STAMP) ## measure the suite itself: evaluation, reading, waiting, counting
	$(VENV)/bin/python -m tests.performance $(ARGS)

picture: $(STAMP) ## draw a scene of RUN with the prediction of every subset
	$(IMSS) picture --run "$(RUN)" $(ARGS)

predict: $(STAMP) ## map rasters with RUN: INPUT="rgb=a.tif nir=b.tif:4", OUT (GeoTIFF), PROBABILITIES=1
	$(IMSS) predict --run "$(RUN)" --input $(INPUT) --out "$(OUT)" \
	  $(if $(PROBABILITIES),--probabilities) $(ARGS)

examples: $(STAMP) ## store small pictures of SCENES (ids) of RUN for the report
	$(IMSS) examples --run "$(RUN)" --scenes "$(SCENES)" $(ARGS)

synthesised: $(STAMP) ## draw what RUN paints of missing modalities beside the true ones: SCENES, OUT (a folder)
	$(IMSS) synthesised --run "$(RUN)" --scenes "$(SCENES)" --out "$(OUT)" $(ARGS)

diagnose: $(STAMP) ## look inside RUN: spread of features, silhouette, t-SNE, robustness, sampling: SCENES, OUT (a folder)
	$(IMSS) diagnose --run "$(RUN)" --scenes "$(SCENES)" --out "$(OUT)" $(ARGS)

dashboard: $(STAMP) ## save a W&B workspace for the runs of DATA made with LOGGER=wandb: PROJECT, ENTITY
	$(IMSS) dashboard --data "$(DATA)" --runs "$(RUNS)" --project "$(PROJECT)" --entity "$(ENTITY)" $(ARGS)

publish: $(STAMP) ## copy the slim record of RUN to results/records
	$(IMSS) publish --run "$(RUN)" $(ARGS)

refresh: $(STAMP) ## rebuild published tables and fill the documents; CHECK=1 only names what is stale, COSTS=1 recounts
	$(VENV)/bin/python -m tools.refresh $(if $(CHECK),--check) $(if $(COSTS),--costs) $(ARGS)

test: $(STAMP) ## run the whole test suite
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff, mypy and the floors of the packages
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock: $(STAMP) ## resolve the dependencies again (names, versions, hashes; no index address)
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra dev \
	  --extra dashboard pyproject.toml -o requirements.lock

clean: ## remove .venv and caches; data and results stay
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache build *.egg-info
