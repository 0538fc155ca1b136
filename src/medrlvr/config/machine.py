"""The machine: devices, nodes, batch sizes that only affect memory, and trainer placement."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Positive, Rate, Settings


class Machine(Settings):
    """Where training and generation run: how fast, not what. Only device has a part in results and runs rules again."""

    device: Literal["cpu", "gpu"] = "gpu"
    """cpu runs the same trainer through an adapter, for small models."""
    nodes: Positive = 1
    """Nodes that RLVR trains on, in one job of Slurm; all else takes one."""
    gpus_per_node: Positive = 4
    """Paper: four GPUs of 40 GB."""
    gpu_gib: Rate = 40
    """Memory of a GPU in GiB. What training needs by arithmetic is checked against it before anything is submitted."""
    gpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")] | None = None
    """What Slurm calls these GPUs (`sinfo -o %G`), where a site has several kinds. null: any."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 3
    """Of DeepSpeed: how much is split among the GPUs; 3 is smallest in memory, 2 faster where it fits."""
    optimiser_offload: bool = False
    """Gradients, Adam and its state on the host: slower, and 14 bytes of a parameter less on the GPUs."""
    gradient_checkpointing: bool = True
    """Activations are computed a second time instead of kept: a third slower, and far smaller."""
    flash_attention: bool = False
    """Attention by flash-attn, with several responses packed in a row instead of padded; needs the package
    (docs/gpu.md). false: torch's own attention, and padding."""
    vllm_engines: Positive = 4
    """Copies of the model that generate, on each node; they share its GPUs evenly."""
    vllm_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a GPU's memory that an engine takes. Lower it when training runs out of memory."""
    vllm_sleep: bool = True
    """The engine leaves the GPU while the trainer works."""
    sft_micro_batch: Positive = 4
    """Questions at once on a GPU. Lower these three when memory runs out."""
    rollout_micro_batch: Positive = 8
    """Responses at once on a GPU, without gradients."""
    train_micro_batch: Positive = 2
    """Responses at once on a GPU, with gradients."""
    threads: Positive = 8
    """Of each process on the CPU."""
    wandb_project: Annotated[str, Field(pattern=r"^\w[\w. -]*$")] | None = None
    """Weights & Biases: null, nothing is sent anywhere. A project's name: RLVR's metrics, settings, output and one
    response of each update go there; TensorBoard's files are the same. Needs `pip install wandb` and WANDB_API_KEY in
    the environment."""
