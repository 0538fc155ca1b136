"""Distribute an evaluation over the GPUs of a node: engines side by side, each on one GPU or on several."""

from dataclasses import dataclass

from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import ENGINE_WORKSPACE, GIB, WEIGHT, cached_sequences
from medrlvr.models.shape import Shape
from medrlvr.runtime.errors import UserError

SHARE = 0.9
"""Fraction of a GPU's memory that an engine uses for evaluation. Nothing else is on the GPU."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Number of engines, and the number of GPUs among which each divides its weights (tensor parallelism)."""

    engines: int
    split: int


def place_engines(machine: Machine, shape: Shape | None, context_tokens: int) -> Placement:
    """Return the placement with the most engines into which the model and one sequence fit; one engine on a CPU.

    Args:
        shape: the model's shape; None if it is unknown, and assumed to fit into one GPU.
        context_tokens: maximum tokens of prompt and response.

    Raises:
        UserError: the model does not fit into all GPUs of the node together.
    """
    if machine.device == "cpu":
        return Placement(1, 1)
    gpus = machine.gpus_per_node
    if shape is None:
        return Placement(gpus, 1)
    for split in range(1, gpus + 1):
        if gpus % split == 0 and _fits(shape, machine, split, context_tokens):
            return Placement(gpus // split, split)
    size = shape.parameters * WEIGHT / GIB
    raise UserError(
        f"evaluation: vLLM needs {size:.1f} GiB for the model's weights, {ENGINE_WORKSPACE / GIB:.0f} GiB of workspace"
        f" on each GPU, and the keys and values of {context_tokens} tokens. This does not fit into {gpus} GPU(s) with"
        f" {SHARE * machine.gpu_gib:.1f} GiB each"
        f" ({SHARE:.0%} of machine.gpu_gib). Use more or larger GPUs (machine.gpus_per_node, machine.gpu_gib), or a"
        " smaller base model."
    )


def place_evaluation(experiment: Experiment, shape: Shape | None) -> Placement:
    """Return the placement for the base model and those trained from it, with the experiment's longest mode.

    Raises:
        UserError: as `place_engines` does.
    """
    longest = max(mode.max_tokens for mode in experiment.modes.values())
    return place_engines(experiment.machine, shape, experiment.evaluation.prompt_max_tokens + longest)


def _fits(shape: Shape, machine: Machine, split: int, context_tokens: int) -> bool:
    # vLLM divides attention by heads. It copies key and value heads if there are fewer of them than GPUs.
    shared = shape.heads % split == 0 and (shape.kv_heads % split == 0 or split % shape.kv_heads == 0)
    return shared and cached_sequences(shape, SHARE * machine.gpu_gib * GIB, split, context_tokens) >= 1
