# `make` without a target lists the targets. Set variables on the command line: make demo CORES=4
# `make setup` installs the command medrlvr, which runs experiments (docs/cli.md).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# A personal profile of Snakemake may send every job to a cluster.
unexport SNAKEMAKE_PROFILE
MAKEFLAGS += --no-builtin-rules --no-print-directory

CORES ?= $(shell nproc)
KILLS ?= 20
ARGS ?=
MIRROR ?=
MINUTES ?=
PROFILE ?=
WHEELHOUSE ?=
IMAGE ?=
PART_MIB ?=
TORCH_INDEX_URL ?=
UV ?= uv
PYTHON ?= $(shell for p in python3.11 python3 python python2; do "$$p" -c "" 2>/dev/null && { echo "$$p"; break; }; done)

# The name contains a hash of the lock files and of the folder's path. If either changes, the environment is created again.
GPU_STAMP := .venv/gpu-$(shell (pwd -P; cat envs/pip.txt envs/torch.txt envs/gpu.lock envs/torch2.11/lock.txt) | sha256sum | cut -c1-16)
# If an environment for GPUs exists, no target replaces it.
STAMP := $(or $(wildcard $(GPU_STAMP)),.venv/installed-$(shell (pwd -P; cat envs/pip.txt envs/torch.txt envs/cpu.lock) | sha256sum | cut -c1-16))
RUN := PYTHONPATH="$(CURDIR)/src" .venv/bin/python
# This clone's own library takes precedence over an installed one.
MEDRLVR := $(RUN) -m medrlvr.cli.main

##@ Use

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-15s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Run experiments:  .venv/bin/medrlvr --help  (docs/cli.md)"
	@echo "Variables:        CORES=$(CORES); ARGS= options for Snakemake or pytest, such as ARGS=-n; PYTHON= a Python 3.11;"
	@echo "                  TORCH_INDEX_URL= address of torch's CPU build; MIRROR= folder with the data sets;"
	@echo "                  WHEELHOUSE= folder with packages, IMAGE= torch2.11, PART_MIB= size of its parts (docs/slurm.md)."

.PHONY: setup
setup: $(STAMP) ## create or complete .venv from the locked requirement files, with the command medrlvr

ifneq ($(STAMP),$(GPU_STAMP)) # one file must not have two recipes
$(STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found. Debian 12, Ubuntu 22.04: sudo apt install python3.11 python3.11-venv" >&2; exit 1; }
	@"$(PYTHON)" envs/preflight.py
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" "$(PYTHON)" envs/install.py $@
endif

.PHONY: setup-gpu
setup-gpu: $(GPU_STAMP) ## create .venv for GPUs instead; on a cluster, in a folder that all nodes share

$(GPU_STAMP):
	@test -n "$(PYTHON)" || { echo "No Python found. Name a Python 3.11 with PYTHON=...; on a cluster, look for an environment module." >&2; exit 1; }
	@"$(PYTHON)" envs/preflight_gpu.py
	@"$(PYTHON)" envs/install_gpu.py $@ $(if $(WHEELHOUSE),"$(WHEELHOUSE)")

.PHONY: wheelhouse
wheelhouse: ## collect the packages of make setup-gpu WHEELHOUSE=folder, which needs no network: docs/slurm.md
	@test -n "$(PYTHON)" || { echo "No Python found. Name a Python 3.11 with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" envs/wheelhouse.py "$(or $(WHEELHOUSE),wheelhouse)" $(if $(IMAGE),--image "$(IMAGE)") \
	  $(if $(PART_MIB),--part-mib "$(PART_MIB)")

.PHONY: demo
demo: $(STAMP) ## run the miniature experiment on a CPU, from synthetic data to the report: results/miniature/report.html
	@$(MEDRLVR) demo --cores $(CORES) -- $(ARGS)

.PHONY: gpu-check
gpu-check: $(STAMP) ## check a new GPU before anything else: make gpu-check [MINUTES=8] [PROFILE=slurm]
	@GPU_CHECK_MINUTES="$(MINUTES)" $(MEDRLVR) run config/miniature.yaml config/miniature_gpu.yaml config/gpu_check.yaml \
	  $(if $(PROFILE),--profile "$(PROFILE)") -- results/gpu_check/report.json --forcerun gpu_check $(ARGS)
	@cat results/gpu_check/report.md

##@ Develop

.PHONY: reference
reference: $(STAMP) ## run what is missing of the miniature's reference run, for hours, into docs/reference/ and README; ARGS="--runs N"
	@$(RUN) -m medrlvr.reference.main $(ARGS)

.PHONY: hack-bench
hack-bench: $(STAMP) ## run what is missing of the bench for hack detectors, for hours, into docs/hack_bench/; ARGS="--runs N"
	@$(RUN) -m medrlvr.hack_bench.main $(ARGS)

.PHONY: calculations
calculations: $(STAMP) ## run the miniature of calculations with five seeds, for its results in docs/calculations.md
	@$(RUN) benchmarks/calculations.py $(ARGS)

.PHONY: controls
controls: $(STAMP) ## write the results of docs/controls.md from finished runs: make controls RESULTS=results/miniature
	@$(RUN) benchmarks/controls.py $(RESULTS)

.PHONY: benchmark
benchmark: $(STAMP) ## measure the duplicate search, for docs/data.md: make benchmark MIRROR=folder
	@test -n "$(MIRROR)" || { echo "Name the folder with the data sets: make benchmark MIRROR=folder" >&2; exit 1; }
	@$(RUN) benchmarks/data.py "$(MIRROR)"

.PHONY: benchmark-demo
benchmark-demo: $(STAMP) ## measure the time of make demo in a clone of the last commit, for README.md
	@$(RUN) benchmarks/demo.py

.PHONY: benchmark-page
benchmark-page: $(STAMP) ## measure the report at the paper's scale: its size, and the time to build and open it
	@$(RUN) benchmarks/page.py

.PHONY: picture
picture: $(STAMP) ## write the README's picture from a finished report: make picture RESULTS=results/miniature
	@$(RUN) benchmarks/picture.py $(RESULTS)

.PHONY: gpu-curve
gpu-curve: $(STAMP) ## train on a CPU with eight seeds what `make gpu-check` compares a GPU with: assets/gpu_check/curve.tsv
	@$(RUN) benchmarks/gpu_curve.py

.PHONY: rewards
rewards: $(STAMP) ## compute each reward for simple policies and the cost of grading, for the docs
	@$(RUN) benchmarks/rewards.py
	@$(RUN) benchmarks/grading.py

.PHONY: stages
stages: $(STAMP) ## compare the stage labels of responses with a reader's, for docs/stages.md
	@$(RUN) benchmarks/stages.py

.PHONY: text-evidence
text-evidence: $(STAMP) ## measure the rule for evidence in free text, for docs/stages.md
	@$(RUN) benchmarks/text_evidence.py

# One worker runs all tests of a file, so that they share fixtures. More than four training runs would not fit in memory.
PYTEST := $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(STAMP) ## run the checks and tests that every change needs, including one short experiment
	@$(PYTEST) -m "not extended and not faults" $(ARGS)

.PHONY: test-extended
test-extended: $(STAMP)
	@$(PYTEST) -m extended $(ARGS)

.PHONY: test-all
test-all: test test-extended ## run `make test` and all other tests: Slurm on two nodes, every estimator, every failure

.PHONY: test-faults
test-faults: $(STAMP) ## kill and damage training runs in every way that docs/faults.md lists: make test-faults [KILLS=20]
	@$(RUN) -m pytest -m faults $(ARGS)
	@$(RUN) tests/faults.py --kills $(KILLS)

.PHONY: test-coverage
test-coverage: $(STAMP) ## measure which lines of src/medrlvr the tests run, in every process that they start
	@rm -f .coverage .coverage.*
	@COVERAGE_PROCESS_START="$(CURDIR)/pyproject.toml" COVERAGE_FILE="$(CURDIR)/.coverage" $(PYTEST) $(ARGS)
	@.venv/bin/coverage combine --quiet && .venv/bin/coverage report

.PHONY: test-mutation
test-mutation: $(STAMP) ## mutate the grader and the rewards; the tests must detect at least 95 % of the mutants
	@# A mutant whose loop does not end fills the memory before its time limit: each process has at most 3 GiB.
	@ulimit -v 3145728; PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut run > .mutants.log 2>&1 || { tail -20 .mutants.log; exit 1; }
	@PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut results
	@PYTHONPATH="$(CURDIR)/src" .venv/bin/mutmut export-cicd-stats
	@$(RUN) -c 'import json; s = json.load(open("mutants/mutmut-cicd-stats.json")); n = s["killed"] + s["timeout"]; \
	  print("mutants detected:", n, "of", s["total"]); raise SystemExit(n < 0.95 * s["total"])'

.PHONY: test-slurm
test-slurm: $(STAMP) ## install and start a real Slurm with two nodes, and run the whole miniature on it; needs root
	@$(RUN) tests/slurm.py

PEER := .peer/installed-$(shell (pwd -P; cat envs/torch.txt envs/peer.lock) | sha256sum | cut -c1-16)

$(PEER): $(STAMP)
	@rm -rf .peer && "$(PYTHON)" -m venv .peer
	@.peer/bin/pip install --quiet --no-deps $(if $(TORCH_INDEX_URL),--index-url "$(TORCH_INDEX_URL)") -r envs/torch.txt
	@.peer/bin/pip install --quiet --no-deps --require-hashes -r envs/peer.lock && touch $@

.PHONY: test-peer
test-peer: $(PEER) ## compare with lm-evaluation-harness, in a separate environment: make test-peer [MIRROR=folder]
	@$(MEDRLVR) demo --cores $(CORES) -- results/miniature/eval/base/scores.parquet
	@test -z "$(MIRROR)" || MEDRLVR_MIRROR="$(MIRROR)" $(MEDRLVR) run config/smollm2.yaml \
	  tests/peer/partial_train.yaml --cores $(CORES) -- results/smollm2/eval/base/scores.parquet
	@$(RUN) tests/peer/compare.py miniature $(if $(MIRROR),smollm2)

FRAMEWORKS := inspect lm_eval trl verifiers verl

.integrations/%/installed: tests/integrations/%.txt envs/torch.txt
	@test -n "$(PYTHON)" || { echo "No Python found. Name a Python 3.11 with PYTHON=..." >&2; exit 1; }
	@rm -rf $(@D) && "$(PYTHON)" -m venv $(@D)
	@! grep -q '^torch==' $< || $(@D)/bin/pip install --quiet --no-deps \
	  $(if $(TORCH_INDEX_URL),--index-url "$(TORCH_INDEX_URL)") -r envs/torch.txt
	@$(@D)/bin/pip install --quiet --no-deps -r $< && touch $@

.PHONY: test-integrations
test-integrations: $(FRAMEWORKS:%=.integrations/%/installed) ## run the grader inside TRL, verl, verifiers, Inspect, lighteval and lm-evaluation-harness
	@for name in $(FRAMEWORKS); do .integrations/$$name/bin/python -m pytest -c tests/integrations/pytest.ini \
	  tests/integrations/with_$$name.py $(ARGS) || exit 1; done

.audit/installed: envs/audit.txt
	@rm -rf .audit && "$(PYTHON)" -m venv .audit && .audit/bin/pip install --quiet --no-deps -r envs/audit.txt && touch $@

.PHONY: audit
audit: .audit/installed ## compare the locked packages with known advisories; needs a network
	@.audit/bin/python envs/audit.py

.PHONY: check
check: style ## check style, types, imports, workflow and docs; run no other tests
	@$(RUN) -m pytest --quiet tests/test_docs.py

.PHONY: style
style: $(STAMP)
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/mypy
	@.venv/bin/mypy workflow/scripts --disable-error-code name-defined # Snakemake defines the name `snakemake`
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
lock: ## resolve envs/*.in again (needs uv); versions that still fit are kept
	@for kind in cpu gpu peer; do echo "envs/$$kind.lock" && (cd envs && DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(UV) pip compile --quiet \
	  --overrides overrides.in --excludes excludes-$${kind/peer/cpu}.in --generate-hashes --no-emit-package torch --no-header \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_35 --output-file $$kind.lock $$kind.in) || exit 1; done
	@echo "envs/torch2.11/lock.txt" && cd envs/torch2.11 && DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(UV) pip compile --quiet \
	  --excludes image.txt --excludes excludes.in --generate-hashes --no-header \
	  --python-version 3.12 --python-platform x86_64-manylinux_2_35 --output-file lock.txt requirements.in
	@echo "envs/docs.txt" && cd envs && $(UV) pip compile --quiet --generate-hashes --no-header --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_35 --output-file docs.txt docs.in

.PHONY: clean
clean: ## remove caches; keep .venv and all results
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build src/*.egg-info
	find src tests workflow envs -name __pycache__ -type d -prune -exec rm -rf {} +
