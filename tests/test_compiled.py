"""What is compiled for a GPU: where it is kept, and that a kill during the compilation blocks no later run."""

import multiprocessing
import os
import platform
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medrlvr.config.machine import Machine
from medrlvr.runtime import gpu_cache
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.errors import UserError
from medrlvr.training import compiled

GPU = Machine(device="gpu", gpus_per_node=1)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu_cache.first_gpu.cache_clear()
    yield
    gpu_cache.first_gpu.cache_clear()


def nvidia_smi(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "bin" / "nvidia-smi"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    gpu_cache.first_gpu.cache_clear()


def test_all_runs_share_a_folder_outside_home_for_each_kind_of_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(
        tmp_path, "echo '0, GPU-1a, NVIDIA A100, 8.0, 1, 2'; echo '1, GPU-2b, NVIDIA H100, 9.0, 1, 2'", monkeypatch
    )
    first = process_environment("gpu", 1, tmp_path / "one")
    again = process_environment("gpu", 1, tmp_path / "two")
    folders = {name: first[name] for name in gpu_cache.VARIABLES}
    assert folders == {name: again[name] for name in gpu_cache.VARIABLES} and len(set(folders.values())) == 5
    assert all(Path(folder).is_relative_to(tmp_path / "results/.cache/compiled") for folder in folders.values())
    gpu_cache.first_gpu.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    other = process_environment("gpu", 1, tmp_path)
    assert not set(folders.values()) & {other[name] for name in gpu_cache.VARIABLES}
    monkeypatch.setattr(gpu_cache.metadata, "version", lambda name: "another")
    newer = process_environment("gpu", 1, tmp_path)
    assert not {other[name] for name in gpu_cache.VARIABLES} & {newer[name] for name in gpu_cache.VARIABLES}
    assert not set(gpu_cache.VARIABLES) & set(process_environment("cpu", 1, tmp_path))


def test_the_packages_read_these_variables(tmp_path: Path) -> None:
    """Triton and FlashInfer are not installed on a CPU."""
    gpu = {name: str(tmp_path / folder) for name, folder in gpu_cache.VARIABLES.items()}
    code = (
        "from torch._inductor.runtime.cache_dir_utils import cache_dir; from vllm import envs;"
        "from torch.utils.cpp_extension import _get_build_directory as build;"
        "print(build('op', False), cache_dir(), envs.VLLM_CACHE_ROOT)"
    )
    printed = subprocess.run([sys.executable, "-c", code], env=os.environ | gpu, capture_output=True, text=True)
    extension, inductor, vllm = printed.stdout.split()[-3:]
    assert Path(extension).is_relative_to(gpu["TORCH_EXTENSIONS_DIR"])
    assert [inductor, vllm] == [gpu["TORCHINDUCTOR_CACHE_DIR"], gpu["VLLM_CACHE_ROOT"]]


def test_a_half_written_list_of_compiled_graphs_is_deleted(tmp_path: Path) -> None:
    """vLLM reads it with literal_eval, and would end with an error at every later start."""
    texts = {"whole": "{(1, 'x'): 'y'}", "half": "{(1, 'x'): ", "empty": "", "code": "open('x')"}
    for name, text in texts.items():
        file = tmp_path / "torch_compile_cache" / name / "rank_0_0/backbone/vllm_compile_cache.py"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    gpu_cache.repair_caches({"VLLM_CACHE_ROOT": str(tmp_path)})
    assert [file.parents[2].name for file in tmp_path.rglob("vllm_compile_cache.py")] == ["whole"]
    gpu_cache.repair_caches({"VLLM_CACHE_ROOT": str(tmp_path / "absent")})
    gpu_cache.repair_caches({})


def test_vllm_still_writes_its_list_as_it_did() -> None:
    """If it writes the list under a temporary name one day, `repair_caches` is no longer needed."""
    import inspect

    from vllm.compilation import backends

    source = inspect.getsource(backends.CompilerManager)
    assert '"vllm_compile_cache.py"' in source and 'with open(self.cache_file_path, "w") as f:' in source


@pytest.mark.parametrize("answer", ["exit 9", "true", "echo No devices were found"])
def test_without_an_answer_the_folder_is_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    nvidia_smi(tmp_path, answer, monkeypatch)
    assert gpu_cache.first_gpu() == (platform.node(), "")
    assert "TORCH_CUDA_ARCH_LIST" not in gpu_cache.cache_variables(None)


def test_torch_compiles_for_this_gpu_whatever_the_site_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image listed 9.0a, which DeepSpeed's builder cannot read."""
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0a")
    nvidia_smi(tmp_path, "echo '0, GPU-1a, NVIDIA H100 80GB HBM3, 9.0, 1, 2'", monkeypatch)
    assert process_environment("gpu", 1, tmp_path)["TORCH_CUDA_ARCH_LIST"] == "9.0"
    assert gpu_cache.first_gpu()[0] == "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("visible", "capability"), [(None, "8.0"), ("1,0", "9.0"), ("GPU-2b", "9.0"), ("MIG-5", "8.0"), ("", "8.0")]
)
def test_the_architecture_is_that_of_the_first_gpu_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, capability: str
) -> None:
    nvidia_smi(tmp_path, "echo '0, GPU-1a, A100, 8.0, 1, 2'; echo '1, GPU-2b, H100, 9.0, 1, 2'", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible) if visible is not None else None
    assert gpu_cache.cache_variables(None)["TORCH_CUDA_ARCH_LIST"] == capability


def extensions(tmp_path: Path) -> dict[str, str]:
    return {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}


class Compiler:
    """Stands for the process that compiles: writes the library after some time, or fails."""

    def __init__(self, folder: Path, seconds: float = 0.0, fails: bool = False) -> None:
        self.folder, self.seconds, self.fails, self.commands = folder, seconds, fails, []

    def __call__(self, command: list[str], variables: dict[str, str], each_line: object, work: str) -> None:
        self.commands.append(command[-1])
        name = {"FusedAdamBuilder": "fused_adam", "CPUAdamBuilder": "cpu_adam"}[command[-1]]
        target = self.folder / "extensions" / name
        target.mkdir(parents=True, exist_ok=True)
        # As torch does: a lock file that exists would be waited for without end.
        (target / "lock").touch(exist_ok=False)
        time.sleep(self.seconds)
        if self.fails:
            raise UserError("Error building extension")
        (target / f"{name}.so").touch()
        (target / "lock").unlink()


def test_the_optimiser_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, lines = Compiler(tmp_path), []
    monkeypatch.setattr(compiled, "run_process", compiler)
    for _ in range(3):
        compiled.compile_optimiser(GPU, extensions(tmp_path), lines.append)
    assert compiler.commands == ["FusedAdamBuilder"] and len(lines) == 1
    offloaded = GPU.model_copy(update={"optimiser_offload": True})
    compiled.compile_optimiser(offloaded, extensions(tmp_path), lines.append)
    assert compiler.commands == ["FusedAdamBuilder", "CPUAdamBuilder"]
    compiled.compile_optimiser(Machine(device="cpu"), {}, lines.append)
    assert len(compiler.commands) == 2


def test_the_lock_of_a_killed_compilation_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "run_process", Compiler(tmp_path, fails=True))
    with pytest.raises(UserError, match="Error building extension"):
        compiled.compile_optimiser(GPU, extensions(tmp_path), print)
    assert (tmp_path / "extensions/fused_adam/lock").exists()
    monkeypatch.setattr(compiled, "run_process", Compiler(tmp_path))
    compiled.compile_optimiser(GPU, extensions(tmp_path), print)
    # Also one that a trainer left when it was killed while it loaded the finished library.
    monkeypatch.setattr(compiled, "LOADING", 0.5)
    (tmp_path / "extensions/fused_adam/lock").touch()
    compiled.compile_optimiser(GPU, extensions(tmp_path), print)
    assert not (tmp_path / "extensions/fused_adam/lock").exists()


def test_the_lock_of_a_trainer_that_loads_the_library_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds on one node: torch's own release fails if its lock has been deleted."""
    monkeypatch.setattr(compiled, "run_process", Compiler(tmp_path))
    compiled.compile_optimiser(GPU, extensions(tmp_path), print)
    lock = tmp_path / "extensions/fused_adam/lock"
    other = tmp_path / "extensions/cpu_adam/lock"
    other.parent.mkdir()
    lock.touch()
    other.touch()
    released: list[bool] = []

    def release() -> None:
        time.sleep(1)
        released.append(lock.exists())
        lock.unlink()

    trainer = threading.Thread(target=release)
    trainer.start()
    compiled.compile_optimiser(GPU, extensions(tmp_path), print)
    trainer.join()
    assert released == [True] and other.exists(), "the lock of another optimiser is not this run's"


def compile_slowly(folder: Path, begun: object) -> None:
    compiled.run_process = Compiler(folder, seconds=1.0)
    begun.wait()
    compiled.compile_optimiser(GPU, extensions(folder), lambda line: (folder / f"{time.time_ns()}.compiled").touch())


def test_two_runs_at_once_compile_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Barrier(2)
    runs = [context.Process(target=compile_slowly, args=(tmp_path, begun)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0] and len([*tmp_path.glob("*.compiled")]) == 1


def test_the_command_compiles_with_a_builder_that_deepspeed_has() -> None:
    from deepspeed.ops import op_builder

    assert hasattr(op_builder, "FusedAdamBuilder") and hasattr(op_builder, "CPUAdamBuilder")
    assert op_builder.FusedAdamBuilder.NAME == "fused_adam" and op_builder.CPUAdamBuilder.NAME == "cpu_adam"
    assert compiled.compile_command("FusedAdamBuilder")[1:] == ["-m", "medrlvr.training.compiled", "FusedAdamBuilder"]
