"""What training takes of a GPU's memory, by arithmetic, told and checked before anything is submitted.

The formulas follow the pinned versions: OpenRLHF 0.11.2 (which phases there are, what sleeps when), DeepSpeed 0.19.6
(what each ZeRO stage splits, in which number format) and transformers 5.15 (what a layer keeps for its backward pass).
docs/memory.md explains them. No figure here has been compared with a GPU yet.

    python -m medrlvr.memory     prints the tables of docs/memory.md
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config import Arm, BaseModelSource, Experiment, Machine, RlvrArm
from medrlvr.errors import UserError
from medrlvr.shapes import Shape, known_shape, read_shape

GIB = 2**30

WEIGHT, GRADIENT = 2, 2
"""Bytes of a parameter. DeepSpeed accumulates gradients in the weights' format, bfloat16, as no other is asked for."""

OPTIMISER = 12
"""Bytes of a parameter: the master copy and Adam's two moments, all float32."""

STEP = 6
"""Bytes of a parameter of a GPU's share in the optimiser step: its gradients once more, flat and as float32."""

OFFLOADED = 20
"""Bytes of a parameter on the host with the optimiser there: its state, the gradients as they add up and as float32,
and the pinned copy that new weights are sent from."""

BUCKET = 500_000_000
"""Gradients that DeepSpeed gathers before it sends them; its default, which OpenRLHF leaves."""

LIVE = 1_000_000_000
"""Parameters that ZeRO 3 holds whole at once; its default, which OpenRLHF leaves."""

SCORED, TRAINED, TRAINED_FUSED, KEPT = 6, 16, 8, 4
"""Bytes of a logit at the fullest moment: without gradients; with gradients; the same with flash-attn's loss; and what
OpenRLHF still holds in the optimiser step. Counted from torch's own allocations (tests/test_memory.py), but for the
third, which is read from its source."""

ENTROPY = 4
"""Bytes of a logit for the softmax of the entropy that is logged."""

CONTEXT = 0.75 * GIB
"""Assumed, of each process on a GPU: CUDA's context, NCCL, cuBLAS, CUDA graphs, and gaps in torch's cache."""

ENGINE_WORKSPACE = 2 * GIB
"""Assumed: what vLLM takes of its share for activations, sampling and CUDA graphs."""

PINNED, JOB, JOB_OF_GPU = 1.25, 16 * GIB, 6 * GIB
"""Assumed, of a job on GPUs: what rounding adds to pinned memory; Ray, its store and the data; each GPU's processes."""

CPU_JOB, UNKNOWN_JOB = 24 * GIB, 240 * GIB
"""Of a job on a CPU, where the largest that we run took 16 GB; and, assumed, of one whose base is not known yet."""

UTILISATIONS = tuple(step / 20 for step in range(19, 1, -1))
"""Values of vllm_memory_utilization that are tried."""

NODES = (1, 2, 4, 8, 16)
"""Values of nodes that are tried."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What stands on one GPU at the fullest moment of one phase.

    Attributes:
        name: what is done, such as "actor, backward".
        parts: bytes by what they are for; none is 0.
    """

    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Return all bytes."""
        return sum(self.parts.values())


def phases(shape: Shape, arm: Arm, machine: Machine) -> list[Phase]:
    """Return the phases of an arm's training in their order, each with its bytes on the fullest GPU.

    Every text is taken to be as long as the arm allows.
    """
    if isinstance(arm, RlvrArm):
        return list(_rlvr(shape, arm, machine))
    gpus = machine.gpus_per_node
    tokens = min(machine.sft_micro_batch, arm.batch_size // gpus) * (arm.max_tokens + 2)
    state = _state(shape, machine, gpus)
    logit = TRAINED_FUSED if machine.flash_attention else TRAINED
    whole = state | _working(shape, machine) | {"other": CONTEXT}
    return [
        _phase("backward", whole, _activations(shape, machine, tokens), {"logits": tokens * shape.vocabulary * logit}),
        _phase("optimiser step", whole, _step(shape, machine, gpus), {"logits": tokens * shape.vocabulary * KEPT}),
    ]


def peak(shape: Shape, arm: Arm, machine: Machine) -> Phase:
    """Return the fullest phase."""
    return max(phases(shape, arm, machine), key=lambda phase: phase.total)


def sequences(shape: Shape, arm: RlvrArm, machine: Machine) -> int:
    """Return how many texts of the arm's full length an engine holds at once: the room for keys and values decides."""
    split = machine.gpus_per_node // machine.vllm_engines
    room = machine.vllm_memory_utilization * machine.gpu_gib * GIB
    room -= shape.parameters * WEIGHT / split + ENGINE_WORKSPACE
    heads = -(-shape.kv_heads // split)
    text = (arm.prompt_max_tokens + arm.response_max_tokens) * 2 * shape.layers * heads * shape.head_dim * WEIGHT
    return max(0, int(room // text))


def host(shape: Shape, arm: Arm, machine: Machine) -> float:
    """Return the bytes of a node's own memory for what is off its GPUs: optimisers, and sleeping models.

    Pinned memory is counted as asked for; torch may round each piece of it up to the next power of two.
    """
    rlvr = isinstance(arm, RlvrArm)
    nodes = machine.nodes if rlvr else 1
    copies = machine.gpus_per_node if machine.zero_stage == 0 else 1 / nodes
    models = 2 if isinstance(arm, RlvrArm) and arm.has_critic else 1
    size = 0.0
    if _offloads(machine):
        size += models * shape.parameters * OFFLOADED * copies
    elif rlvr and _sleeps(machine):
        size += models * shape.parameters * (OPTIMISER + (GRADIENT if machine.zero_stage == 3 else 0)) * copies
    if rlvr and machine.vllm_sleep:
        size += machine.vllm_engines * shape.parameters * WEIGHT
    return size


def job_memory(shape: Shape | None, arm: Arm, machine: Machine, attempt: int = 1) -> int:
    """Return the MiB of a node's own memory that a training job asks Slurm for; half as much more at each new attempt.

    Args:
        shape: of the base; None where it is not known before it is fetched.
    """
    needed: float
    if machine.device == "cpu":
        needed = CPU_JOB
    elif shape is None:
        needed = UNKNOWN_JOB
    else:
        needed = host(shape, arm, machine) * PINNED + JOB + machine.gpus_per_node * JOB_OF_GPU
    return round(needed * (1 + attempt) / 2 / 2**20)


def fits(shape: Shape, arm: Arm, machine: Machine) -> bool:
    """Whether each phase is within machine.gpu_gib, and an engine can write one text."""
    written = not isinstance(arm, RlvrArm) or sequences(shape, arm, machine) >= 1
    return written and peak(shape, arm, machine).total <= machine.gpu_gib * GIB


def nearest_that_fits(shape: Shape, arm: Arm, machine: Machine) -> dict[str, Any]:
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
        texts = f"; an engine holds {sequences(shape, arm, machine)} texts at once" if isinstance(arm, RlvrArm) else ""
        return f"by arithmetic {line}{texts}; host {host(shape, arm, machine) / GIB:.0f} GiB a node"
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
    change = nearest_that_fits(shape, arm, machine)
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


def _rlvr(shape: Shape, arm: RlvrArm, machine: Machine) -> Iterator[Phase]:
    gpus = machine.gpus_per_node * machine.nodes
    length, share = arm.prompt_max_tokens + arm.response_max_tokens, arm.train_batch_size // gpus
    scored = min(machine.rollout_micro_batch, share) * length
    trained = min(machine.train_micro_batch, share) * length
    state, working = _state(shape, machine, gpus), _working(shape, machine)
    critic, reference = arm.has_critic, arm.has_reference
    # Beside the model at work stand the others: their weights, and what they do not put to sleep.
    resting = {"weights": state["weights"]} if _sleeps(machine) else state
    if _offloads(machine) and machine.zero_stage == 3:
        resting = resting | {"buckets": BUCKET * GRADIENT}
    others = {"weights": state["weights"]} if reference else {}
    other = {"other": CONTEXT * (2 + critic + reference)}
    engine = machine.vllm_memory_utilization * machine.gpu_gib * GIB
    beside = other if machine.vllm_sleep else other | {"engine": engine}
    models = _sum(resting, resting if critic else {}, others)
    yield _phase("generation", models, other, {"engine": engine})
    logits = {"logits": scored * shape.vocabulary * SCORED}
    forward = {"activations": scored * (8 * shape.hidden + 6 * shape.intermediate)}
    yield _phase("scoring", models, beside, forward, logits, _gathered(shape, machine))
    logit = (TRAINED_FUSED if machine.flash_attention else TRAINED) + ENTROPY
    backward = _activations(shape, machine, trained)
    actor = {"logits": trained * shape.vocabulary * logit}
    stepping = _sum(_step(shape, machine, gpus), {"logits": trained * shape.vocabulary * (KEPT + ENTROPY)})
    if machine.vllm_sleep:
        at_work = _sum(state, working, resting if critic else {}, others)
        if critic:
            yield _phase("critic, backward", at_work, beside, backward)
            yield _phase("critic, optimiser step", at_work, beside, _step(shape, machine, gpus))
        yield _phase("actor, backward", at_work, beside, backward, actor)
        yield _phase("actor, optimiser step", at_work, beside, stepping)
    else:
        twice = [state, working] * (2 if critic else 1)
        at_work = _sum(*twice, others)
        yield _phase("training, backward", at_work, beside, *[backward] * (2 if critic else 1), actor)
        yield _phase(
            "training, optimiser step", at_work, beside, stepping, _step(shape, machine, gpus) if critic else {}
        )
    # One tensor at a time is gathered and copied for the engine, which is awake with its weights alone.
    split = machine.gpus_per_node // machine.vllm_engines
    awake = {"engine": shape.parameters * WEIGHT / split} if machine.vllm_sleep else {}
    yield _phase("weights to the engine", models, beside, awake, {"buckets": 2 * shape.embedding * WEIGHT})


def _state(shape: Shape, machine: Machine, gpus: int) -> dict[str, float]:
    """What a trained model holds on each of `gpus` GPUs, at work or not."""
    stage, size = machine.zero_stage, shape.parameters
    state = {
        "weights": size * WEIGHT / (gpus if stage == 3 else 1),
        "gradients": size * GRADIENT / (gpus if stage >= 2 else 1),
        "optimiser": size * OPTIMISER / (gpus if stage >= 1 else 1),
    }
    return {"weights": state["weights"]} if _offloads(machine) else state


def _working(shape: Shape, machine: Machine) -> dict[str, float]:
    """What a model holds while it is trained, beside state and activations."""
    # The embedding's gradient is whole until the backward pass ends: where it is the output layer, from its begin.
    buckets = (2 if machine.zero_stage == 3 else 1) * BUCKET * GRADIENT + shape.embedding * GRADIENT
    return _gathered(shape, machine) | {"buckets": buckets if machine.zero_stage else 0}


def _gathered(shape: Shape, machine: Machine) -> dict[str, float]:
    return {"gathered": min(shape.parameters, LIVE) * WEIGHT} if machine.zero_stage == 3 else {}


def _step(shape: Shape, machine: Machine, gpus: int) -> dict[str, float]:
    if _offloads(machine):
        return {}
    return {"step": shape.parameters * STEP / (gpus if machine.zero_stage else 1)}


def _activations(shape: Shape, machine: Machine, tokens: int) -> dict[str, float]:
    """Of all layers for the backward pass, and of the layer at work. Counted as the logits are; rounded up."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 6 * queries + 12 * keys
    if machine.gradient_checkpointing:
        kept, working = 2 * shape.hidden, 20 * shape.hidden + 12 * shape.intermediate + attention
    else:
        kept = 18 * shape.hidden + 8 * shape.intermediate + attention
        working = 20 * shape.hidden + 3 * shape.intermediate
    return {"activations": tokens * (shape.layers * kept + working)}


def _offloads(machine: Machine) -> bool:
    # Without ZeRO DeepSpeed has no optimiser on the host.
    return machine.optimiser_offload and machine.zero_stage > 0


def _sleeps(machine: Machine) -> bool:
    """Whether a trained model's optimiser state leaves the GPU while another works."""
    return machine.vllm_sleep and machine.zero_stage > 0 and not _offloads(machine)


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in parts:
        for name, size in one.items():
            total[name] = total.get(name, 0) + size
    return total


def _phase(name: str, *parts: Mapping[str, float]) -> Phase:
    return Phase(name, {part: size for part, size in _sum(*parts).items() if size})


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


PRESETS = Path("config/presets")


def render_tables() -> str:
    """Return the figures of docs/memory.md: the paper's arms on config.yaml's machine and on each preset's."""
    experiment = Experiment()
    shape = shape_of(experiment.base, Path("absent"))
    assert shape is not None
    machines = {"config.yaml": experiment.machine}
    for file in sorted(PRESETS.glob("*.yaml")):
        overlay = yaml.safe_load(file.read_text(encoding="utf-8"))["machine"]
        machines[file.stem] = Machine.model_validate(experiment.machine.model_dump() | overlay)
    lines = [
        "| machine | GPUs | GiB each | SFT, fullest | RLVR, fullest | its phase | texts at once | host, GiB a node |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sft, rlvr = experiment.arms["sft"], experiment.arms["rlvr"]
    assert isinstance(rlvr, RlvrArm)
    for name, machine in machines.items():
        fullest = peak(shape, rlvr, machine)
        lines.append(
            f"| {name} | {machine.nodes * machine.gpus_per_node} | {machine.gpu_gib:g} |"
            f" {peak(shape, sft, machine).total / GIB:.1f} | {fullest.total / GIB:.1f} | {fullest.name} |"
            f" {sequences(shape, rlvr, machine)} | {host(shape, rlvr, machine) / GIB:.0f} |"
        )
    for name, machine in machines.items():
        rows = phases(shape, rlvr, machine)
        parts = list(dict.fromkeys(part for row in rows for part in row.parts))
        lines += ["", f"RLVR, {name}, GiB of a GPU:", "", f"| phase | {' | '.join(parts)} | together |"]
        lines.append("|---" * (len(parts) + 2) + "|")
        for row in rows:
            cells = [f"{row.parts[part] / GIB:.1f}" if part in row.parts else "" for part in parts]
            lines.append(f"| {row.name} | {' | '.join(cells)} | {row.total / GIB:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_tables(), end="")
