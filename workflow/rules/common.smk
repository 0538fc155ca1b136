"""What the configuration says, in the form in which the rules need it; no rule is here."""

import inspect
import re
from pathlib import Path
from typing import get_args

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from medrlvr import config as configuration, grading, hacking, rewards, self_verification
from medrlvr.config import CHOSEN, training_settings
from medrlvr.dynamics import stages
from medrlvr.data.registry import find, load_registry, require_datasets
from medrlvr.environment import check_device, check_nodes, check_packages, check_partitions, export_source
from medrlvr.errors import UserError
from medrlvr.fingerprint import fingerprint
from medrlvr.memory import check_arms, job_memory, shape_of
from medrlvr.models import check_folder
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
ARMS = EXPERIMENT.arms
MODELS = EXPERIMENT.models()
BENCHMARKS = list(EXPERIMENT.benchmarks)
# The benchmarks and their controls, by name; and each mode's template.
ASKED = EXPERIMENT.asked()
FORMS = {mode: settings.form for mode, settings in EXPERIMENT.modes.items()}
TEMPLATES = {mode: EXPERIMENT.template(mode) for mode in EXPERIMENT.modes}
SFT_ARMS = [name for name in ARMS if ARMS[name].trainer == "sft"]
RLVR_ARMS = [name for name in ARMS if ARMS[name].trainer == "rlvr"]
RUNS = [f"{name}/seed{seed}" for name in ARMS for seed in ARMS[name].seeds]
RLVR_RUNS = [run for run in RUNS if run.split("/")[0] in RLVR_ARMS]
FIRST_SEEDS = [
    f"{name}{suffix}/seed{ARMS[name].seeds[0]}"
    for trainer in ("sft", "rlvr")
    for name in filter(None, [EXPERIMENT.main_arm(trainer)])
    for suffix in ("", CHOSEN)
]
SFT_RUNS = [
    f"{name}/seed{seed}/lr{rate!r}"
    for name in SFT_ARMS
    for seed in ARMS[name].seeds
    for rate in ARMS[name].learning_rates
]

# What is held out from training, and how many questions of each set are drawn (None: all).
HELD_OUT = EXPERIMENT.held_out()
ROWS = {"train": EXPERIMENT.data.train_rows, "development": EXPERIMENT.data.development_rows} | {
    name: benchmark.rows for name, benchmark in EXPERIMENT.benchmarks.items()
}
SETS = [EXPERIMENT.data.train, *HELD_OUT.values()]

# Files that the configuration names are looked at before anything runs.
or_stop(lambda: Renderer(**EXPERIMENT.prompts.model_dump()))
or_stop(lambda: Renderer(EXPERIMENT.prompts.question, **TEMPLATES))
or_stop(require_datasets, SOURCES, EXPERIMENT.data.none_of_the_above, "data.none_of_the_above")
or_stop(find, SOURCES, EXPERIMENT.data.train, "data.train")
for name, dataset in HELD_OUT.items():
    or_stop(find, SOURCES, dataset, f"benchmarks.{name}.data" if name in BENCHMARKS else "data.development")
for name in RLVR_ARMS:
    or_stop(rewards.find, ARMS[name].reward, f"arms.{name}.reward")
for name, checkpoint in EXPERIMENT.checkpoints.items():
    or_stop(check_folder, Path(checkpoint.path), f"checkpoints.{name}.path")

# Before a queue is waited in; in a dry run too.
or_stop(check_arms, EXPERIMENT, Path(RESULTS, "models/base"))

# Changes when the grader decides otherwise, and not when a comment in it does.
GRADER = fingerprint(inspect.getsource(grading))
# The same of what a response shows beside its answer.
STAGES = fingerprint(*map(inspect.getsource, (hacking, stages, self_verification)))

# What a job takes that fills a machine: this one's cores, or of a cluster's as many as its processes have threads.
OWN_CORES = None if workflow.remote_exec else workflow.resource_settings.cores
CORES = OWN_CORES or EXPERIMENT.machine.threads
TRAINING_CORES = OWN_CORES or EXPERIMENT.machine.threads * EXPERIMENT.machine.gpus_per_node
# On a CPU an engine has its own number of threads, so that several can work next to each other. A GPU serves one.
ASKING_CORES = CORES if EXPERIMENT.machine.device == "gpu" else EXPERIMENT.machine.threads
BASE_SHAPE = shape_of(BASE, Path(RESULTS, "models/base"))


def training_memory(wildcards, attempt):
    return job_memory(BASE_SHAPE, ARMS[wildcards.arm], EXPERIMENT.machine, attempt)


def gres(gpus):
    """What Slurm is asked for on each node. In this form one node and several are asked for alike (docs/slurm.md)."""
    kind = f":{EXPERIMENT.machine.gpu_type}" if EXPERIMENT.machine.gpu_type else ""
    return f"gpu{kind}:{gpus}" if ON_GPU else ""


ON_GPU = EXPERIMENT.machine.device == "gpu"
# How many a job holds that trains, on all of its nodes.
TRAINING_GPUS = {
    name: ON_GPU * EXPERIMENT.machine.gpus_per_node * (EXPERIMENT.machine.nodes if name in RLVR_ARMS else 1)
    for name in ARMS
}

# Small files, none of them below models/ or checkpoints/, that together every step had to run for.
RECORDS = [
    f"{RESULTS}/{record}"
    for record in [
        *(f"data/raw/{SOURCES[name].raw_file}" for name in SETS),
        *(f"data/questions/{name}.parquet" for name in SETS),
        "data/duplicates.parquet",
        "data/runs.parquet",
        "data/contamination.parquet",
        "data/data_card.json",
        "prompts/rlvr.jsonl",
        "prompts/benchmarks.parquet",
        "base.json",
        *(f"dynamics/{run}.parquet" for run in [*SFT_RUNS, *RLVR_RUNS]),
        *(f"dynamics/{run}/{table}" for run in RLVR_RUNS for table in ("responses.parquet", "stages.json")),
        *(f"rollouts/{run}/{table}.parquet" for run in RLVR_RUNS for table in ("rollouts", "trainer")),
        *(f"curve/{run}/{table}.parquet" for run in RLVR_RUNS for table in ("answers", "accuracy")),
        *(f"curve/{run}/dropped.json" for run in RLVR_RUNS if not EXPERIMENT.evaluation.keep_checkpoints),
        *(f"development/{run}/selection.json" for run in RUNS),
        *(
            f"eval/{model}/{table}"
            for model in MODELS
            for table in ("answers.parquet", "scores.parquet", "metrics.json")
        ),
        "compare/comparisons.json",
        "compare/verdict.json",
        *(f"figures/{name}.csv" for name in ("accuracy", "dynamics", "training", "hacking")),
    ]
]


def again(path):
    """The command that makes a file again, once there is a page and so a config.yaml beside it."""
    return f".venv/bin/snakemake --cores 1 --configfile {RESULTS}/config.yaml --forcerun {path} -- {path}"


def made_by(path):
    """What makes a file and where it says so, as Snakemake itself finds it."""
    maker = next(one for one in workflow.rules if one.is_producer(path))
    log_file = maker.log[0].apply_wildcards(maker.get_wildcards(path))
    return {"file": path, "rule": maker.name, "log": str(log_file)}


def require_device():
    """Stop before the first job where jobs need what this machine does not have, or the cluster that it submits to."""
    jobs = list(workflow.dag.needrun_jobs())
    if not workflow.local_exec:
        # Several may be named in a row; without one, Slurm takes its default.
        partitions = [job.resources.get("slurm_partition") or "" for job in jobs]
        or_stop(check_partitions, {name for names in partitions for name in names.split(",") if name})
    elif any(job.resources.get("nodes", 1) > 1 for job in jobs):
        or_stop(check_nodes, EXPERIMENT.machine)
    elif any(job.resources.get("gres") for job in jobs):
        or_stop(check_device, EXPERIMENT.machine)
    if {job.rule.name for job in jobs} & {
        "train_sft",
        "train_rlvr",
        "generate_answers",
        "generate_selected",
        "generate_curve",
    }:
        or_stop(check_packages, EXPERIMENT.machine)


def question_tables(names):
    return [f"{RESULTS}/data/questions/{name}.parquet" for name in names]


def raw_file(wildcards):
    return f"{RESULTS}/data/raw/{SOURCES[f'{wildcards.dataset}/{wildcards.split}'].raw_file}"


def settings_of(modes):
    return {name: EXPERIMENT.modes[name].model_dump(mode="json") for name in modes}


def model_folder(wildcards):
    """Of a trained model, the base, or one of the user's checkpoints."""
    given = EXPERIMENT.checkpoints.get(wildcards.model)
    return [given.path if given else f"{RESULTS}/models/{wildcards.model}"]


def candidates(wildcards):
    """The models of one run to choose among: a folder for each learning rate, or the one that holds all checkpoints."""
    run = f"{wildcards.arm}/seed{wildcards.seed}"
    folders = [name for name in SFT_RUNS if name.startswith(f"{run}/")]
    return [f"{RESULTS}/checkpoints/{name}" for name in folders or [run]]


def answers_of_candidates(wildcards):
    """Asked only where there is a choice."""
    arm = ARMS[wildcards.arm]
    chosen = arm.trainer == "rlvr" or len(arm.learning_rates) > 1
    return f"{RESULTS}/development/{wildcards.arm}/seed{wildcards.seed}/answers.parquet" if chosen else []


def training(wildcards):
    return training_settings(ARMS[wildcards.arm])


def card_facts(wildcards):
    """What the card of a trained model says that its own folder does not."""
    source = SOURCES[EXPERIMENT.data.train]
    return {
        "base_licence": BASE.licence,
        "data": source.name,
        "data_licence": source.licence,
        "citation": source.citation,
    }
