"""Checks before the first job: devices, packages, Slurm partitions and nodes."""

import importlib.metadata
import importlib.util
import os
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from medrlvr.config.arms import RlvrArm
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.data.prompts import Renderer
from medrlvr.data.registry import Source, find, require_datasets
from medrlvr.grading.reward_config import load_reward
from medrlvr.models.folder import check_folder
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.errors import UserError
from medrlvr.training.memory.fit import check_arms


def check_files(experiment: Experiment, sources: Mapping[str, Source], results: Path) -> None:
    """Check everything that the configuration refers to, before the first job and in a dry run too.

    Args:
        sources: the registry of data sets.
        results: the experiment's folder, there or not.

    Raises:
        UserError: a template, a data set, a reward or a model folder is missing or unusable, or an arm does not fit
            into GPU memory.
    """
    Renderer(**experiment.prompts.model_dump())
    Renderer(experiment.prompts.question, **{mode: experiment.template(mode) for mode in experiment.modes})
    require_datasets(sources, experiment.data.none_of_the_above, "data.none_of_the_above")
    find(sources, experiment.data.train, "data.train")
    for name, dataset in experiment.held_out().items():
        find(sources, dataset, f"benchmarks.{name}.data" if name in experiment.benchmarks else "data.development")
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm):
            load_reward(arm.reward, f"arms.{name}.reward")
    for name, checkpoint in experiment.external_models.items():
        check_folder(Path(checkpoint.path), f"external_models.{name}.path")
    check_arms(experiment, results / "models/base")


def check_device(machine: Machine) -> None:
    """Require this machine's GPUs.

    Raises:
        UserError: there are too few, or none.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        listed = ""
    found = sum(line.startswith("GPU ") for line in listed.splitlines())
    if found < machine.gpus_per_node:
        raise UserError(
            f"this experiment trains on {machine.gpus_per_node} GPU(s) of one machine; this one has {found or 'none'}."
            "\n  on a CPU, the default experiment:  make demo"
            "\n  on a cluster:                      medrlvr run --profile slurm"
            "\n  on fewer GPUs, in your overlay:    machine: {gpus_per_node: 1, vllm_engines: 1}"
        )


def check_packages(machine: Machine) -> None:
    """Require the environment that was made for this device.

    Raises:
        UserError: it is the other one.
    """
    try:
        importlib.metadata.version(ENGINE_PACKAGE[machine.device])
    except importlib.metadata.PackageNotFoundError:
        made, other = (
            ("make setup-gpu", "CPU") if machine.device == "gpu" else ("make setup, in a clone of its own", "GPU")
        )
        raise UserError(
            f"machine.device is {machine.device}, and the packages installed are those for a {other}: {made}."
        ) from None


def check_partitions(wanted: Collection[str]) -> None:
    """Require a Slurm that has these partitions: sbatch would refuse every job by itself.

    Raises:
        UserError: there is no Slurm, it does not answer, or it lacks one of them.
    """
    try:
        asked = subprocess.run(
            ["sinfo", "--all", "-h", "-o", "%R"], capture_output=True, text=True, timeout=20, check=True
        )
    except FileNotFoundError:
        raise UserError(
            "--profile slurm submits jobs to Slurm, and there is no `sinfo` here: start it on a cluster's login node."
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError("Slurm's controller does not answer (`sinfo` waited for 20 s). Try again later.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"Slurm's controller does not answer: {error.stderr.strip()}") from None
    there = set(asked.stdout.split())
    if missing := sorted(set(wanted) - there):
        raise UserError(
            f"Slurm has no partition {' and no '.join(missing)}; it has {', '.join(sorted(there))}. Name one of them as"
            " slurm_partition in the profile, slurm/config.yaml."
        )


def check_nodes(machine: Machine) -> None:
    """Require a job of Slurm where there are several nodes.

    Raises:
        UserError: this is none.
    """
    if machine.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"machine.nodes is {machine.nodes}: only Slurm provides several nodes: medrlvr run --profile slurm."
            "\nOn one machine:  machine: {nodes: 1}"
        )
