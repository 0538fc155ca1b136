"""Memory, cores and GPUs that the workflow's rules request."""

from dataclasses import dataclass

from medrlvr.config.arms import Arm
from medrlvr.config.machine import Machine
from medrlvr.models.shape import Shape
from medrlvr.training.memory.host import job_memory


@dataclass(frozen=True, slots=True)
class RuleResources:
    """What jobs request on one machine, or from Slurm.

    Attributes:
        machine: the machine settings.
        local_cores: number of cores that Snakemake may use on this machine; None if it submits jobs to Slurm.
        shape: shape of the base model; None if it is unknown until the model is fetched.
    """

    machine: Machine
    local_cores: int | None
    shape: Shape | None

    @property
    def cores(self) -> int:
        """Cores of a job that uses a whole machine: all local cores, or on Slurm the threads of one process."""
        return self.local_cores or self.machine.threads

    @property
    def training_cores(self) -> int:
        """Cores of a training job."""
        return self.local_cores or self.machine.threads * self.machine.gpus_per_node

    @property
    def engine_cores(self) -> int:
        """Cores of a vLLM job. It has all GPUs of a node; on a CPU, several jobs run side by side."""
        return self.training_cores if self.machine.device == "gpu" else self.machine.threads

    @property
    def engine_gpus(self) -> int:
        """GPUs of a vLLM job: all GPUs of a node."""
        return self.machine.engine_gpus

    def training_gpus(self, arm: Arm) -> int:
        """Return the number of GPUs that a training job uses on all its nodes."""
        return self.machine.training_gpus(arm)

    def gres(self, gpus: int) -> str:
        """Return Slurm's generic resources per node, in the same form for one node and for several (docs/slurm.md)."""
        kind = f":{self.machine.gpu_type}" if self.machine.gpu_type else ""
        return f"gpu{kind}:{gpus}" if self.engine_gpus else ""

    def training_memory(self, arm: Arm, attempt: int) -> int:
        """Return the host memory, in MiB, that a training job requests at its `attempt`-th submission."""
        return job_memory(self.shape, arm, self.machine, attempt)
