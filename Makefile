# `make help` lists everything. A target that is not below is a command of `imss`, and every variable on the command
# line is an option of it, or an error: `make compare METHODS=a,b SAMPLES=500` runs `imss compare METHODS=a,b SAMPLES=500`.
# ARGS is passed on as it stands. Plain `=`: the environment does not set these, the command line does.
ARGS    =
CHECK   =
COSTS   =
DATA    =
STORE   = data/stores
PYTHON  = python3
VENV    = .venv
STAMP   = $(VENV)/.installed
IMSS    = $(VENV)/bin/python -m benchmark
MKDOCS  = NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs

quote   = '$(subst ','\'',$(1))'
typed   = $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
given   = $(sort $(if $(DATA),DATA) $(filter-out ARGS DATA PYTHON VENV,$(typed)))
options = $(foreach name,$(given),$(call quote,$(name)=$($(name))))

# the targets of this file know these alone; what a command does not know, it says itself
own     = help install docs site speed refresh test lint lock clean
known   = ARGS CHECK COSTS DATA PYTHON STORE VENV
strange = $(filter-out $(known),$(typed))
ifeq ($(filter-out $(own),$(MAKECMDGOALS)),)
ifneq ($(strange),)
$(error There is no variable $(strange); this target knows ARGS CHECK COSTS PYTHON STORE VENV)
endif
endif

.DEFAULT_GOAL := help
.PHONY: always help install profile-all docs site speed refresh test lint lock clean

help: ## list targets, methods and datasets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@$(PYTHON) -m benchmark list --targets --store "$(STORE)"

# the commands; `always`, since some are also names of folders, such as data
%: $(STAMP) always
	$(IMSS) $@ $(options) $(ARGS)

# sources, not commands
Makefile requirements.lock pyproject.toml: ;

# these show one dataset, another one with DATA; called without make, all that have records
compare conventions lens sensor-value worth: DATA = miniature

profile-all: $(STAMP) ## parameters and GMAC of every method on DATA (default potsdam); TIMING=1 times them too
	$(IMSS) profile $(options) --all $(ARGS)

speed: $(STAMP) ## measure the suite itself: evaluation, reading, waiting, counting
	$(VENV)/bin/python -m tests.performance $(ARGS)

install: $(STAMP) ## create .venv with the locked dependencies

# the stamp is a copy of the lock: another date, or an edit of pyproject.toml, installs nothing
$(STAMP): $(shell cmp -s requirements.lock $(STAMP) || echo requirements.lock)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3.11"; exit 2; }
	@# one that works is kept: only what differs from the lock is fetched
	test -x $(VENV)/bin/python || $(PYTHON) -m venv --clear $(VENV)
	test -x $(VENV)/bin/uv || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --no-build-isolation -e .
	@cp requirements.lock $(STAMP)

docs: $(STAMP) ## the documentation as a site of static files in build/site; a dead link is an error
	$(MKDOCS) build $(ARGS)

site: $(STAMP) ## the same with the report of all records, for a static host
	IMSS_REPORT=1 $(MKDOCS) build $(ARGS)

refresh: $(STAMP) ## rebuild published tables and fill the documents; CHECK=1 only names what is stale, COSTS=1 recounts
	$(VENV)/bin/python -m tools.refresh $(if $(CHECK),--check) $(if $(COSTS),--costs) $(ARGS)

test: $(STAMP) ## run the whole test suite, examples in docstrings included
	@# in their order: the files with the fewest tests hold the longest, and would come last; a worker more than cores,
	@# since one waits for the queue of tests/benchmark/sweep
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## ruff, mypy and the floors of the packages
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock: $(STAMP) ## resolve the dependencies again (names, versions, hashes; no index address)
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra dev \
	  --extra dashboard --extra cluster --extra docs --extra export pyproject.toml -o requirements.lock

clean: ## remove .venv and caches; data and results stay
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache build *.egg-info
