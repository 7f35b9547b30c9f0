PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CIFAKE ?= ../shared/data/cifake
RUN ?= runs/cifake
JOBS ?= 2
MINUTES ?= 60
NO_APP ?=
SHOWN ?= runs/pocket
ONLY ?=
QUICK ?=
ROWS ?=
ALONE ?=
# Widths of the stages, x blocks in each, @ epochs.
PARITY ?= 8,16,32,64x1@24 16,32,64,128x1@6 16,32,64,128x1@24 24,48,96,192x1@12 16,32,64x3@40

.PHONY: help install install-test demo test test-slow smoke check app cifake factors parity pictures bench scale screenshots faults soak security clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 18

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'torch>=2.6' torchvision
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet -e '.[test,browser,quality]'
	touch $@

install: $(VENV)/.installed ## make .venv and install synthgap into it

install-test: $(VENV)/.installed-test

demo: install ## the embedded comparison, its verdict, and the dashboard (NO_APP=1: without the dashboard)
	$(BIN)/synthgap demo --out runs/pocket $(if $(NO_APP),--no-app)

test: install-test ## the default test suite, under three minutes on two cores
	$(BIN)/python -m pytest -q -m "not slow" -n auto --dist loadfile --durations=10

test-slow: install-test ## the slow tests too: coverage of intervals, wheels, browser
	$(BIN)/python -m pytest -q

smoke: install-test ## the paper's experiment, both stages on all data sets, rehearsed with tiny stand-ins
	$(BIN)/python -m pytest -q tests/app/commands/test_paper_configs.py

check: install-test ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

app: install ## the dashboard over runs/
	$(BIN)/synthgap app runs

cifake: install ## the flagship: make cifake CIFAKE=FOLDER
	test -f teachers/cifake/open_clip_config.json || \
	  $(BIN)/synthgap teach $(CIFAKE)/train-real.parquet --test $(CIFAKE)/test-real.parquet --out teachers/cifake --resume
	$(BIN)/synthgap train configs/cifake.toml --set data.folder=$(CIFAKE) --out $(RUN) --jobs $(JOBS) --resume
	$(BIN)/synthgap diagnose $(RUN)

factors: install ## one factor at a time, on CIFAKE (after `make cifake`) and on the pocket; the tables end in summary.md
	$(BIN)/synthgap train configs/factors.toml --set data.folder=$(CIFAKE) --out runs/factors --jobs $(JOBS) --resume
	$(BIN)/synthgap diagnose runs/factors --probe transfer
	$(BIN)/synthgap train configs/factors_pocket.toml --out runs/factors_pocket --jobs $(JOBS) --resume
	$(BIN)/synthgap diagnose runs/factors_pocket --probe transfer

parity: install ## how near L2 students come to their teacher, by size and length, docs/results/parity (after `make cifake`)
	for student in $(PARITY); do net=$${student%%@*}; \
	  $(BIN)/synthgap train configs/parity.toml --set data.folder=$(CIFAKE) \
	    --set "student.kwargs.widths=[$${net%%x*}]" --set "student.kwargs.depth=$${net##*x}" --set training.epochs=$${student##*@} --out "runs/parity/$$student" --resume && \
	  $(BIN)/synthgap diagnose "runs/parity/$$student" --probe transfer || exit 1; done
	$(BIN)/python benchmarks/parity.py runs/parity

pictures: install ## one worked picture for each page of docs/probes, from a diagnosed run of the pocket: make pictures SHOWN=runs/pocket
	$(BIN)/python benchmarks/probe_pictures.py $(SHOWN)

bench: install-test ## speed side by side with bare loops and other libraries, docs/results/bench.md (ONLY=group, QUICK=1: print only)
	$(BIN)/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

scale: install ## memory and time of 10^4, 10^5, 10^6 rows (ROWS="..." for others, ALONE=1: no teacher), docs/results/scale.md and .svg
	$(BIN)/python benchmarks/scale.py $(if $(ROWS),--rows $(ROWS)) $(if $(ALONE),--alone)

screenshots: install-test ## pictures of every page of the dashboard: make screenshots SHOWN=runs/pocket
	$(BIN)/python benchmarks/screenshots.py $(SHOWN)

faults: install-test ## kill, starve and confuse the long commands a hundred times, and keep the table in docs/results/faults.md
	$(BIN)/python benchmarks/faults.py --keep

soak: install-test ## the same cycle again and again, MINUTES=60: memory, open and temporary files must stay flat
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) --keep

security: install-test ## tests behind SECURITY.md and docs/numbers.md: malformed files, fuzzed readers, hostile names, tolerances (kills: make faults)
	$(BIN)/python -m pytest -q tests/robust --ignore tests/robust/test_faults.py -n auto --dist loadfile

clean: ## remove caches and builds, not runs
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache
