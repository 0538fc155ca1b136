"""Checks before the first job: devices, packages, Slurm partitions and nodes."""

import importlib.metadata
import os
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.data.kind_prompts import KindRenderer, layouts
from medrlvr.data.registry import Source, find, require_datasets
from medrlvr.evaluation.placement import place_evaluation
from medrlvr.models.folder import check_folder
from medrlvr.pipeline.kinds import check_kinds
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.gpu_preflight import count_visible
from medrlvr.training.memory.fit import check_arms, shape_of

UNSAFE = re.compile(r"""[\s'"$`&(){}\[\];<>|*?!#~^\\]""")
"""Characters of a path that a shell or Snakemake interprets; envs/preflight.py has the same."""


def check_path(folder: str) -> None:
    """Check that the repository's path can be used in shell commands: Snakemake does not quote it.

    Raises:
        UserError: it contains a space or another character with a meaning.
    """
    found = UNSAFE.search(folder)
    if found:
        raise UserError(
            f"{folder}: the path contains {found[0]!r}. Snakemake does not quote paths in shell commands, so its jobs"
            " would fail. Move or clone the repository into a folder whose path has only letters, digits and . _ - /"
        )


def check_files(experiment: Experiment, sources: Mapping[str, Source], results: Path) -> None:
    """Check everything that the configuration refers to, before the first job; also in a dry run.

    Args:
        sources: the registry of data sets.
        experiment: the settings.
        results: the experiment's folder, which may not exist yet.

    Raises:
        UserError: a template, a data set, a reward or a model folder is missing or unusable, a setting does not fit
            the kind of the questions, or an arm or the evaluation does not fit into GPU memory.
    """
    prompts, modes = experiment.prompts, {mode: experiment.template(mode) for mode in experiment.modes}
    KindRenderer(layouts(prompts), **{"direct": prompts.direct, "chain_of_thought": prompts.chain_of_thought} | modes)
    require_datasets(sources, experiment.data.none_of_the_above, "data.none_of_the_above")
    find(sources, experiment.data.train, "data.train")
    for name, dataset in experiment.held_out().items():
        find(sources, dataset, f"benchmarks.{name}.data" if name in experiment.benchmarks else "data.development")
    check_kinds(experiment, sources)
    for name, checkpoint in experiment.external_models.items():
        check_folder(Path(checkpoint.path), f"external_models.{name}.path")
    check_arms(experiment, results / "models/base")
    place_evaluation(experiment, shape_of(experiment.base, results / "models/base"))


def check_device(machine: Machine) -> None:
    """Check that this machine has enough GPUs which this process may use.

    Raises:
        UserError: it has too few, or none.
    """
    found, visible = count_visible(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if found < machine.gpus_per_node:
        of_them = "" if visible is None else f" that may be used: CUDA_VISIBLE_DEVICES is {visible!r}"
        raise UserError(
            f"This experiment trains on {machine.gpus_per_node} GPU(s) of one machine, but this machine has"
            f" {found or 'none'}{of_them}."
            "\n  On a CPU, run the miniature:         make demo"
            "\n  On a cluster:                        medrlvr run --profile slurm"
            "\n  For fewer GPUs, set in your overlay: machine: {gpus_per_node: 1, vllm_engines: 1}"
        )


def check_packages(machine: Machine) -> None:
    """Check that the installed packages are those for this device.

    Raises:
        UserError: they are those for the other device.
    """
    try:
        importlib.metadata.version(ENGINE_PACKAGE[machine.device])
    except importlib.metadata.PackageNotFoundError:
        made, other = (
            ("make setup-gpu", "CPU") if machine.device == "gpu" else ("make setup, in a separate clone", "GPU")
        )
        raise UserError(
            f"machine.device is {machine.device}, but the installed packages are those for a {other}. Run {made}."
        ) from None


def check_partitions(wanted: Collection[str]) -> None:
    """Check that Slurm has these partitions; otherwise sbatch would reject the jobs one by one.

    Raises:
        UserError: Slurm is not installed, it does not answer, or a partition does not exist.
    """
    try:
        asked = subprocess.run(
            ["sinfo", "--all", "-h", "-o", "%R"], capture_output=True, text=True, timeout=20, check=True
        )
    except FileNotFoundError:
        raise UserError(
            "--profile slurm submits jobs to Slurm, but this machine has no `sinfo`. Run it on a cluster's login node."
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError("Slurm's controller did not answer within 20 s (`sinfo`). Try again later.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"Slurm's controller does not answer: {error.stderr.strip()}\nTry again when `sinfo` works."
        ) from None
    there = set(asked.stdout.split())
    if missing := sorted(set(wanted) - there):
        raise UserError(
            f"Slurm has no partition {' and no '.join(missing)}; it has {', '.join(sorted(there))}. Set slurm_partition"
            " in slurm/config.yaml to one of them."
        )


def check_nodes(machine: Machine) -> None:
    """Check that training on several nodes runs in a Slurm job.

    Raises:
        UserError: machine.nodes is above 1, and this process is not in a Slurm job.
    """
    if machine.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"machine.nodes is {machine.nodes}: several nodes need Slurm. Use `medrlvr run --profile slurm`."
            "\nFor one machine, set in your overlay: machine: {nodes: 1}"
        )
