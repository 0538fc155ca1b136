"""Commands that start OpenRLHF (torchrun or Ray), and checks of flash-attn and Weights & Biases."""

import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from medrlvr.config.machine import Machine
from medrlvr.runtime.errors import UserError


def check_attention(machine: Machine) -> str:
    """Return in words which attention a GPU computes, and so whether responses are packed.

    Raises:
        UserError: flash-attn is asked for and not installed.
    """
    if not machine.flash_attention:
        return "torch's own attention; texts are padded to one length (machine.flash_attention: false)"
    if importlib.util.find_spec("flash_attn") is None:
        raise UserError(
            "machine.flash_attention is true, but the package flash-attn is not installed: docs/gpu.md says how, or set"
            " it to false."
        )
    return "flash-attn; texts are packed, without padding"


def check_wandb(machine: Machine) -> None:
    """Require what Weights & Biases needs, where the configuration names a project.

    Raises:
        UserError: the package or the key is missing.
    """
    if machine.wandb_project is None:
        return
    key = f"machine.wandb_project is {machine.wandb_project}, but"
    if importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"{key} the package is not installed: .venv/bin/python -m pip install wandb, or set it to null."
        )
    if not os.environ.get("WANDB_API_KEY"):
        raise UserError(
            f"{key} the variable WANDB_API_KEY is not set: export it (https://wandb.ai/authorize shows it) where"
            " snakemake is started, or set the project to null. It belongs in no file of this repository."
        )


def wandb_variables(machine: Machine, folder: Path) -> Mapping[str, str]:
    """Return what keeps W&B's own files out of the folder in which training is started; never the key.

    Args:
        folder: for them; a WANDB_DIR of the caller's stays.
    """
    return {} if machine.wandb_project is None else {"WANDB_DIR": os.environ.get("WANDB_DIR", str(folder))}


def short_folder(longest: int) -> str:
    """Return where temporary files go, or /tmp if that has too long a name: Ray's sockets are in it.

    Args:
        longest: characters that follow it, less the 64 that Ray adds. A socket's path may have 107.
    """
    return next(root for root in (tempfile.gettempdir(), "/tmp") if len(root) + longest + 64 <= 107)


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


def rlvr_launcher(machine: Machine, logs: Path) -> list[str]:
    """Return the words before the arguments of `train_ppo_ray`.

    Args:
        logs: folder for the logs of Ray's nodes, where there are several.
    """
    if machine.nodes == 1:
        module = "medrlvr.training.cpu.run" if machine.device == "cpu" else "openrlhf.cli.train_ppo_ray"
        return [sys.executable, "-m", module]
    cluster = [sys.executable, "-m", "medrlvr.training.cluster.launcher"]
    cluster += [f"--nodes={machine.nodes}", f"--gpus={machine.gpus_per_node}", f"--logs={logs.resolve()}", "--"]
    return [*cluster, sys.executable, "-m", "openrlhf.cli.train_ppo_ray"]
