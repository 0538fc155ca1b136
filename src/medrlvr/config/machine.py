"""Settings of the machine: devices, nodes, micro-batch sizes and placement of the trainers."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.base import Positive, Rate, Settings


class Machine(Settings):
    """Where training and generation run. Only device affects results and reruns rules; the others affect speed."""

    device: Literal["cpu", "gpu"] = "gpu"
    """gpu or cpu. cpu runs the same trainer through an adapter, for small models."""
    nodes: Positive = 1
    """Number of nodes for RLVR training, in one Slurm job. All other jobs use one node."""
    gpus_per_node: Positive = 4
    """Paper: four GPUs of 40 GB. Number of GPUs on each node."""
    gpu_gib: Rate = 40
    """Memory of one GPU in GiB. The estimated need of training is compared with it before any job is submitted."""
    gpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")] | None = None
    """Slurm's name of the GPU type (`sinfo -o %G`), for sites with several types. null: any type."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 3
    """DeepSpeed ZeRO stage: how much state is split among the GPUs. 3 needs the least memory; 2 is faster if it
    fits."""
    optimiser_offload: bool = False
    """Keeps gradients, Adam and its state on the host. It is slower, but saves 14 bytes per parameter on the GPUs."""
    gradient_checkpointing: bool = True
    """Recomputes activations instead of storing them: a third slower, but with far less memory."""
    flash_attention: bool = False
    """Uses flash-attn and packs several responses into one row instead of padding. It needs the package (docs/gpu.md).
    false: torch's own attention, with padding."""
    vllm_engines: Positive = 4
    """vLLM engines for generation on each node. They share its GPUs evenly."""
    vllm_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of a GPU's memory that an engine uses in training. Lower it if training runs out of memory. In an
    evaluation, an engine uses 0.9."""
    vllm_sleep: bool = True
    """Moves the engine off the GPU while the trainer works."""
    sft_micro_batch: Positive = 4
    """SFT questions processed together on one GPU. Lower the three micro-batches if memory runs out."""
    rollout_micro_batch: Positive = 8
    """Responses processed together on one GPU without gradients."""
    train_micro_batch: Positive = 2
    """Responses processed together on one GPU with gradients."""
    threads: Positive = 8
    """CPU threads of each process."""
    sft_threads: Positive | None = None
    """CPU threads of each process of SFT, which has one per GPU. null: as threads."""
    training_tflops: Rate | None = None
    """TFLOP/s that a GPU of this machine reaches in scoring and training, for `medrlvr plan`. `make gpu-check` measures
    it. null: assumed."""
    generation_tflops: Rate | None = None
    """TFLOP/s that a GPU of this machine reaches in generation, for `medrlvr plan`. `make gpu-check` measures it. null:
    assumed."""
    wandb_project: Annotated[str, Field(pattern=r"^\w[\w. -]*$")] | None = None
    """Weights & Biases project that receives RLVR's metrics, settings, output and one response per update, in addition
    to the TensorBoard files. It needs `pip install wandb` and WANDB_API_KEY in the environment. null: nothing is sent
    anywhere."""

    @property
    def engine_gpus(self) -> int:
        """GPUs of a vLLM job: all GPUs of a node."""
        return self.gpus_per_node if self.device == "gpu" else 0

    def training_gpus(self, arm: Arm) -> int:
        """Return the number of GPUs that a training job uses on all its nodes."""
        return self.engine_gpus * (self.nodes if isinstance(arm, RlvrArm) else 1)
