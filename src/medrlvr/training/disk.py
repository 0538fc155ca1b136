"""The disk that an RLVR run takes at its fullest, told and checked before it begins."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config import Machine, RlvrArm
from medrlvr.errors import UserError
from medrlvr.models import tensor_sizes
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


def disk_needed(base: Path, arm: RlvrArm, machine: Machine, sizes: Sequence[int]) -> Disk:
    """Return what a run takes from its beginning.

    Args:
        base: folder of the base model; the critic has no more parameters than it, but for one row.
        sizes: prompts of every update, as `rollouts.update_sizes` returns them.
    """
    tensors = tensor_sizes(base)
    parameters, width = sum(tensors.values()), 2 if machine.device == "gpu" else 4
    whole = machine.zero_stage < 3
    # Below stage 3 OpenRLHF saves an embedding that is the output layer too under both names; it is the largest tensor.
    twice = max(tensors.values()) if whole and "lm_head.weight" not in tensors else 0
    others = sum(file.stat().st_size for file in base.iterdir() if file.suffix != ".safetensors")
    saves = len(sizes) // arm.save_every
    # In stage 3 the checkpoint holds parameters as the optimiser's copy alone.
    state = parameters * (_OPTIMISER + (width if whole else 0))
    return Disk(
        models=(saves + 1) * ((parameters + twice) * width + others),
        trainer=min(saves, CHECKPOINTS_KEPT) * (2 if arm.has_critic else 1) * state,
        rollouts=sum(sizes) * arm.samples_per_prompt * (_GRADE + _TOKEN * arm.response_max_tokens),
    )


def check_disk(needed: Disk, folder: Path) -> str:
    """Return in words what the run will take and what is free.

    Args:
        folder: of the run's state; what a stopped run left there counts as taken.

    Raises:
        UserError: less is free than will be taken.
    """
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    whole, free = needed.models + needed.trainer + needed.rollouts, shutil.disk_usage(folder).free
    size = f"{_gb(whole)} of disk in {folder}{f', {_gb(there)} of it there' if there >= _SHOWN else ''}"
    if free < whole - there:
        mount = next(place for place in (folder, *folder.parents) if place.is_mount())
        raise UserError(
            f"training takes up to {size}; the file system at {mount} has {_gb(free)} free.\n"
            f"  models saved on the way: {_gb(needed.models)}\n"
            f"  the trainer's checkpoints: {_gb(needed.trainer)}\n"
            f"  responses: {_gb(needed.rollouts)}\n"
            "Raise the arm's save_every to save fewer models, or move results/ to a larger disk and put a link in its"
            " place."
        )
    return f"at most {size}; {_gb(free)} free"


def _gb(size: int) -> str:
    return f"{size / 1e9:,.{0 if size >= 1e10 else 2}f} GB"
