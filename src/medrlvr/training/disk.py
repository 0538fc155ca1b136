"""Peak disk use of a training run, estimated and checked before the run starts."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.machine import Machine
from medrlvr.models.folder import tensor_sizes
from medrlvr.models.shape import Shape
from medrlvr.runtime.errors import UserError
from medrlvr.training.memory.phases import OPTIMISER
from medrlvr.training.openrlhf import CHECKPOINTS_KEPT

_TOKEN, _GRADE = 5, 1000
"""Bytes of a response in the rollouts: per token of its text, and for everything else (measured: 720)."""

_SHOWN = 10**7
"""Bytes below which a size is too small to report."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Peak disk use of a run, in bytes.

    Attributes:
        models: all saved models, including the last.
        trainer: the trainer's checkpoints that are kept, of the actor and, if there is one, the critic.
        rollouts: all responses, if each had the maximum length.
    """

    models: int
    trainer: int
    rollouts: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Properties of a base model that determine the disk use of its training.

    Attributes:
        parameters: number of parameters.
        tied: number of parameters in an embedding that is also the output layer; 0 if the output layer is separate.
        others: bytes of all files except the weights.
    """

    parameters: int
    tied: int
    others: int


def weights_in(base: Path) -> Weights:
    """Return the properties of the model in a folder; the critic has no more parameters, apart from one row."""
    tensors = tensor_sizes(base)
    others = sum(file.stat().st_size for file in base.iterdir() if file.suffix != ".safetensors")
    # The embedding is the largest tensor.
    tied = 0 if "lm_head.weight" in tensors else max(tensors.values())
    return Weights(sum(tensors.values()), tied, others)


def weights_of(shape: Shape) -> Weights:
    """Return the properties of a model that is not downloaded yet; its tokenizer, some MB, is not counted."""
    return Weights(shape.parameters, shape.embedding if shape.tied else 0, 0)


def disk_needed(weights: Weights, arm: RlvrArm, machine: Machine, sizes: Sequence[int]) -> Disk:
    """Return the peak disk use of a whole run.

    Args:
        weights: properties of the base model.
        sizes: number of prompts in each update, as `update_sizes` returns them.
    """
    saves = len(sizes) // arm.save_every
    return Disk(
        models=(saves + 1) * _model(weights, machine),
        trainer=min(saves, CHECKPOINTS_KEPT) * (2 if arm.has_critic else 1) * _state(weights, machine),
        rollouts=sum(sizes) * arm.samples_per_prompt * (_GRADE + _TOKEN * arm.response_max_tokens),
    )


def sft_disk_needed(weights: Weights, arm: SftArm, machine: Machine) -> Disk:
    """Return the peak disk use of SFT with one learning rate; its state is saved after every epoch."""
    kept = min(arm.epochs, CHECKPOINTS_KEPT)
    return Disk(models=_model(weights, machine), trainer=kept * _state(weights, machine), rollouts=0)


def _width(machine: Machine) -> int:
    return 2 if machine.device == "gpu" else 4


def _model(weights: Weights, machine: Machine) -> int:
    # Below ZeRO stage 3, OpenRLHF saves a tied embedding twice, under both names.
    twice = weights.tied if machine.zero_stage < 3 else 0
    return (weights.parameters + twice) * _width(machine) + weights.others


def _state(weights: Weights, machine: Machine) -> int:
    # In stage 3, the checkpoint holds the parameters only as the optimiser's copy. With sleep, DeepSpeed also saves the
    # host buffers of Adam's moments, but these are the moments themselves while the model sleeps, so they add nothing.
    return weights.parameters * (OPTIMISER + (_width(machine) if machine.zero_stage < 3 else 0))


def check_disk(needed: Disk, folder: Path) -> str:
    """Return a line on the disk that the run will use and the disk that is free.

    Args:
        folder: the run's state folder; files that a stopped run left there count as used.

    Raises:
        UserError: less disk is free than the run will use.
    """
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    whole, free = needed.models + needed.trainer + needed.rollouts, shutil.disk_usage(folder).free
    used = f", {gigabytes(there)} of it already used" if there >= _SHOWN else ""
    size = f"{gigabytes(whole)} of disk in {folder}{used}"
    if free < whole - there:
        mount = next(place for place in (folder, *folder.parents) if place.is_mount())
        raise UserError(
            f"training needs up to {size}; the file system at {mount} has {gigabytes(free)} free.\n"
            f"  saved models: {gigabytes(needed.models)}\n"
            f"  trainer checkpoints: {gigabytes(needed.trainer)}\n"
            f"  responses: {gigabytes(needed.rollouts)}\n"
            "Raise the arm's save_every to save fewer models, or move results/ to a larger disk and replace it with a"
            " symbolic link."
        )
    return f"needs at most {size}; {gigabytes(free)} free"


def gigabytes(size: int) -> str:
    """Format a number of bytes: 173 GB, 4.20 GB."""
    return f"{size / 1e9:,.{0 if size >= 1e10 else 2}f} GB"
