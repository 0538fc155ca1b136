# `make` alone lists the targets. Variables are set on the command line: make demo CORES=4

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
SNAKEMAKE := $(RUN) -m snakemake --quiet host reason rules progress --rerun-incomplete --cores $(CORES)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: CORES=$(CORES); ARGS= options for snakemake or pytest, such as ARGS=-n; PYTHON= a Python 3.11;"
	@echo "  TORCH_INDEX_URL= where the CPU build of torch is; MIRROR= a folder that stands in for the hub."

.PHONY: setup
setup: $(STAMP) ## make or complete .venv from the locked requirement files

$(STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found. Debian 12, Ubuntu 22.04: sudo apt install python3.11 python3.11-venv" >&2; exit 1; }
	@"$(PYTHON)" envs/preflight.py
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" "$(PYTHON)" envs/install.py $@

.PHONY: setup-gpu
setup-gpu: $(GPU_STAMP) ## make .venv for GPUs instead; on a cluster, where all nodes see this folder

$(GPU_STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found: PYTHON= a Python 3.11, which a site's modules may have" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "$(PYTHON) is no Python 3.11: name one, PYTHON=...")'
	@rm -rf .venv && "$(PYTHON)" -m venv .venv && echo "set-up: torch with CUDA and 300 other packages, some minutes"
	@.venv/bin/pip install --quiet --require-hashes -r envs/pip.txt
	@.venv/bin/pip install --quiet --progress-bar off -r envs/torch.txt
	@DS_BUILD_OPS=0 DS_ACCELERATOR=cpu .venv/bin/pip install --quiet --progress-bar off --no-deps --require-hashes \
	  --build-constraint envs/gpu.lock -r envs/gpu.lock
	@.venv/bin/python -c 'import sys, torch; sys.exit(not torch.version.cuda and f"set-up: torch {torch.__version__} is no CUDA \
	  build. PIP_INDEX_URL, if set, must name an index that serves one.")'
	@touch $@

.PHONY: demo
demo: $(STAMP) ## run the default experiment, from embedded data to the page
	@$(SNAKEMAKE) --configfile config/miniature.yaml $(ARGS)
	@! test -e results/miniature/report.html || echo "The page: results/miniature/report.html"

.PHONY: smollm2
smollm2: $(STAMP) ## run a real small model on the real exams: make smollm2 MIRROR=folder
	@MEDRLVR_MIRROR="$(or $(MIRROR),$(MEDRLVR_MIRROR))" $(SNAKEMAKE) --configfile config/smollm2.yaml $(ARGS)
	@! test -e results/smollm2/report.html || echo "The page: results/smollm2/report.html"

.PHONY: plan
plan: $(STAMP) ## show what would run, why, and what it takes: make plan [CONFIG="config/a.yaml config/b.yaml"] [PROFILE=slurm]
	@$(RUN) workflow/scripts/plan.py $(if $(PROFILE),--profile "$(PROFILE)") $(CONFIG)

.PHONY: ask
ask: $(STAMP) ## put one question to a model: make ask MODEL=folder [QUESTION=id or file.json] [MODE=direct]
	@test -n "$(MODEL)" || { echo "Which model? make ask MODEL=results/miniature/models/rlvr/seed1" >&2; exit 1; }
	@$(RUN) -m medrlvr.evaluation.ask "$(MODEL)" $(if $(QUESTION),--question "$(QUESTION)") $(if $(MODE),--mode "$(MODE)")

.PHONY: status
status: $(STAMP) ## tell how far an experiment is: make status CONFIG="config/miniature.yaml"; without, the paper's
	@$(RUN) -m medrlvr.pipeline.status $(CONFIG)

.PHONY: config
config: $(STAMP) ## write config/config.yaml and config/schema.json from src/medrlvr/config/
	@$(RUN) -m medrlvr.config.files

.PHONY: readme
readme: $(STAMP) ## run the miniature with three seeds and write README's table and figure from it
	@$(SNAKEMAKE) --configfile config/miniature.yaml config/ablations/three_seeds.yaml $(ARGS)
	@$(RUN) -m medrlvr.report.readme results/miniature_three_seeds

.PHONY: compare
compare: $(STAMP) ## put finished experiments on one page: make compare EXPERIMENTS="results/miniature results/other"
	@test -n "$(EXPERIMENTS)" || { echo 'Which? make compare EXPERIMENTS="results/miniature results/other"' >&2; exit 1; }
	@$(RUN) -m medrlvr.report.experiments $(EXPERIMENTS) && echo "The page: results/comparison.html"

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
	@$(SNAKEMAKE) --configfile config/miniature.yaml -- results/miniature/eval/base/scores.parquet
	@test -z "$(MIRROR)" || MEDRLVR_MIRROR="$(MIRROR)" $(SNAKEMAKE) --configfile config/smollm2.yaml -- results/smollm2/eval/base/scores.parquet
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
	@said="$$(PYTHONPATH=src .venv/bin/lint-imports --no-cache)" || { echo "$$said"; exit 1; }

.PHONY: lock
lock: ## resolve envs/*.in anew (needs uv); keeps versions that still fit
	@for kind in cpu gpu peer; do echo "envs/$$kind.lock" && (cd envs && DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(UV) pip compile --quiet \
	  --overrides overrides.in --excludes excludes-$${kind/peer/cpu}.in --generate-hashes --no-emit-package torch --no-header \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_35 --output-file $$kind.lock $$kind.in) || exit 1; done

.PHONY: clean
clean: ## remove results/miniature and caches; keeps .venv and all other results
	rm -rf results/miniature .pytest_cache .ruff_cache .hypothesis
	find src tests workflow envs -name __pycache__ -type d -prune -exec rm -rf {} +
