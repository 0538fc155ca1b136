"""Estimate the host memory of a training job: offloaded optimiser states and sleeping models."""

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.models.shape import Shape
from medrlvr.training.memory.phases import GIB, GRADIENT, OPTIMISER, WEIGHT, offloads, sleeps

OFFLOADED = 20
"""Bytes per parameter on the host if the optimiser is offloaded: its state, the accumulated gradients, the gradients in
float32, and the pinned copy from which new weights are sent."""


PINNED, JOB, JOB_OF_GPU = 1.25, 16 * GIB, 6 * GIB
"""Assumed for a GPU job: factor for the rounding of pinned memory; bytes of Ray, its store and the data; bytes of each
GPU's processes."""

CPU_JOB, UNKNOWN_JOB = 24 * GIB, 240 * GIB
"""Bytes of a CPU job, the largest of which needed 16 GB; and, assumed, of a job whose base model is not known yet."""


def host_bytes(shape: Shape, arm: Arm, machine: Machine) -> float:
    """Return the bytes of a node's host memory for data that is not on its GPUs: optimisers and sleeping models.

    Pinned memory is counted as requested; torch may round each allocation up to the next power of two.
    """
    rlvr = isinstance(arm, RlvrArm)
    nodes = machine.nodes if rlvr else 1
    copies = machine.gpus_per_node if machine.zero_stage == 0 else 1 / nodes
    models = 2 if isinstance(arm, RlvrArm) and arm.has_critic else 1
    size = 0.0
    if offloads(machine):
        size += models * shape.parameters * OFFLOADED * copies
    elif rlvr and sleeps(machine):
        size += models * shape.parameters * (OPTIMISER + (GRADIENT if machine.zero_stage == 3 else 0)) * copies
    if rlvr and machine.vllm_sleep:
        size += machine.vllm_engines * shape.parameters * WEIGHT
    return size


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
        needed = host_bytes(shape, arm, machine) * PINNED + JOB + machine.gpus_per_node * JOB_OF_GPU
    return round(needed * (1 + attempt) / 2 / 2**20)
