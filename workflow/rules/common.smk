"""The configuration in the form that the rules need. This file defines no rule."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from medrlvr.config.arms import training_settings
from medrlvr.config.data import Control
from medrlvr.config.design import comparison_design
from medrlvr.config.experiment import DEV_SUFFIX
from medrlvr.config.layout import Layout
from medrlvr.config.load import load_config
from medrlvr.config.results_version import check_version, record_version
from medrlvr.data.calculations.world import QUESTION_SETS as CALCULATION_SETS
from medrlvr.data.evidence_checks import evidence_check_version
from medrlvr.data.kind_prompts import layouts
from medrlvr.data.miniature.loopholes import LOOPHOLES, SPLITS
from medrlvr.data.miniature.world import QUESTION_SETS
from medrlvr.data.registry import load_registry
from medrlvr.dynamics.version import definitions_version, tables_version
from medrlvr.evaluation.version import comparison_version, metrics_version
from medrlvr.grading.version import grader_version, terms_version
from medrlvr.pipeline.plan.jobs import GENERATION_RULES
from medrlvr.pipeline.preflight import (
    check_device,
    check_files,
    check_path,
    check_nodes,
    check_packages,
    check_partitions,
)
from medrlvr.pipeline.resources import RuleResources
from medrlvr.report.scores import print_scores
from medrlvr.runtime.environment import export_source
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.running import delete_stale_locks, hold_results, in_use
from medrlvr.training.memory.fit import shape_of

RUNNING = []  # the hold on the results folder, kept until Snakemake ends

export_source()


def filter_record(record):
    """Print the scores if nothing is to be done, and drop the line for every round of Snakemake's scheduler."""
    if record.msg == NOTHING_TO_BE_DONE_MSG and not workflow.dryrun:
        show_scores()  # Snakemake does not call onsuccess in this case.
    if "Directory cannot be locked" in str(record.msg):
        record.msg = in_use(LAYOUT.results)  # Snakemake does not know which process holds its lock.
    return not re.match(r"Select jobs to execute|Execute \d+ jobs", str(record.msg))


logger.addFilter(filter_record)


def or_stop(function, *arguments):
    """Call a library function. A UserError ends Snakemake with only its message, without a traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(str(error)) from None


# Snakemake lists overlays before config.yaml, although it merges them over it.
FILES = sorted(workflow.configfiles, key=lambda file: Path(file).resolve() != Path("config/config.yaml").resolve())
EXPERIMENT = or_stop(load_config, config, FILES, workflow.config_settings.config)
REGISTRY = "config/datasets.tsv"
SOURCES = or_stop(load_registry, REGISTRY)
LAYOUT = Layout(EXPERIMENT)
RESULTS = str(LAYOUT.results)
or_stop(check_path, workflow.basedir)
or_stop(check_version, LAYOUT.results)
if workflow.is_main_process:
    delete_stale_locks(LAYOUT.results)
or_stop(check_files, EXPERIMENT, SOURCES, LAYOUT.results)

BASE = EXPERIMENT.base
ARMS = EXPERIMENT.arms
MODELS = EXPERIMENT.models()
BENCHMARKS = list(EXPERIMENT.benchmarks)
EVAL_SETS = EXPERIMENT.eval_sets()
HELD_OUT = EXPERIMENT.held_out()
SETS = LAYOUT.question_sets
RLVR_RUNS = LAYOUT.rlvr_runs
DESIGN = asdict(comparison_design(EXPERIMENT))
ANSWER_FORMATS = {mode: settings.grader_format for mode, settings in EXPERIMENT.modes.items()}
# Kind -> layout file, for the kinds of questions in this experiment.
KINDS = {kind for name in SETS for kind in SOURCES[name].kinds}
LAYOUTS = {kind: file for kind, file in layouts(EXPERIMENT.prompts).items() if kind in KINDS | {"letter"}}
TEMPLATES = {mode: EXPERIMENT.template(mode) for mode in EXPERIMENT.modes}
# An empty constraint would let a rule match any arm; this pattern matches none.
SFT_ARM = "|".join(LAYOUT.sft_arms) or "(?!)"
RLVR_ARM = "|".join(LAYOUT.rlvr_arms)

# Fingerprints of code. If one changes, the results of that code are outdated.
GRADER = grader_version(KINDS)
STAGES = definitions_version()
TABLES = tables_version()
# None: the reasoning cannot be checked.
EVIDENCE = evidence_check_version(EXPERIMENT.evaluation.evidence)
COMPARISON = comparison_version()
METRICS = metrics_version()

LOCAL_CORES = None if workflow.remote_exec else workflow.resource_settings.cores
MACHINE = RuleResources(EXPERIMENT.machine, LOCAL_CORES, shape_of(BASE, LAYOUT.results / "models/base"))
RECORDS = LAYOUT.records({name: SOURCES[name].raw_file for name in SETS})


def log_of(step):
    return f"{RESULTS}/logs/{step}.log"


def benchmark_of(step):
    return f"{RESULTS}/benchmarks/{step}.tsv"
