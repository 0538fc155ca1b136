"""Commands that start OpenRLHF (torchrun or Ray), and checks of flash-attn and Weights & Biases."""

import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from medrlvr.config.machine import Machine
from medrlvr.runtime.errors import UserError


def check_attention(machine: Machine) -> str:
    """Return a line on the attention implementation on GPUs and on whether sequences are packed.

    Raises:
        UserError: flash-attn is requested but not installed.
    """
    if not machine.flash_attention:
        return "torch's own attention; sequences are padded to equal length (machine.flash_attention: false)"
    if importlib.util.find_spec("flash_attn") is None:
        raise UserError(
            "machine.flash_attention is true, but the package flash-attn is not installed. Install it as docs/gpu.md"
            " describes, or set machine.flash_attention to false."
        )
    return "flash-attn; sequences are packed, without padding"


def check_wandb(machine: Machine) -> None:
    """Require that Weights & Biases can be used, if the configuration names a project.

    Raises:
        UserError: the package or the API key is missing.
    """
    if machine.wandb_project is None:
        return
    key = f"machine.wandb_project is {machine.wandb_project}, but"
    if importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"{key} the package wandb is not installed. Run `.venv/bin/python -m pip install wandb`, or set"
            " machine.wandb_project to null."
        )
    if not os.environ.get("WANDB_API_KEY"):
        raise UserError(
            f"{key} the environment variable WANDB_API_KEY is not set. Export it (https://wandb.ai/authorize shows it)"
            " in the shell that starts Snakemake, or set machine.wandb_project to null. Do not write it into a file"
            " of this repository."
        )


def wandb_variables(machine: Machine, folder: Path) -> Mapping[str, str]:
    """Return variables that keep W&B's own files out of the folder in which training starts; never the key.

    Args:
        folder: folder for W&B's files; an existing WANDB_DIR takes precedence.
    """
    return {} if machine.wandb_project is None else {"WANDB_DIR": os.environ.get("WANDB_DIR", str(folder))}


def short_folder(longest: int) -> str:
    """Return the folder for temporary files, or /tmp if its path is too long for Ray's sockets.

    Args:
        longest: number of characters that follow it in a socket's path, without the 64 that Ray adds. The path may have
            at most 107 characters.
    """
    return next(root for root in (tempfile.gettempdir(), "/tmp") if len(root) + longest + 64 <= 107)


def sft_launcher(machine: Machine) -> list[str]:
    """Return the command prefix before the arguments of `train_sft`: one process per GPU, on one node."""
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
    """Return the variables that torchrun would set for a single process; port 0 lets the system choose a free port."""
    if machine.gpus_per_node > 1:
        return {}
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


def ray_variables(machine: Machine) -> Mapping[str, str]:
    """Return the CPUs that Ray counts on one node with GPUs.

    Ray starts one idle process for each CPU: by default for all of the node, not of the job. OpenRLHF reserves one for
    each GPU, and its trainer needs one; one is spare. On several nodes the launcher of the cluster does the same, and
    on a CPU `training.cpu.run`.
    """
    if machine.nodes > 1 or machine.device == "cpu":
        return {}
    return {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": machine.gpus_per_node + 2})}


def rlvr_launcher(machine: Machine, logs: Path) -> list[str]:
    """Return the command prefix before the arguments of `train_ppo_ray`.

    Args:
        logs: folder for the logs of Ray's nodes, if there are several.
    """
    if machine.nodes == 1:
        module = "medrlvr.training.cpu.run" if machine.device == "cpu" else "openrlhf.cli.train_ppo_ray"
        return [sys.executable, "-m", module]
    cluster = [sys.executable, "-m", "medrlvr.training.cluster.launcher"]
    cluster += [f"--nodes={machine.nodes}", f"--gpus={machine.gpus_per_node}", f"--logs={logs.resolve()}", "--"]
    return [*cluster, sys.executable, "-m", "openrlhf.cli.train_ppo_ray"]
