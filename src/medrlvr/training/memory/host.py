"""Host memory that a training job needs: offloaded optimiser states and sleeping models."""

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.models.shape import Shape
from medrlvr.training.memory.phases import GIB, GRADIENT, OPTIMISER, WEIGHT, offloads, sleeps

OFFLOADED = 20
"""Bytes of a parameter on the host with the optimiser there: its state, the gradients as they add up and as float32,
and the pinned copy that new weights are sent from."""


PINNED, JOB, JOB_OF_GPU = 1.25, 16 * GIB, 6 * GIB
"""Assumed, of a job on GPUs: what rounding adds to pinned memory; Ray, its store and the data; each GPU's processes."""

CPU_JOB, UNKNOWN_JOB = 24 * GIB, 240 * GIB
"""Of a job on a CPU, where the largest that we run took 16 GB; and, assumed, of one whose base is not known yet."""


def host_bytes(shape: Shape, arm: Arm, machine: Machine) -> float:
    """Return the bytes of a node's own memory for what is off its GPUs: optimisers, and sleeping models.

    Pinned memory is counted as asked for; torch may round each piece of it up to the next power of two.
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
        needed = host_bytes(shape, arm, machine) * PINNED + JOB + machine.gpus_per_node * JOB_OF_GPU
    return round(needed * (1 + attempt) / 2 / 2**20)
