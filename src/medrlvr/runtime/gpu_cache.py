"""The folder of what DeepSpeed, vLLM, Triton and torch compile for a GPU, shared by all runs.

Compilation needs minutes, and home folders on compute nodes may be read-only or small. The folder's name is a hash of
everything that the compiled files depend on, so that no run uses those of another version or of another kind of GPU.
"""

import ast
import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from medrlvr.runtime import gpu_preflight

ROOT = Path("results/.cache/compiled")

_PACKAGES = ("torch", "deepspeed", "vllm", "triton")

VARIABLES = {
    "TORCH_EXTENSIONS_DIR": "extensions",
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
"""Environment variable -> its folder in the cache."""


def cache_variables(cuda_home: str | None) -> dict[str, str]:
    """Return the environment variables that name the caches, and the architecture for which torch compiles.

    Args:
        cuda_home: folder of the CUDA compiler.
    """
    gpu, capability = first_gpu()
    found = {"python": platform.python_version(), "gpu": gpu, "cuda": str(cuda_home)}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    folder = ROOT.resolve() / hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]
    values = {variable: str(folder / name) for variable, name in VARIABLES.items()}
    # A site may list architectures that DeepSpeed cannot read, such as 9.0a, or that this GPU does not have.
    return values | ({"TORCH_CUDA_ARCH_LIST": capability} if capability else {})


def repair_caches(variables: Mapping[str, str]) -> None:
    """Delete vLLM's lists of compiled graphs that a killed process left half-written; vLLM would end with an error.

    vLLM, torch and Triton write all other files under a temporary name first.

    Args:
        variables: as `process_environment` returns them; on a CPU there are no caches.
    """
    root = variables.get("VLLM_CACHE_ROOT")
    for file in Path(root).rglob("vllm_compile_cache.py") if root else ():
        try:
            ast.literal_eval(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            file.unlink(missing_ok=True)


@cache
def first_gpu() -> tuple[str, str]:
    """Return the name and the compute capability, such as "9.0", of the first GPU that this process may use.

    A process that may use parts of GPUs only gets those of the machine's first GPU. If `nvidia-smi` names no GPU, they
    are the machine's name and "".
    """
    for gpu in gpu_preflight.visible_gpus() or gpu_preflight.listed_gpus():
        return gpu.name, ".".join(map(str, gpu.capability or ()))
    return platform.node(), ""
