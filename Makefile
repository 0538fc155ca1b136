# `make` alone lists the targets. Variables are set on the command line: make demo CORES=4
# Experiments are run with the command medrlvr (docs/cli.md), which `make setup` installs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

CORES ?= $(shell nproc)
ARGS ?=
MIRROR ?=
TORCH_INDEX_URL ?=
UV ?= uv
PYTHON ?= $(shell for p in python3.11 python3 python python2; do "$$p" -c "" 2>/dev/null && { echo "$$p"; break; }; done)

# The name stands for what the environment was made from and where: other contents, or a moved folder, need another.
GPU_STAMP := .venv/gpu-$(shell (pwd -P; cat envs/pip.txt envs/torch.txt envs/gpu.lock) | sha256sum | cut -c1-16)
# Where there is an environment for GPUs, no target replaces it.
STAMP := $(or $(wildcard $(GPU_STAMP)),.venv/installed-$(shell (pwd -P; cat envs/pip.txt envs/torch.txt envs/cpu.lock) | sha256sum | cut -c1-16))
RUN := PYTHONPATH="$(CURDIR)/src" .venv/bin/python
# This clone's own library, whatever is installed.
MEDRLVR := $(RUN) -m medrlvr.cli.main

##@ Use

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-15s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Run experiments:  .venv/bin/medrlvr --help  (docs/cli.md)"
	@echo "Variables:        CORES=$(CORES); ARGS= options for Snakemake or pytest, such as ARGS=-n; PYTHON= a Python 3.11;"
	@echo "                  TORCH_INDEX_URL= address of torch's CPU build; MIRROR= folder with the data sets."

.PHONY: setup
setup: $(STAMP) ## create or complete .venv from the locked requirement files, with the command medrlvr

$(STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found. Debian 12, Ubuntu 22.04: sudo apt install python3.11 python3.11-venv" >&2; exit 1; }
	@"$(PYTHON)" envs/preflight.py
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" "$(PYTHON)" envs/install.py $@

.PHONY: setup-gpu
setup-gpu: $(GPU_STAMP) ## create .venv for GPUs instead; on a cluster, where all nodes see this folder

$(GPU_STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found: PYTHON= a Python 3.11, which a site's modules may have" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "$(PYTHON) is no Python 3.11: name one, PYTHON=...")'
	@rm -rf .venv && "$(PYTHON)" -m venv .venv && echo "set-up: torch with CUDA and 300 other packages, some minutes"
	@.venv/bin/pip install --quiet --require-hashes -r envs/pip.txt
	@.venv/bin/pip install --quiet --progress-bar off -r envs/torch.txt
	@DS_BUILD_OPS=0 DS_ACCELERATOR=cpu .venv/bin/pip install --quiet --progress-bar off --no-deps --require-hashes \
	  --build-constraint envs/gpu.lock -r envs/gpu.lock
	@.venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@.venv/bin/python -c 'import sys, torch; sys.exit(not torch.version.cuda and f"set-up: torch {torch.__version__} is no CUDA \
	  build. PIP_INDEX_URL, if set, must name an index that serves one.")'
	@touch $@

.PHONY: demo
demo: $(STAMP) ## run the miniature experiment on a CPU, from embedded data to the report: results/miniature/report.html
	@$(MEDRLVR) demo --cores $(CORES) -- $(ARGS)

##@ Develop

.PHONY: readme
readme: $(STAMP) ## run the miniature with three seeds and write README's table and figure from it
	@$(MEDRLVR) run config/miniature.yaml config/ablations/three_seeds.yaml --cores $(CORES) -- $(ARGS)
	@$(RUN) -m medrlvr.report.readme results/miniature_three_seeds

.PHONY: benchmark
benchmark: $(STAMP) ## measure the search for duplicates for docs/data.md: make benchmark MIRROR=folder
	@test -n "$(MIRROR)" || { echo "Which folder holds the exams? make benchmark MIRROR=folder" >&2; exit 1; }
	@$(RUN) benchmarks/data.py "$(MIRROR)"

.PHONY: benchmark-demo
benchmark-demo: $(STAMP) ## measure make demo in a clone of the last commit, for the README
	@$(RUN) benchmarks/demo.py

.PHONY: benchmark-page
benchmark-page: $(STAMP) ## measure the page at the paper's size: how large, how long to build and to open
	@$(RUN) benchmarks/page.py

.PHONY: rewards
rewards: $(STAMP) ## compute what each reward pays, and what grading costs, for the docs
	@$(RUN) benchmarks/rewards.py
	@$(RUN) benchmarks/grading.py

.PHONY: stages
stages: $(STAMP) ## hold the responses' stages against a reader's, for docs/stages.md
	@$(RUN) benchmarks/stages.py

# One worker runs a whole file, so that its tests share what they make. More than four trainings would not fit in memory.
PYTEST := $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(STAMP) ## run the checks and tests that every change needs, one whole short experiment among them
	@$(PYTEST) -m "not extended" $(ARGS)

.PHONY: test-extended
test-extended: $(STAMP)
	@$(PYTEST) -m extended $(ARGS)

.PHONY: test-all
test-all: test test-extended ## run `make test` and everything else: Slurm on two nodes, every estimator, every failure

.PHONY: test-coverage
test-coverage: $(STAMP) ## measure which lines of src/medrlvr all tests together run, in every process that they start
	@rm -f .coverage .coverage.*
	@COVERAGE_PROCESS_START="$(CURDIR)/pyproject.toml" COVERAGE_FILE="$(CURDIR)/.coverage" $(PYTEST) $(ARGS)
	@.venv/bin/coverage combine --quiet && .venv/bin/coverage report

.PHONY: test-mutation
test-mutation: $(STAMP) ## change the grader and the rewards in every way; at least 95 % of it a test must notice
	@PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut run > .mutants.log 2>&1 || { tail -20 .mutants.log; exit 1; }
	@PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut results
	@PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut export-cicd-stats
	@$(RUN) -c 'import json; s = json.load(open("mutants/mutmut-cicd-stats.json")); n = s["killed"] + s["timeout"]; \
	  print("noticed:", n, "of", s["total"]); raise SystemExit(n < 0.95 * s["total"])'

.PHONY: test-slurm
test-slurm: $(STAMP) ## run the whole miniature on a real Slurm of two nodes, which it installs and starts; needs root
	@$(RUN) tests/slurm.py

PEER := .peer/installed-$(shell (pwd -P; cat envs/torch.txt envs/peer.lock) | sha256sum | cut -c1-16)

$(PEER): $(STAMP)
	@rm -rf .peer && "$(PYTHON)" -m venv .peer
	@.peer/bin/pip install --quiet --no-deps $(if $(TORCH_INDEX_URL),--index-url "$(TORCH_INDEX_URL)") -r envs/torch.txt
	@.peer/bin/pip install --quiet --no-deps --require-hashes -r envs/peer.lock && touch $@

.PHONY: test-peer
test-peer: $(PEER) ## compare with lm-evaluation-harness, in an environment of its own: make test-peer [MIRROR=folder]
	@$(MEDRLVR) demo --cores $(CORES) -- results/miniature/eval/base/scores.parquet
	@test -z "$(MIRROR)" || MEDRLVR_MIRROR="$(MIRROR)" $(MEDRLVR) run config/smollm2.yaml --cores $(CORES) \
	  -- results/smollm2/eval/base/scores.parquet
	@$(RUN) tests/peer/compare.py miniature $(if $(MIRROR),smollm2)

.PHONY: check
check: style ## style, types, imports, workflow, and whether the docs are true; without the other tests
	@$(RUN) -m pytest --quiet tests/test_docs.py

.PHONY: style
style: $(STAMP)
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/mypy
	@.venv/bin/snakefmt --check Snakefile workflow/rules
	@$(RUN) tests/lint.py
	@$(RUN) tests/words.py
	@said="$$(PYTHONPATH=src .venv/bin/lint-imports --no-cache)" || { echo "$$said"; exit 1; }

DOCS := .docs/installed-$(shell (pwd -P; cat envs/docs.txt) | sha256sum | cut -c1-16)

$(DOCS):
	@test -n "$(PYTHON)" || { echo "No Python found. Name a Python 3.11 with PYTHON=..." >&2; exit 1; }
	@rm -rf .docs && "$(PYTHON)" -m venv .docs
	@.docs/bin/pip install --quiet --no-deps --require-hashes -r envs/docs.txt && touch $@

.PHONY: docs
docs: $(DOCS) ## build the documents as a site, in an environment of its own, and check their links: site/index.html
	@# Not --quiet: with it, mkdocs does not count warnings, and a broken link passes.
	@printed="$$(NO_MKDOCS_2_WARNING=1 .docs/bin/python -m mkdocs build --strict 2>&1)" || { echo "$$printed"; exit 1; }
	@echo "site/index.html"

.PHONY: lock
lock: ## resolve envs/*.in anew (needs uv); keeps versions that still fit
	@for kind in cpu gpu peer; do echo "envs/$$kind.lock" && (cd envs && DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(UV) pip compile --quiet \
	  --overrides overrides.in --excludes excludes-$${kind/peer/cpu}.in --generate-hashes --no-emit-package torch --no-header \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_35 --output-file $$kind.lock $$kind.in) || exit 1; done
	@echo "envs/docs.txt" && cd envs && $(UV) pip compile --quiet --generate-hashes --no-header --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_35 --output-file docs.txt docs.in

.PHONY: clean
clean: ## remove caches; keep .venv and all results
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build src/*.egg-info
	find src tests workflow envs -name __pycache__ -type d -prune -exec rm -rf {} +
