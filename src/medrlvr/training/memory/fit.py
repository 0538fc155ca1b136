"""Does a training arm fit into GPU memory, and if not, which settings would fit?"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.data import BaseModelSource
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.models.shape import Shape, known_shape, read_shape
from medrlvr.runtime.errors import UserError
from medrlvr.training.memory.host import host_bytes
from medrlvr.training.memory.phases import GIB, kv_cache_sequences, peak

UTILISATIONS = tuple(step / 20 for step in range(19, 1, -1))
"""Values of vllm_memory_utilization that are tried."""

NODES = (1, 2, 4, 8, 16)
"""Values of nodes that are tried."""


def fits(shape: Shape, arm: Arm, machine: Machine) -> bool:
    """Whether each phase is within machine.gpu_gib, and an engine can write one text."""
    written = not isinstance(arm, RlvrArm) or kv_cache_sequences(shape, arm, machine) >= 1
    return written and peak(shape, arm, machine).total <= machine.gpu_gib * GIB


def suggest_fix(shape: Shape, arm: Arm, machine: Machine) -> dict[str, Any]:
    """Return the settings to change so that the arm fits, the least intrusive; none when nothing does.

    In this order: the engine's share, micro-batches down to 1, gradient checkpointing, sleep, ZeRO 3, the optimiser on
    the host, more nodes. What turns out not to be needed stays as it was.
    """
    changed: dict[str, Any] = {}
    for change in _changes(arm, machine):
        changed |= change
        found = _with_share(shape, arm, machine, changed)
        if found is not None:
            return _without_need(shape, arm, machine, found)
    return {}


def check(what: str, shape: Shape, arm: Arm, machine: Machine) -> str:
    """Return in one line what training takes of a GPU at its fullest.

    Args:
        what: is trained, for messages.

    Raises:
        UserError: it is more than the GPU has, or the engine has no room for one text; with the figures, and the
            nearest setting that fits.
    """
    fullest = peak(shape, arm, machine)
    if fits(shape, arm, machine):
        parts = ", ".join(f"{part} {size / GIB:.1f}" for part, size in fullest.parts.items())
        line = (
            f"a GPU takes {fullest.total / GIB:.1f} of {machine.gpu_gib:g} GiB at its fullest ({fullest.name}): {parts}"
        )
        texts = (
            f"; an engine holds {kv_cache_sequences(shape, arm, machine)} texts at once"
            if isinstance(arm, RlvrArm)
            else ""
        )
        return f"by arithmetic {line}{texts}; host {host_bytes(shape, arm, machine) / GIB:.0f} GiB a node"
    if fullest.total > machine.gpu_gib * GIB:
        rows = [*fullest.parts.items(), ("together", fullest.total), ("machine.gpu_gib", machine.gpu_gib * GIB)]
        why = f"needs more memory than a GPU has, by arithmetic (docs/memory.md). Fullest: {fullest.name}, in GiB:\n"
        why += "\n".join(f"  {part:<16}{size / GIB:6.1f}" for part, size in rows)
    else:
        share = machine.vllm_memory_utilization * machine.gpu_gib
        why = (
            f"leaves vLLM no room for one text, by arithmetic (docs/memory.md): of its {share:.1f} GiB weights and"
            " workspace take all but what keys and values of one text need."
        )
    change = suggest_fix(shape, arm, machine)
    values = yaml.safe_dump(change, default_flow_style=True, width=10**6, sort_keys=False).strip()
    advice = (
        f"This fits:\nmachine: {values}" if change else "No setting fits: take larger GPUs or a smaller base model."
    )
    raise UserError(f"{what}: training {why}\n{advice}")


def shape_of(source: BaseModelSource, fetched: Path) -> Shape | None:
    """Return the base model's shape; None where it is known only once the model is there, or not at all.

    Args:
        fetched: the folder that the model is put into, there or not.
    """
    given = [Path(source.name)] if source.source in ("path", "embedded") else []
    for folder in (fetched, *given):
        if (folder / "config.json").is_file():
            # A model of another type may train all the same; `check_training` says that it was not checked.
            with suppress(UserError):
                return read_shape(folder)
    return known_shape(source.name) if source.source == "hub" else None


def check_arms(experiment: Experiment, fetched: Path) -> None:
    """Check every arm as far as the base model is known before it is fetched; a CPU is not checked.

    Raises:
        UserError: of the first arm that does not fit.
    """
    shape = shape_of(experiment.base, fetched)
    if experiment.machine.device == "gpu" and shape is not None:
        for name, arm in experiment.arms.items():
            check(f"arms.{name}", shape, arm, experiment.machine)


def check_training(what: str, base: Path, arm: Arm, machine: Machine) -> str:
    """Return a line on what training will take of a GPU, or why that is not known.

    Args:
        what: is trained, for messages.
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
    """Return `changed`, with the engine's share nearest to what it is where it must be another; None: none fits."""
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
