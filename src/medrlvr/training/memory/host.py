"""Estimate the host memory of a training job: offloaded optimiser states and sleeping models."""

import math

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB, WEIGHT
from medrlvr.models.shape import Shape
from medrlvr.training.memory.phases import GRADIENT, offloads, sleeps

SUB_GROUP = 1_000_000_000
"""Number of parameters whose states ZeRO 3 keeps in one block; its default, which OpenRLHF keeps."""

JOB, JOB_OF_GPU = 16 * GIB, 6 * GIB
"""Assumed for a GPU job: bytes of Ray, its store and the data; bytes of each GPU's processes."""

CPU_JOB, UNKNOWN_JOB = 24 * GIB, 240 * GIB
"""Bytes of a CPU job, the largest of which needed 16 GB; and, assumed, of a job whose base model is not known yet."""


def host_bytes(shape: Shape, arm: Arm, machine: Machine) -> float:
    """Return the bytes of a node's host memory for data that is not on its GPUs: optimisers and sleeping models.

    DeepSpeed 0.19.6 and vLLM pin these blocks, except Adam's moments with `optimiser_offload`.
    """
    rlvr = isinstance(arm, RlvrArm)
    gpus = machine.gpus_per_node * (machine.nodes if rlvr else 1)
    models = 2 if isinstance(arm, RlvrArm) and arm.has_critic else 1
    size = 0.0
    if offloads(machine):
        size += models * machine.gpus_per_node * _offloaded(shape, machine, gpus)
    elif rlvr and sleeps(machine):
        size += models * machine.gpus_per_node * _asleep(shape, machine, gpus)
    if rlvr and machine.vllm_sleep:
        size += machine.gpus_per_node * _pinned_matrices(shape, machine.gpus_per_node // machine.vllm_engines)
    return size


def pinned_bytes(size: float) -> int:
    """Return the bytes of a pinned block: torch rounds them up to a power of two (ATen/core/CachingHostAllocator.h)."""
    return 1 << (math.ceil(size) - 1).bit_length()


def _offloaded(shape: Shape, machine: Machine, gpus: int) -> float:
    """Return the bytes of one GPU's share of a model's optimiser on the host, 20 per parameter before rounding.

    Master copy and gradients in float32, the copy from which new weights are sent, the gradients that are accumulated
    (a block for each matrix), and the moments.
    """
    flat = 2 * _pinned_flat(shape, machine, gpus, 4) + _pinned_flat(shape, machine, gpus, WEIGHT)
    return flat + _pinned_matrices(shape, 1) / gpus + shape.parameters * 8 / gpus


def _asleep(shape: Shape, machine: Machine, gpus: int) -> float:
    """Return the bytes of one GPU's share of a sleeping model: master copy, moments and, in ZeRO 3, gradients."""
    gradients = pinned_bytes(shape.parameters * GRADIENT / gpus) if machine.zero_stage == 3 else 0
    return 3 * _pinned_flat(shape, machine, gpus, 4) + gradients


def _pinned_flat(shape: Shape, machine: Machine, gpus: int, each: int) -> float:
    """Return the bytes of the pinned blocks that hold `each` bytes of every parameter of one GPU's share."""
    share = shape.parameters / gpus
    whole, rest = divmod(share, SUB_GROUP) if machine.zero_stage == 3 else (0, share)
    return whole * pinned_bytes(SUB_GROUP * each) + pinned_bytes(rest * each)


def _pinned_matrices(shape: Shape, split: int) -> float:
    """Return the bytes of a model's weights with one pinned block for each matrix, divided among `split` GPUs."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = [shape.hidden * (queries + 2 * keys), shape.hidden * queries]
    layer += [2 * shape.hidden * shape.intermediate, shape.hidden * shape.intermediate]
    outer = (1 if shape.tied else 2) * pinned_bytes(shape.embedding * WEIGHT / split)
    return outer + shape.layers * sum(pinned_bytes(size * WEIGHT / split) for size in layer)


def job_memory(shape: Shape | None, arm: Arm, machine: Machine, attempt: int = 1) -> int:
    """Return the MiB of host memory per node that a training job requests from Slurm; each new attempt adds half.

    Args:
        shape: shape of the base model; None if it is not known before the download.
    """
    needed: float
    if machine.device == "cpu":
        needed = CPU_JOB
    elif shape is None:
        needed = UNKNOWN_JOB
    else:
        needed = host_bytes(shape, arm, machine) + JOB + machine.gpus_per_node * JOB_OF_GPU
    return round(needed * (1 + attempt) / 2 / 2**20)
