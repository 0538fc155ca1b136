"""The CUDA compiler: a site's is taken only if it suits torch, and the locked one is of the run time's release."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import install
import pytest

from medrlvr.runtime import cuda
from medrlvr.runtime.environment import process_environment

ROOT = Path(__file__).parents[1]
COMPILER_PACKAGES = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl")
WANTED = (13, 0)


def toolkit(home: Path, printed: str | None = "Cuda compilation tools, release 13.0, V13.0.88", *, whole: bool = True):
    """Write a CUDA folder whose nvcc prints this text; None: without nvcc. `whole`: with all headers and libraries."""
    headers, libraries = (cuda.HEADERS, cuda.LIBRARIES) if whole else (cuda.HEADERS[:1], cuda.LIBRARIES[:1])
    for name in [*(f"include/{header}" for header in headers), *(f"lib64/{library}" for library in libraries)]:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"{home.name}'s {name}")
    if printed is not None:
        (home / "bin").mkdir()
        (home / "bin" / "nvcc").write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo "{printed}"\n')
        (home / "bin" / "nvcc").chmod(0o755)
    return home


def packages(home: Path) -> Path:
    """Write a folder like NVIDIA's packages have: complete, but its libraries' names end in a version."""
    toolkit(home)
    (home / "lib64").rename(home / "lib")
    for library in (home / "lib").iterdir():
        library.rename(library.with_name(f"{library.name}.13"))
    (home / "nvvm").mkdir()
    return home


@pytest.mark.parametrize("package", COMPILER_PACKAGES)
def test_the_locked_compiler_is_of_the_run_times_release(package: str) -> None:
    lock = install.pins((ROOT / "envs/gpu.lock").read_text())
    assert lock[package].split(".")[:2] == lock["nvidia-cuda-runtime"].split(".")[:2]


def test_a_compiler_of_torchs_major_version_is_taken(tmp_path: Path) -> None:
    site = toolkit(tmp_path / "site", "Cuda compilation tools, release 13.2, V13.2.1")
    assert cuda.find_compiler(WANTED, [tmp_path / "absent", site]) == (site, (13, 2), ())


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("Cuda compilation tools, release 12.4, V12.4.1", "has CUDA 12.4, but torch is built for CUDA 13.0"),
        (None, "has no bin/nvcc that reports its release"),
        ("nvcc fatal : broken installation", "has no bin/nvcc that reports its release"),
    ],
)
def test_an_unsuitable_compiler_is_passed_over_with_a_reason(tmp_path: Path, printed: str | None, reason: str) -> None:
    site, locked = toolkit(tmp_path / "site", printed), toolkit(tmp_path / "locked")
    found = cuda.find_compiler(WANTED, [site, locked])
    assert found.home == locked
    (sentence,) = found.rejected
    assert str(site) in sentence and reason in sentence
    assert cuda.find_compiler(WANTED, [site]).home is None


def test_a_wrapper_of_nvcc_without_headers_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    wrapper = toolkit(tmp_path)
    (tmp_path / "include" / cuda.HEADERS[0]).unlink()
    (reason,) = cuda.find_compiler(WANTED, [wrapper]).rejected
    assert reason == f"{tmp_path} has CUDA 13.0, but no include/cuda_runtime.h."


def test_nvcc_that_hangs_or_cannot_run_reports_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = toolkit(tmp_path)
    (site / "bin" / "nvcc").chmod(0o644)
    assert cuda.compiler_release(site) is None

    def hang(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(cuda.subprocess, "run", hang)
    assert cuda.compiler_release(site) is None


def test_a_complete_cuda_is_used_as_it_is(tmp_path: Path) -> None:
    site = toolkit(tmp_path / "site")
    assert cuda.missing(site) == []
    assert cuda.usable_home(site, [], tmp_path / "made") == site
    assert not (tmp_path / "made").exists()


def test_the_packages_get_the_names_that_a_linker_looks_for(tmp_path: Path) -> None:
    locked = packages(tmp_path / "locked")
    assert cuda.missing(locked) == list(cuda.LIBRARIES)
    made = cuda.usable_home(locked, [locked], tmp_path / "made")
    assert cuda.missing(made) == []
    assert cuda.compiler_release(made) == WANTED
    assert (made / "lib64" / "libcudart.so").resolve() == locked / "lib" / "libcudart.so.13"
    assert (made / "nvvm").resolve() == locked / "nvvm"
    assert cuda.usable_home(locked, [locked], tmp_path / "made") == made
    assert [*(tmp_path / "made").iterdir()] == [made]


def test_the_packages_complete_a_sites_compiler(tmp_path: Path) -> None:
    site, locked = toolkit(tmp_path / "site", whole=False), packages(tmp_path / "locked")
    made = cuda.usable_home(site, [locked], tmp_path / "made")
    assert cuda.missing(site) != [] and cuda.missing(made) == []
    assert (made / "bin").resolve() == site / "bin"
    assert (made / "include" / "cuda_runtime.h").read_text() == "site's include/cuda_runtime.h"
    assert (made / "include" / "cublas_v2.h").read_text() == "locked's include/cublas_v2.h"


def test_packages_are_found_in_every_folder_that_python_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A namespace package has several places; an environment may also use the packages of its image."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own"), str(tmp_path / "image"), str(tmp_path / "none")])
    assert cuda.package_homes() == []
    homes = [tmp_path / name / "nvidia" / "cu13" for name in ("own", "image")]
    for home in homes:
        home.mkdir(parents=True)
    (tmp_path / "none" / "nvidia" / "other").mkdir(parents=True)
    importlib.invalidate_caches()
    assert cuda.package_homes() == homes


def test_a_folder_that_another_process_has_just_made_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = packages(tmp_path / "locked")
    first = cuda.usable_home(locked, [locked], tmp_path / "made")
    exists = Path.exists
    asked = iter([False])
    monkeypatch.setattr(Path, "exists", lambda path: next(asked, True) if path == first else exists(path))
    assert cuda.usable_home(locked, [locked], tmp_path / "made") == first
    monkeypatch.undo()
    assert [*(tmp_path / "made").iterdir()] == [first]


@pytest.mark.parametrize(
    ("line", "release"), [("cuda: Optional[str] = '13.0'", (13, 0)), ("cuda = None", None), ("cudaless = '1.2'", None)]
)
def test_torchs_release_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, release: tuple[int, int] | None
) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\n")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(cuda.util, "find_spec", lambda name: spec)
    assert cuda.torch_release() == release
    monkeypatch.setattr(cuda.util, "find_spec", lambda name: None)
    assert cuda.torch_release() is None


def test_the_installed_torch_has_the_release_that_its_module_reports() -> None:
    code = (
        "import sys; from medrlvr.runtime.cuda import torch_release; found = torch_release(); "
        "loaded = 'torch' in sys.modules; import torch; print(loaded, found, torch.version.cuda)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "None", "None"]


def test_training_gets_the_first_suitable_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is CUDA_HOME, nvcc on PATH, /usr/local/cuda, the packages."""
    homes = [tmp_path / name for name in ("named", "on_path", "usual")]
    locked = packages(tmp_path / "locked")
    monkeypatch.setattr(cuda, "torch_release", lambda: WANTED)
    monkeypatch.setattr(cuda, "package_homes", lambda: [locked])
    monkeypatch.setattr(cuda, "SITES_OWN", homes[2])
    monkeypatch.setenv("CUDA_HOME", str(homes[0]))
    monkeypatch.setenv("PATH", f"{homes[1]}/bin:/bin")

    def found() -> dict[str, str]:
        return {
            name: value
            for name, value in process_environment("gpu", 1, tmp_path).items()
            if name in ("CUDA_HOME", "DS_SKIP_CUDA_CHECK")
        }

    monkeypatch.setattr(cuda, "LINKS", tmp_path / "made")
    made = cuda.usable_home(locked, [locked], tmp_path / "made")
    assert found() == {"CUDA_HOME": str(made)}
    toolkit(homes[2], "release 13.1, V13.1.2")
    assert found() == {"CUDA_HOME": str(homes[2]), "DS_SKIP_CUDA_CHECK": "1"}
    for home in (homes[1], homes[0]):
        toolkit(home)
        assert found() == {"CUDA_HOME": str(home)}
    assert "CUDA_HOME" not in process_environment("cpu", 1, tmp_path)
    monkeypatch.setattr(cuda, "torch_release", lambda: None)
    assert found() == {}
