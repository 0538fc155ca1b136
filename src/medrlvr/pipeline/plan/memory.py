"""GPU memory that each phase of training and evaluation fills."""

from collections.abc import Iterator

from medrlvr.config.experiment import Experiment
from medrlvr.evaluation.placement import SHARE, place_evaluation
from medrlvr.models.engine_memory import GIB
from medrlvr.models.shape import Shape
from medrlvr.training.memory.phases import phases


def memory_rows(experiment: Experiment, shape: Shape) -> Iterator[tuple[str, str, str]]:
    """Yield for each phase its name, the estimated GiB that it needs on a GPU, and their share of the GPU."""
    machine = experiment.machine
    for name, arm in experiment.arms.items():
        for phase in phases(shape, arm, machine):
            size = phase.total / GIB
            yield f"{name}: {phase.name}", f"{size:.1f}", f"{size / machine.gpu_gib:.0%}"
    place = place_evaluation(experiment, shape)
    divided = f"each divided among {place.split} GPUs (tensor parallel)" if place.split > 1 else "one GPU each"
    yield f"evaluation: engines: {place.engines}, {divided}", f"{SHARE * machine.gpu_gib:.1f}", f"{SHARE:.0%}"
