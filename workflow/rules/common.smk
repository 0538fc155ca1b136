"""What the configuration says, in the form in which the rules need it; no rule is here."""

import inspect
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from medrlvr import config as configuration, grading, rewards
from medrlvr.config import CHOSEN, training_settings
from medrlvr.data.registry import find, load_registry
from medrlvr.environment import check_device, export_source
from medrlvr.errors import UserError
from medrlvr.fingerprint import fingerprint
from medrlvr.prompts import Renderer

export_source()

# Snakemake announces every round of its scheduler; a person waits for stages.
logger.addFilter(lambda record: not re.match(r"Select jobs to execute|Execute \d+ jobs", str(record.msg)))

REGISTRY = "config/datasets.tsv"


def or_stop(function, *arguments):
    """Call the library; what a person can put right ends Snakemake with the message alone."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(str(error)) from None


# Overlays stand before config.yaml in Snakemake's list, though they are merged over it.
FILES = sorted(workflow.configfiles, key=lambda file: Path(file).resolve() != Path("config/config.yaml").resolve())
EXPERIMENT = or_stop(configuration.load, config, FILES, workflow.config_settings.config)
SOURCES = or_stop(load_registry, REGISTRY)

RESULTS = f"results/{EXPERIMENT.experiment}"
BASE = EXPERIMENT.base
MODELS = EXPERIMENT.models()
BENCHMARKS = list(EXPERIMENT.benchmarks)
SFT_ARMS = [name for name, arm in EXPERIMENT.arms.items() if arm.trainer == "sft"]
RLVR_ARMS = [name for name, arm in EXPERIMENT.arms.items() if arm.trainer == "rlvr"]
RLVR_RUNS = [model for model in MODELS if model.split("/")[0] in RLVR_ARMS]

or_stop(lambda: Renderer(**EXPERIMENT.prompts.model_dump()))
for arm in RLVR_ARMS:
    or_stop(rewards.find, EXPERIMENT.arms[arm].reward, f"arms.{arm}.reward")

# Changes when the grader decides otherwise, and not when a comment in it does.
GRADER = fingerprint(inspect.getsource(grading))

# What a job takes that fills a machine, and how many of its GPUs it holds.
CORES = workflow.cores or EXPERIMENT.machine.threads
ON_GPU = EXPERIMENT.machine.device == "gpu"
TRAINING_GPUS = EXPERIMENT.machine.gpus_per_node if ON_GPU else 0
ASKING_GPUS = 1 if ON_GPU else 0

# What is held out from training, and how many questions of each set are drawn (None: all).
HELD_OUT = {"development": EXPERIMENT.data.development} | {
    name: benchmark.data for name, benchmark in EXPERIMENT.benchmarks.items()
}
ROWS = {"train": EXPERIMENT.data.train_rows, "development": EXPERIMENT.data.development_rows} | {
    name: benchmark.rows for name, benchmark in EXPERIMENT.benchmarks.items()
}
SETS = list(dict.fromkeys([EXPERIMENT.data.train, *HELD_OUT.values()]))
for name in SETS:
    or_stop(find, SOURCES, name)


RUNS = [f"{name}/seed{seed}" for name, arm in EXPERIMENT.arms.items() for seed in arm.seeds]
RECORDS = [
    f"{RESULTS}/{record}"
    for record in [
        *(f"data/raw/{SOURCES[name].raw_file}" for name in SETS),
        *(f"data/questions/{name}.parquet" for name in SETS),
        "data/duplicates.parquet",
        "data/counts.json",
        "prompts/rlvr.jsonl",
        "models/base.json",
        *(f"development/{run}/selection.json" for run in RUNS),
        *(f"rollouts/{run}/rollouts.parquet" for run in RLVR_RUNS),
        *(f"dynamics/{run}.parquet" for run in RLVR_RUNS),
        *(f"eval/{model}/{table}.parquet" for model in MODELS for table in ("answers", "scores")),
        "compare/comparisons.json",
        "figures/accuracy.csv",
    ]
]
for name in SFT_ARMS:
    arm = EXPERIMENT.arms[name]
    for seed in arm.seeds:
        folder = f"{RESULTS}/checkpoints/{name}/seed{seed}"
        RECORDS += [f"{folder}/lr{rate:g}.parquet" for rate in arm.learning_rates]


def require_device():
    """Stop before the first job where jobs need GPUs that this machine does not have; one that only submits needs none."""
    if workflow.local_exec and any(job.resources.get("gpu") for job in workflow.dag.needrun_jobs()):
        or_stop(check_device, EXPERIMENT.machine)


def question_tables(names):
    return [f"{RESULTS}/data/questions/{name}.parquet" for name in names]


def raw_file(wildcards):
    return f"{RESULTS}/data/raw/{SOURCES[f'{wildcards.dataset}/{wildcards.split}'].raw_file}"


def candidates(wildcards):
    """The models of one run to choose among: a folder for each learning rate, or the one that holds all checkpoints."""
    folder, arm = f"{RESULTS}/checkpoints/{wildcards.arm}/seed{wildcards.seed}", EXPERIMENT.arms[wildcards.arm]
    if arm.trainer == "rlvr":
        return [folder]
    return [f"{folder}/lr{rate:g}" for rate in arm.learning_rates]


def answers_of_candidates(wildcards):
    """Asked only where there is a choice."""
    answers = f"{RESULTS}/development/{wildcards.arm}/seed{wildcards.seed}/answers.parquet"
    arm = EXPERIMENT.arms[wildcards.arm]
    return answers if arm.trainer == "rlvr" or len(arm.learning_rates) > 1 else []


def training(wildcards):
    return training_settings(EXPERIMENT.arms[wildcards.arm])


def card_facts(wildcards):
    """What the card of a trained model says of its base, its data and its settings."""
    source = SOURCES[EXPERIMENT.data.train]
    return {
        "base": BASE.name,
        "base_licence": BASE.licence,
        "data": source.name,
        "data_licence": source.licence,
        "citation": source.citation,
        "arm": wildcards.arm,
        "settings": training(wildcards),
    }
