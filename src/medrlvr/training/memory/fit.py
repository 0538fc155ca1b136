"""Check whether a training arm fits into GPU memory, and if not, suggest settings that fit."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.data import BaseModelSource
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB
from medrlvr.models.shape import Shape, known_shape, read_shape
from medrlvr.runtime.errors import UserError
from medrlvr.training.memory.host import host_bytes
from medrlvr.training.memory.phases import kv_cache_sequences, peak

UTILISATIONS = tuple(step / 20 for step in range(19, 1, -1))
"""Values of vllm_memory_utilization that `suggest_fix` tries."""

NODES = (1, 2, 4, 8, 16)
"""Values of nodes that `suggest_fix` tries."""


def fits(shape: Shape, arm: Arm, machine: Machine) -> bool:
    """Return whether each phase fits into machine.gpu_gib, and one sequence fits into an engine."""
    written = not isinstance(arm, RlvrArm) or kv_cache_sequences(shape, arm, machine) >= 1
    return written and peak(shape, arm, machine).total <= machine.gpu_gib * GIB


def suggest_fix(shape: Shape, arm: Arm, machine: Machine) -> dict[str, Any]:
    """Return the least intrusive change of settings that makes the arm fit; empty if none does.

    Changes are tried in this order: the engine's share, micro-batches down to 1, gradient checkpointing, sleep, ZeRO 3,
    the optimiser on the host, more nodes. Settings that need no change keep their value.
    """
    changed: dict[str, Any] = {}
    for change in _changes(arm, machine):
        changed |= change
        found = _with_share(shape, arm, machine, changed)
        if found is not None:
            return _without_need(shape, arm, machine, found)
    return {}


def check(what: str, shape: Shape, arm: Arm, machine: Machine) -> str:
    """Return a line on the peak memory of a GPU in training.

    Args:
        what: name of the arm or run, for messages.

    Raises:
        UserError: the peak exceeds the GPU's memory, or not even one sequence fits into the engine; the message gives
            the figures and the nearest settings that fit.
    """
    fullest = peak(shape, arm, machine)
    if fits(shape, arm, machine):
        parts = ", ".join(f"{part} {size / GIB:.1f}" for part, size in fullest.parts.items())
        line = f"{fullest.total / GIB:.1f} of {machine.gpu_gib:g} GiB ({fullest.name}): {parts}"
        sequences = (
            f"; {kv_cache_sequences(shape, arm, machine)} concurrent sequences per engine"
            if isinstance(arm, RlvrArm)
            else ""
        )
        host = host_bytes(shape, arm, machine) / GIB
        return f"estimated peak GPU memory: {line}{sequences}; host memory: {host:.0f} GiB per node"
    if fullest.total > machine.gpu_gib * GIB:
        rows = [*fullest.parts.items(), ("total", fullest.total), ("machine.gpu_gib", machine.gpu_gib * GIB)]
        why = f"needs more memory than a GPU has (estimated, see docs/memory.md). Peak: {fullest.name}, in GiB:\n"
        why += "\n".join(f"  {part:<16}{size / GIB:6.1f}" for part, size in rows)
    else:
        share = machine.vllm_memory_utilization * machine.gpu_gib
        why = (
            "leaves vLLM too little memory for one sequence (estimated, see docs/memory.md): weights and workspace"
            f" leave less of its {share:.1f} GiB than the keys and values of one sequence need."
        )
    change = suggest_fix(shape, arm, machine)
    values = yaml.safe_dump(change, default_flow_style=True, width=10**6, sort_keys=False).strip()
    advice = (
        f"This change fits:\nmachine: {values}"
        if change
        else "No setting fits. Use larger GPUs or a smaller base model."
    )
    raise UserError(f"{what}: training {why}\n{advice}")


def shape_of(source: BaseModelSource, fetched: Path) -> Shape | None:
    """Return the base model's shape; None if it is unknown, or not known before the model is downloaded.

    Args:
        fetched: folder for the downloaded model; it need not exist.
    """
    given = [Path(source.name)] if source.source in ("path", "embedded") else []
    for folder in (fetched, *given):
        if (folder / "config.json").is_file():
            # A model of another type may still train; `check_training` reports that it was not checked.
            with suppress(UserError):
                return read_shape(folder)
    return known_shape(source.name) if source.source == "hub" else None


def check_arms(experiment: Experiment, fetched: Path) -> None:
    """Check every arm if the base model's shape is known before the download; CPU machines are not checked.

    Raises:
        UserError: an arm does not fit; the message is about the first one.
    """
    shape = shape_of(experiment.base, fetched)
    if experiment.machine.device == "gpu" and shape is not None:
        for name, arm in experiment.arms.items():
            check(f"arms.{name}", shape, arm, experiment.machine)


def check_training(what: str, base: Path, arm: Arm, machine: Machine) -> str:
    """Return a line on the peak memory of a GPU in training, or on why it is unknown.

    Args:
        what: name of the run, for messages.
        base: folder of the base model.

    Raises:
        UserError: as `check` does.
    """
    try:
        shape = read_shape(base)
    except UserError as unknown:
        return f"memory is not checked: {unknown}"
    return check(what, shape, arm, machine)


def _changes(arm: Arm, machine: Machine) -> Iterator[dict[str, Any]]:
    yield {}
    rlvr = isinstance(arm, RlvrArm)
    micros = ("rollout_micro_batch", "train_micro_batch") if rlvr else ("sft_micro_batch",)
    yield {micro: 1 for micro in micros if getattr(machine, micro) > 1}
    if not machine.gradient_checkpointing:
        yield {"gradient_checkpointing": True}
    if rlvr and not machine.vllm_sleep:
        yield {"vllm_sleep": True}
    if machine.zero_stage < 3:
        yield {"zero_stage": 3}
    if not machine.optimiser_offload:
        yield {"optimiser_offload": True}
    if isinstance(arm, RlvrArm):
        for nodes in NODES:
            if nodes > machine.nodes and arm.train_batch_size % (nodes * machine.gpus_per_node) == 0:
                yield {"nodes": nodes}


def _with_share(shape: Shape, arm: Arm, machine: Machine, changed: dict[str, Any]) -> dict[str, Any] | None:
    """Return `changed`, with the nearest engine share that fits if the current one does not; None if no share fits."""
    now, key = machine.vllm_memory_utilization, "vllm_memory_utilization"
    shares = sorted(UTILISATIONS, key=lambda share: abs(share - now)) if isinstance(arm, RlvrArm) else []
    for share in ({}, *({key: share} for share in shares)):
        if fits(shape, arm, machine.model_copy(update=changed | share)):
            return changed | share
    return None


def _without_need(shape: Shape, arm: Arm, machine: Machine, changed: dict[str, Any]) -> dict[str, Any]:
    for key in list(changed):
        rest = {name: value for name, value in changed.items() if name != key}
        if fits(shape, arm, machine.model_copy(update=rest)):
            changed = rest
        elif key.endswith("micro_batch"):
            size = getattr(machine, key)
            while size % 2 == 0 and not fits(shape, arm, machine.model_copy(update=changed | {key: size})):
                size //= 2
            if fits(shape, arm, machine.model_copy(update=changed | {key: size})):
                changed = changed | {key: size}
    return changed
