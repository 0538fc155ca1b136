"""nvcc of gpu.lock compiles DeepSpeed's optimisers, and a linker finds CUDA's libraries. No GPU is needed.

DeepSpeed and torch's cpp_extension run their own commands, as at the first start of training. Three things differ,
because the CPU build of torch is installed: libc10_cuda and libtorch_cuda are empty, one generated header of torch is
written here, and the result is not imported.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medrlvr.runtime import cuda

pytestmark = [pytest.mark.slow, pytest.mark.extended]

ROOT = Path(__file__).parents[1]
COMPILER = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl", "nvidia-cuda-runtime")
MATHS = ("nvidia-cublas", "nvidia-curand", "nvidia-cusparse", "nvidia-cusolver")
COMPILE = """
import os, sys, torch
from torch.utils import cpp_extension
from deepspeed.ops.op_builder.cpu_adam import CPUAdamBuilder
from deepspeed.ops.op_builder.fused_adam import FusedAdamBuilder
torch.version.cuda = sys.argv[2]
torch.cuda.is_available = lambda: True
cpp_extension.CUDA_HOME = os.environ["CUDA_HOME"]
cpp_extension._import_module_from_library = lambda *_: None
{"fused_adam": FusedAdamBuilder, "cpu_adam": CPUAdamBuilder}[sys.argv[1]]().jit_load()
"""


def locked(names: tuple[str, ...]) -> str:
    """Return the requirements of these packages with their hashes, from gpu.lock."""
    lock = (ROOT / "envs/gpu.lock").read_text()
    return "".join(re.search(rf"^{name}==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)[0] for name in names)


def installed(names: tuple[str, ...]) -> Path:
    """Return the CUDA folder of these packages; download them if an earlier test has not: in all 1.4 GB on the disk."""
    requirements = locked(names)
    folder = ROOT / ".cuda" / f"packages-{hashlib.sha256(requirements.encode()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(requirements)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
        subprocess.run([*pip, "--upgrade", "--target", folder, "-r", folder / "requirements.txt"], check=True)
        (folder / "complete").touch()
    return folder / "nvidia" / "cu13"


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the CPU build of torch lacks."""
    folder = tmp_path_factory.mktemp("torch")
    for name in ("c10_cuda", "torch_cuda"):
        subprocess.run(["c++", "-shared", "-x", "c++", "/dev/null", "-o", folder / f"lib{name}.so"], check=True)
    header = folder / "c10/cuda/impl/cuda_cmake_macros.h"
    header.parent.mkdir(parents=True)
    header.write_text("#pragma once\n#define C10_CUDA_BUILD_SHARED_LIBS\n")
    return folder


def compiled(optimiser: str, home: Path, stand_ins: Path, folder: Path) -> Path:
    """Return the built library."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "CUDA_HOME": str(home),
        "TORCH_EXTENSIONS_DIR": str(folder),
        "TORCH_CUDA_ARCH_LIST": "8.0",
        "DS_ACCELERATOR": "cpu",
        "CPATH": str(stand_ins),
        "LIBRARY_PATH": str(stand_ins),
    }
    release = cuda.as_text(cuda.compiler_release(home))
    command = [sys.executable, "-c", COMPILE, optimiser, release]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return folder / optimiser / f"{optimiser}.so"


def libraries_of(library: Path) -> str:
    return subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout


def test_the_locked_compiler_builds_the_optimiser_for_gpus(stand_ins: Path, tmp_path: Path) -> None:
    packages = installed((*COMPILER, *MATHS))
    home = cuda.usable_home(packages, [packages], tmp_path / "home")
    built = compiled("fused_adam", home, stand_ins, tmp_path / "built")
    assert "[libcudart.so.13]" in libraries_of(built)
    assert b"-arch sm_80" in built.read_bytes()


def test_the_packages_build_the_optimiser_for_the_host(stand_ins: Path, tmp_path: Path) -> None:
    """The linker must find curand and cudart. The library calls no function of theirs, so it does not need them."""
    packages = installed((*COMPILER, *MATHS))
    home = cuda.usable_home(packages, [packages], tmp_path / "home")
    assert "[libtorch_cpu.so]" in libraries_of(compiled("cpu_adam", home, stand_ins, tmp_path / "built"))


def test_a_site_with_a_compiler_but_without_cublas_builds_the_optimiser(stand_ins: Path, tmp_path: Path) -> None:
    site, packages = installed(COMPILER), installed((*COMPILER, *MATHS))
    assert "cublas_v2.h" in cuda.missing(site)
    home = cuda.usable_home(site, [packages], tmp_path / "home")
    assert (home / "bin").resolve() == (site / "bin").resolve()
    built = compiled("fused_adam", home, stand_ins, tmp_path / "built")
    assert b"-arch sm_80" in built.read_bytes()
