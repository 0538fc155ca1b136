"""Memory, cores and GPUs that the workflow's rules request."""

from dataclasses import dataclass

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.models.shape import Shape
from medrlvr.training.memory.host import job_memory


@dataclass(frozen=True, slots=True)
class RuleResources:
    """What jobs request on one machine, or from Slurm.

    Attributes:
        machine: of the configuration.
        local_cores: cores that Snakemake was given on this machine; None if it submits jobs to Slurm.
        shape: of the base model, None if unknown before it is fetched.
    """

    machine: Machine
    local_cores: int | None
    shape: Shape | None

    @property
    def cores(self) -> int:
        """Cores of a job that fills a machine: all local cores, or on Slurm the threads of one process."""
        return self.local_cores or self.machine.threads

    @property
    def training_cores(self) -> int:
        """Cores of a training job."""
        return self.local_cores or self.machine.threads * self.machine.gpus_per_node

    @property
    def engine_cores(self) -> int:
        """Cores of a vLLM job. On a CPU several engines run side by side, each with its threads; a GPU serves one."""
        return self.cores if self.machine.device == "gpu" else self.machine.threads

    @property
    def engine_gpus(self) -> int:
        """GPUs of a vLLM job."""
        return int(self.machine.device == "gpu")

    def training_gpus(self, arm: Arm) -> int:
        """Return the GPUs that a training job holds on all its nodes."""
        nodes = self.machine.nodes if isinstance(arm, RlvrArm) else 1
        return self.engine_gpus * self.machine.gpus_per_node * nodes

    def gres(self, gpus: int) -> str:
        """Return Slurm's generic resources per node; one form for a single node and for several (docs/slurm.md)."""
        kind = f":{self.machine.gpu_type}" if self.machine.gpu_type else ""
        return f"gpu{kind}:{gpus}" if self.engine_gpus else ""

    def training_memory(self, arm: Arm, attempt: int) -> int:
        """Return MiB of host memory of a training job at its `attempt`-th submission."""
        return job_memory(self.shape, arm, self.machine, attempt)
