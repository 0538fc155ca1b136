"""Estimated GPU memory of each training phase.

The formulas follow the pinned versions: OpenRLHF 0.11.2 (its phases and what sleeps in each), DeepSpeed 0.19.6 (what
each ZeRO stage partitions, in which number format) and transformers 5.15 (what a layer keeps for its backward pass).
docs/memory.md explains them. No figure here has been compared with a measurement on a GPU yet.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB, WEIGHT, cached_sequences
from medrlvr.models.shape import Shape

GRADIENT = 2
"""Bytes per parameter. DeepSpeed accumulates gradients in the weights' format, bfloat16, as no other is requested."""

OPTIMISER = 12
"""Bytes per parameter: the master copy and Adam's two moments, all float32."""

STEP = 6
"""Bytes per parameter of a GPU's share in the optimiser step: a second copy of its gradients, flat and in float32."""


BUCKET = 500_000_000
"""Number of gradients that DeepSpeed gathers before it sends them; its default, which OpenRLHF keeps."""

LIVE = 1_000_000_000
"""Number of parameters that ZeRO 3 keeps gathered at once; its default, which OpenRLHF keeps."""

SCORED, TRAINED, TRAINED_FUSED, KEPT = 6, 16, 8, 4
"""Bytes per logit at peak: without gradients; with gradients; with gradients and flash-attn's loss; and what OpenRLHF
still holds in the optimiser step. Counted from torch's own allocations (tests/test_memory.py), except for the third,
which is read from flash-attn's source."""

ENTROPY = 4
"""Bytes per logit for the softmax of the logged entropy."""

CONTEXT = 0.75 * GIB
"""Assumed bytes of each process on a GPU: CUDA's context, NCCL, cuBLAS, CUDA graphs, and gaps in torch's cache."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Peak memory of one GPU in one phase.

    Attributes:
        name: name of the phase, such as "actor, backward".
        parts: bytes by purpose; none is 0.
    """

    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Return the sum of all parts in bytes."""
        return sum(self.parts.values())


def phases(shape: Shape, arm: Arm, machine: Machine) -> list[Phase]:
    """Return the phases of an arm's training in order, each with its bytes on the GPU that needs the most.

    Every sequence is assumed to have the maximum length that the arm allows.
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
    """Return the phase with the highest memory use."""
    return max(phases(shape, arm, machine), key=lambda phase: phase.total)


def kv_cache_sequences(shape: Shape, arm: RlvrArm, machine: Machine) -> int:
    """Return how many sequences of the arm's maximum length fit into an engine's KV cache at once."""
    split, tokens = machine.gpus_per_node // machine.vllm_engines, arm.prompt_max_tokens + arm.response_max_tokens
    return cached_sequences(shape, machine.vllm_memory_utilization * machine.gpu_gib * GIB, split, tokens)


def _rlvr(shape: Shape, arm: RlvrArm, machine: Machine) -> Iterator[Phase]:
    gpus = machine.gpus_per_node * machine.nodes
    length, share = arm.prompt_max_tokens + arm.response_max_tokens, arm.train_batch_size // gpus
    scored = min(machine.rollout_micro_batch, share) * length
    trained = min(machine.train_micro_batch, share) * length
    state, working = _state(shape, machine, gpus), _working(shape, machine)
    critic, reference = arm.has_critic, arm.has_reference
    # In addition to the active model, the GPU holds the others: their weights, and states that do not sleep.
    resting = {"weights": state["weights"]} if sleeps(machine) else state
    if offloads(machine) and machine.zero_stage == 3:
        resting = resting | {"buckets": BUCKET * GRADIENT}
    others = {"weights": state["weights"]} if reference else {}
    other = {"other": CONTEXT * (2 + critic + reference)}
    engine = machine.vllm_memory_utilization * machine.gpu_gib * GIB
    resident = other if machine.vllm_sleep else other | {"engine": engine}
    models = _sum(resting, resting if critic else {}, others)
    yield _phase("generation", models, other, {"engine": engine})
    logits = {"logits": scored * shape.vocabulary * SCORED}
    forward = {"activations": scored * (8 * shape.hidden + 6 * shape.intermediate)}
    yield _phase("scoring", models, resident, forward, logits, _gathered(shape, machine))
    logit = (TRAINED_FUSED if machine.flash_attention else TRAINED) + ENTROPY
    backward = _activations(shape, machine, trained)
    actor = {"logits": trained * shape.vocabulary * logit}
    stepping = _sum(_step(shape, machine, gpus), {"logits": trained * shape.vocabulary * (KEPT + ENTROPY)})
    if machine.vllm_sleep:
        at_work = _sum(state, working, resting if critic else {}, others)
        if critic:
            yield _phase("critic, backward", at_work, resident, backward)
            yield _phase("critic, optimiser step", at_work, resident, _step(shape, machine, gpus))
        yield _phase("actor, backward", at_work, resident, backward, actor)
        yield _phase("actor, optimiser step", at_work, resident, stepping)
    else:
        twice = [state, working] * (2 if critic else 1)
        at_work = _sum(*twice, others)
        yield _phase("training, backward", at_work, resident, *[backward] * (2 if critic else 1), actor)
        yield _phase(
            "training, optimiser step", at_work, resident, stepping, _step(shape, machine, gpus) if critic else {}
        )
    # One tensor at a time is gathered and copied for the engine, which is awake with only its weights.
    split = machine.gpus_per_node // machine.vllm_engines
    awake = {"engine": shape.parameters * WEIGHT / split} if machine.vllm_sleep else {}
    yield _phase("weights to the engine", models, resident, awake, {"buckets": 2 * shape.embedding * WEIGHT})


def _state(shape: Shape, machine: Machine, gpus: int) -> dict[str, float]:
    """Return the bytes that a trained model holds on each of `gpus` GPUs, whether it is active or not."""
    stage, size = machine.zero_stage, shape.parameters
    state = {
        "weights": size * WEIGHT / (gpus if stage == 3 else 1),
        "gradients": size * GRADIENT / (gpus if stage >= 2 else 1),
        "optimiser": size * OPTIMISER / (gpus if stage >= 1 else 1),
    }
    return {"weights": state["weights"]} if offloads(machine) else state


def _working(shape: Shape, machine: Machine) -> dict[str, float]:
    """Return the bytes that a model holds while it is trained, in addition to its state and activations."""
    # The embedding's whole gradient exists until the backward pass ends; if the embedding is tied, from its start.
    buckets = (2 if machine.zero_stage == 3 else 1) * BUCKET * GRADIENT + shape.embedding * GRADIENT
    return _gathered(shape, machine) | {"buckets": buckets if machine.zero_stage else 0}


def _gathered(shape: Shape, machine: Machine) -> dict[str, float]:
    return {"gathered": min(shape.parameters, LIVE) * WEIGHT} if machine.zero_stage == 3 else {}


def _step(shape: Shape, machine: Machine, gpus: int) -> dict[str, float]:
    if offloads(machine):
        return {}
    return {"step": shape.parameters * STEP / (gpus if machine.zero_stage else 1)}


def _activations(shape: Shape, machine: Machine, tokens: int) -> dict[str, float]:
    """Return the bytes that all layers keep for the backward pass, and those of the active layer.

    They are counted like the logits, and rounded up.
    """
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 6 * queries + 12 * keys
    if machine.gradient_checkpointing:
        kept, working = 2 * shape.hidden, 20 * shape.hidden + 12 * shape.intermediate + attention
    else:
        kept = 18 * shape.hidden + 8 * shape.intermediate + attention
        working = 20 * shape.hidden + 3 * shape.intermediate
    return {"activations": tokens * (shape.layers * kept + working)}


def offloads(machine: Machine) -> bool:
    """Return whether the optimiser is in the host's memory: without ZeRO, DeepSpeed cannot offload it."""
    return machine.optimiser_offload and machine.zero_stage > 0


def sleeps(machine: Machine) -> bool:
    """Return whether a trained model's optimiser state leaves the GPU while another model is active."""
    return machine.vllm_sleep and machine.zero_stage > 0 and not offloads(machine)


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in parts:
        for name, size in one.items():
            total[name] = total.get(name, 0) + size
    return total


def _phase(name: str, *parts: Mapping[str, float]) -> Phase:
    return Phase(name, {part: size for part, size in _sum(*parts).items() if size})
