"""The variables and the launcher with which OpenRLHF's processes start, on a CPU and on GPUs."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from medrlvr.config import Machine

_SOURCE = Path(__file__).resolve().parents[2]
_ADAPTER = Path(__file__).resolve().with_name("cpu")

_COMMON = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A cluster that the caller's environment names would not have these variables.
    "RAY_ADDRESS": "local",
    # Ray lets its workers yield to everything else: beside one busy program they all but stand still.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONUNBUFFERED": "1",
}

_CPU = {
    "MEDRLVR_CPU": "1",
    "DS_ACCELERATOR": "cpu",
    # Compiling at first use takes 20 s of g++ on a fresh machine and gains nothing at this size.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # vLLM's default binds its process to the first core, beside which the trainer then starves.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_WAIT_POLICY": "passive",
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
}


def variables(machine: Machine, cache: Path) -> dict[str, str]:
    """Return what the training processes need on top of the environment they are started from.

    Args:
        cache: folder in which the data sets library keeps its copy of the prompts.
    """
    values = _COMMON | {"HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": str(machine.threads)}
    folders = [str(_SOURCE)]
    if machine.device == "cpu":
        values |= _CPU
    elif importlib.util.find_spec("flash_attn") is None:
        values["MEDRLVR_NO_FLASH_ATTN"] = "1"
    if "MEDRLVR_CPU" in values or "MEDRLVR_NO_FLASH_ATTN" in values:
        folders.insert(0, str(_ADAPTER))
    values["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return values


def sft_launcher(machine: Machine) -> list[str]:
    """Return the words before the arguments of `train_sft`: one process for each GPU, on one node."""
    if machine.gpus_per_node == 1:
        return [sys.executable, "-m", "openrlhf.cli.train_sft"]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={machine.gpus_per_node}",
    ]
    return [*torchrun, "--module", "openrlhf.cli.train_sft"]


def sft_variables(machine: Machine) -> Mapping[str, str]:
    """Return the variables that torchrun would set, for a single process; port 0 lets the system choose a free one."""
    if machine.gpus_per_node > 1:
        return {}
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


def rlvr_launcher(machine: Machine) -> list[str]:
    """Return the words before the arguments of `train_ppo_ray`."""
    module = "medrlvr.training.cpu.run" if machine.device == "cpu" else "openrlhf.cli.train_ppo_ray"
    return [sys.executable, "-m", module]
