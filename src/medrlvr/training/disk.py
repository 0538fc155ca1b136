"""The disk that an RLVR run takes at its fullest, told and checked before it begins."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.machine import Machine
from medrlvr.models.folder import tensor_sizes
from medrlvr.models.shape import Shape
from medrlvr.runtime.errors import UserError
from medrlvr.training.openrlhf import CHECKPOINTS_KEPT

_OPTIMISER = 12
"""Bytes of a parameter in DeepSpeed's state: the master copy and Adam's two moments, all float32."""

_TOKEN, _GRADE = 5, 1000
"""Bytes of a response in the rollouts: of a token's text, and of all beside the text (measured: 720)."""

_SHOWN = 10**7
"""Bytes below which a size would be told as nothing."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What a run takes at its fullest, in bytes.

    Attributes:
        models: of all models that are saved, the last among them.
        trainer: of the checkpoints of actor and critic, if there is one, that are kept.
        rollouts: of all responses, were each as long as it may be.
    """

    models: int
    trainer: int
    rollouts: int


@dataclass(frozen=True, slots=True)
class Weights:
    """What of a base model decides the disk that its training takes.

    Attributes:
        parameters: how many.
        tied: how many of them are an embedding that is the output layer too; 0 where that has its own.
        others: bytes of the files beside the weights.
    """

    parameters: int
    tied: int
    others: int


def weights_in(base: Path) -> Weights:
    """Return the facts of the model in a folder; the critic has no more parameters than it, but for one row."""
    tensors = tensor_sizes(base)
    others = sum(file.stat().st_size for file in base.iterdir() if file.suffix != ".safetensors")
    # The embedding is the largest tensor.
    tied = 0 if "lm_head.weight" in tensors else max(tensors.values())
    return Weights(sum(tensors.values()), tied, others)


def weights_of(shape: Shape) -> Weights:
    """Return the facts of a model that is not fetched yet; its tokenizer, some MB, is not counted."""
    return Weights(shape.parameters, shape.embedding if shape.tied else 0, 0)


def disk_needed(weights: Weights, arm: RlvrArm, machine: Machine, sizes: Sequence[int]) -> Disk:
    """Return what a run takes from its beginning.

    Args:
        weights: of the base model.
        sizes: prompts of every update, as `rollouts.update_sizes` returns them.
    """
    saves = len(sizes) // arm.save_every
    return Disk(
        models=(saves + 1) * _model(weights, machine),
        trainer=min(saves, CHECKPOINTS_KEPT) * (2 if arm.has_critic else 1) * _state(weights, machine),
        rollouts=sum(sizes) * arm.samples_per_prompt * (_GRADE + _TOKEN * arm.response_max_tokens),
    )


def sft_disk_needed(weights: Weights, arm: SftArm, machine: Machine) -> Disk:
    """Return what SFT with one learning rate takes from its beginning; its state is saved after every epoch."""
    kept = min(arm.epochs, CHECKPOINTS_KEPT)
    return Disk(models=_model(weights, machine), trainer=kept * _state(weights, machine), rollouts=0)


def _width(machine: Machine) -> int:
    return 2 if machine.device == "gpu" else 4


def _model(weights: Weights, machine: Machine) -> int:
    # Below stage 3 OpenRLHF saves an embedding that is the output layer too under both names.
    twice = weights.tied if machine.zero_stage < 3 else 0
    return (weights.parameters + twice) * _width(machine) + weights.others


def _state(weights: Weights, machine: Machine) -> int:
    # In stage 3 the checkpoint holds parameters as the optimiser's copy alone.
    return weights.parameters * (_OPTIMISER + (_width(machine) if machine.zero_stage < 3 else 0))


def check_disk(needed: Disk, folder: Path) -> str:
    """Return in words what the run will take and what is free.

    Args:
        folder: of the run's state; what a stopped run left there counts as taken.

    Raises:
        UserError: less is free than will be taken.
    """
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    whole, free = needed.models + needed.trainer + needed.rollouts, shutil.disk_usage(folder).free
    size = f"{gigabytes(whole)} of disk in {folder}{f', {gigabytes(there)} of it there' if there >= _SHOWN else ''}"
    if free < whole - there:
        mount = next(place for place in (folder, *folder.parents) if place.is_mount())
        raise UserError(
            f"training takes up to {size}; the file system at {mount} has {gigabytes(free)} free.\n"
            f"  models saved on the way: {gigabytes(needed.models)}\n"
            f"  the trainer's checkpoints: {gigabytes(needed.trainer)}\n"
            f"  responses: {gigabytes(needed.rollouts)}\n"
            "Raise the arm's save_every to save fewer models, or move results/ to a larger disk and put a link in its"
            " place."
        )
    return f"at most {size}; {gigabytes(free)} free"


def gigabytes(size: int) -> str:
    """Return bytes in words: 173 GB, 4.20 GB."""
    return f"{size / 1e9:,.{0 if size >= 1e10 else 2}f} GB"
