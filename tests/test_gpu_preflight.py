"""What a machine with GPUs lacks is named all at once, before set-up and when a job starts."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import preflight_gpu
import pytest

from medrlvr.config.machine import Machine
from medrlvr.pipeline.preflight import check_device
from medrlvr.runtime import cuda, environment, gpu_preflight
from medrlvr.runtime.cuda import Compiler
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.gpu_preflight import GIB, Facts, Gpu, job_problems, setup_cautions, setup_problems

ROOT = Path(__file__).parents[1]
OLD_PYTHONS = ("runtime/__init__", "runtime/errors", "runtime/cuda", "runtime/gpu_preflight")
A100 = Gpu("NVIDIA A100-SXM4-40GB", (8, 0), 39 * GIB, 40 * GIB)
GOOD = Facts(
    torch_cuda=(13, 0),
    driver="580.95.05",
    driver_cuda=(13, 0),
    gpus=(A100, A100),
    glibc=(2, 34),
    python_header=None,
    cxx_error=None,
    compiler=Compiler(Path("/opt/cuda"), (13, 0), ()),
    compiler_lacks=(),
    free_disk=100 * GIB,
    shared_memory=32 * GIB,
    open_files=65536,
    locked_memory=None,
    infiniband=False,
    overriding=(),
)
NONE_VISIBLE = GOOD._replace(driver=None, driver_cuda=None, gpus=())


def test_a_good_machine_is_accepted() -> None:
    assert setup_problems(GOOD) == [] and setup_cautions(GOOD) == []
    assert job_problems(GOOD, 2, 40, compiles=True) == []
    assert gpu_preflight.describe(GOOD, 2) == (
        "2 GPU(s): NVIDIA A100-SXM4-40GB; driver 580.95.05; CUDA compiler: /opt/cuda (CUDA 13.0)"
    )


@pytest.mark.parametrize(
    ("changed", "problem", "way_out"),
    [
        ({"glibc": (2, 28)}, "glibc 2.28", "RHEL 9"),
        ({"glibc": None}, "not glibc", "container"),
        ({"python_header": "/usr/include/Python.h"}, "/usr/include/Python.h is missing", "python3.11-dev"),
        ({"cxx_error": "unrecognized option '-std=c++20'"}, "unrecognized option", "g++ 10 or newer"),
        ({"free_disk": 5 * GIB}, "5.0 GiB of disk is free", "larger file system"),
        ({"driver": "535.1", "driver_cuda": (12, 2)}, "driver 535.1 supports CUDA 12.2", "driver 580 or newer"),
        ({"driver_cuda": None}, "libcuda.so.1 cannot be loaded", "--gpus all"),
        ({"gpus": (A100, Gpu("Tesla V100", (7, 0), None, None))}, "Tesla V100 (7.0)", "Ampere"),
    ],
)
def test_each_problem_of_set_up_is_named_with_a_remedy(changed: dict[str, object], problem: str, way_out: str) -> None:
    (text,) = setup_problems(GOOD._replace(**changed))
    assert problem in text and way_out in text


@pytest.mark.parametrize(
    ("changed", "problem", "way_out"),
    [
        ({"driver": None}, "nvidia-smi is missing or lists none", "--nv"),
        ({"torch_cuda": None}, "a build without CUDA", "make setup-gpu"),
        ({"driver": "535.1", "driver_cuda": (12, 2)}, "driver 535.1 supports CUDA 12.2", "cuda-compat"),
        ({"driver_cuda": None}, "libcuda.so.1 cannot be loaded", "--gpus all"),
        ({"gpus": (Gpu("Tesla T4", (7, 5), None, None),) * 2}, "Tesla T4 (7.5)", "machine.gpu_type"),
        ({"gpus": (A100,)}, "uses 2 GPUs, but only 1 are visible", "machine.gpus_per_node"),
        ({"gpus": (A100, A100._replace(free=20 * GIB))}, "GPU 1 has 20.0 of 40.0 GiB free", "CUDA_VISIBLE_DEVICES"),
        ({"python_header": "/x/Python.h"}, "/x/Python.h is missing", "python3.11-devel"),
        ({"cxx_error": "c++: No such file or directory"}, "No such file", "load a module"),
        ({"compiler": Compiler(None, None, ("/c has CUDA 12.4.",))}, "No compiler of CUDA 13", "/c has CUDA 12.4."),
        ({"compiler_lacks": ("include/cublas_v2.h",)}, "/opt/cuda lacks include/cublas_v2.h", "make setup-gpu"),
        ({"shared_memory": 64 << 20}, "/dev/shm has 0.06 GiB", "--shm-size=16g"),
        ({"open_files": 1024}, "only 1024 files", "ulimit"),
    ],
)
def test_each_problem_of_a_job_is_named_with_a_remedy(changed: dict[str, object], problem: str, way_out: str) -> None:
    (text,) = job_problems(GOOD._replace(**changed), 2, 40, compiles=True)
    assert problem in text and way_out in text


def test_three_problems_are_named_at_once() -> None:
    bad = GOOD._replace(glibc=(2, 17), cxx_error="error", free_disk=0)
    assert len(setup_problems(bad)) == 3
    bad = GOOD._replace(driver="470.1", driver_cuda=(11, 4), shared_memory=0, compiler=Compiler(None, None, ()))
    assert len(job_problems(bad, 1, 40, compiles=True)) == 3


def test_a_machine_without_gpu_can_be_set_up_with_a_warning() -> None:
    assert setup_problems(NONE_VISIBLE) == []
    assert setup_cautions(NONE_VISIBLE) == [
        "No GPU is visible here. Each job checks the driver and its GPUs when it starts."
    ]


def test_an_engine_needs_no_compiler() -> None:
    bad = GOOD._replace(python_header="/x/Python.h", cxx_error="error", compiler=Compiler(None, None, ()))
    assert job_problems(bad, 1, 40, compiles=False) == []


def test_a_forward_compatible_driver_is_accepted() -> None:
    assert job_problems(GOOD._replace(driver="535.1", driver_cuda=(13, 0)), 1, 40, compiles=True) == []


def test_only_the_gpus_of_the_job_must_be_free_up_to_its_share() -> None:
    shared = GOOD._replace(gpus=(A100._replace(free=14 * GIB), A100._replace(free=0)))
    assert job_problems(shared, 1, 15, compiles=False) == []
    assert len(job_problems(shared, 2, 15, compiles=False)) == 1
    unknown = GOOD._replace(gpus=(A100._replace(free=None, total=None, capability=None),))
    assert job_problems(unknown, 1, 40, compiles=False) == []
    assert job_problems(GOOD._replace(gpus=()), 4, 40, compiles=False) == []


def test_what_may_fail_later_is_a_warning() -> None:
    odd = GOOD._replace(
        overriding=("/usr/lib/libnccl.so.2.18.3",),
        infiniband=True,
        locked_memory=64 << 10,
        compiler=GOOD.compiler._replace(rejected=("/old has CUDA 12.4, but torch is built for CUDA 13.0.",)),
    )
    assert setup_problems(odd) == [] and job_problems(odd, 2, 40, compiles=True) == []
    compiler, library, memory = setup_cautions(odd)
    assert compiler == "/old has CUDA 12.4, but torch is built for CUDA 13.0. /opt/cuda is used instead."
    assert "/usr/lib/libnccl.so.2.18.3" in library and "lock 64 KiB" in memory
    assert len(setup_cautions(odd._replace(infiniband=False))) == 2


ROWS = [
    "0, GPU-1a2b, NVIDIA A100-SXM4-40GB, 8.0, 39936, 40960",
    "1, GPU-3c4d, NVIDIA A100-SXM4-40GB, [N/A], [N/A], [Insufficient Permissions]",
]
UNKNOWN = Gpu("NVIDIA A100-SXM4-40GB", None, None, None)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, (A100, UNKNOWN)),
        ("", ()),
        ("1", (UNKNOWN,)),
        ("1,0", (UNKNOWN, A100)),
        ("GPU-3c", (UNKNOWN,)),
        ("MIG-5e6f", ()),
    ],
)
def test_the_visible_gpus_are_read_in_the_processes_order(visible: str | None, gpus: tuple[Gpu, ...]) -> None:
    assert gpu_preflight.parse_gpus(ROWS, visible) == gpus


def test_the_cxx_compiler_is_run(tmp_path: Path) -> None:
    assert gpu_preflight.cxx_error(["c++"]) is None
    old = gpu_preflight.cxx_error(["c++", "-include", str(tmp_path / "absent.h")])
    assert old is not None and "absent.h" in old
    assert gpu_preflight.cxx_error([str(tmp_path / "none")]) == f"{tmp_path}/none: No such file or directory"
    (tmp_path / "silent").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "silent").chmod(0o755)
    assert gpu_preflight.cxx_error([str(tmp_path / "silent")]) == "status 3"


def test_libraries_on_the_path_of_the_loader_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libnccl.so.2.18.3").touch()
    (tmp_path / "libnccl.so.2").symlink_to("libnccl.so.2.18.3")
    monkeypatch.setenv("LD_LIBRARY_PATH", f":/none:{tmp_path}")
    assert gpu_preflight.gather((13, 0), str(tmp_path)).overriding == (str(tmp_path / "libnccl.so.2.18.3"),)


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: str, driver: str = "580.95.05") -> None:
    """Let nvidia-smi print these rows."""
    cases = f"*driver_version*) echo {driver};; *) printf '%s\\n' {' '.join(map(repr, rows))};;"
    (folder / "nvidia-smi").write_text(f'#!/bin/sh\ncase "$1" in {cases} esac\n')
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_job_on_an_unsuitable_machine_stops_with_every_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, "0, GPU-1a2b, Tesla T4, 7.5, 15000, 15360")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu_preflight, "_driver_cuda", lambda: (12, 8))
    monkeypatch.setattr(cuda, "torch_release", lambda: (13, 0))
    monkeypatch.setattr(cuda, "site_homes", lambda: [])
    monkeypatch.setattr(cuda, "package_homes", lambda: [])
    said: list[str] = []
    with pytest.raises(UserError) as error:
        gpu_preflight.check_job("rlvr, seed 1", 2, 40, True, said.append)
    first, *reasons = str(error.value).splitlines()
    assert first.endswith("cannot run this step:") and said == []
    starts = ["The NVIDIA driver 580.95.05", "Tesla T4 (7.5)", "This job uses 2 GPUs", "No compiler of CUDA 13"]
    assert [reason.startswith(f"  - {start}") for reason, start in zip(reasons, starts, strict=True)] == [True] * 4


def test_a_job_on_a_suitable_machine_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, ROWS[0])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu_preflight, "_driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(cuda, "torch_release", lambda: (13, 0))
    monkeypatch.setattr(gpu_preflight, "SHARED_MEMORY", 0)
    monkeypatch.setattr(gpu_preflight, "OPEN_FILES", 0)
    monkeypatch.setattr(gpu_preflight, "_cautions", lambda facts: ["odd."])
    said: list[str] = []
    gpu_preflight.check_job("base", 1, 40, False, said.append)
    line, warning = said
    assert line.startswith("base: 1 GPU(s): NVIDIA A100-SXM4-40GB; driver 580.95.05; CUDA compiler: ")
    assert warning == "base: warning: odd."


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        (None, None),
        ("0,1", None),
        ("MIG-1,MIG-2", None),
        ("1", "has 1 that may be used: CUDA_VISIBLE_DEVICES is '1'."),
        ("", "has none that may be used: CUDA_VISIBLE_DEVICES is ''."),
        ("7", "has none that may be used: CUDA_VISIBLE_DEVICES is '7'."),
    ],
)
def test_only_gpus_that_may_be_used_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, message: str | None
) -> None:
    smi(tmp_path, monkeypatch, "0, GPU-1a2b, H100, 9.0, 1, 2", "1, GPU-3c4d, H100, 9.0, 1, 2", "No devices were found")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if message is None:
        check_device(Machine(gpus_per_node=2))
        return
    with pytest.raises(UserError) as error:
        check_device(Machine(gpus_per_node=2))
    assert message in str(error.value)


def test_a_machine_without_nvidia_smi_has_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = gpu_preflight.gather(None, str(tmp_path))
    assert facts.driver is None and facts.gpus == () and facts.glibc is not None and facts.free_disk > 0
    assert facts.cxx_error == "c++: No such file or directory"


def test_set_up_expects_the_release_of_the_lock() -> None:
    assert preflight_gpu.locked_release() == (13, 0)


def test_set_up_stops_with_every_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = NONE_VISIBLE._replace(glibc=(2, 28), cxx_error="error")
    monkeypatch.setattr(gpu_preflight, "gather", lambda *_: bad)
    assert preflight_gpu.main(str(tmp_path)) == 1
    warning, glibc, cxx, end = capsys.readouterr().err.splitlines()
    assert warning.startswith("preflight: warning: No GPU") and "2.28" in glibc and "C++20" in cxx
    assert end == "preflight: nothing was installed."
    monkeypatch.setattr(gpu_preflight, "gather", lambda *_: GOOD)
    assert preflight_gpu.main(str(tmp_path)) == 0
    assert capsys.readouterr() == ("preflight: glibc 2.34, 100 GiB of disk free: OK\n", "")


def test_make_setup_gpu_starts_with_the_preflight() -> None:
    said = subprocess.run(
        ["make", "-n", "setup-gpu", "GPU_STAMP=.venv/none"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    script, install = said.index("envs/preflight_gpu.py"), said.index("envs/install_gpu.py")
    assert script < install


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.12"])
def test_the_script_runs_with_other_pythons(version: str, tmp_path: Path) -> None:
    found = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} here")
    run = subprocess.run([found[-1], "-B", preflight_gpu.__file__, tmp_path], capture_output=True, text=True)
    assert "preflight: " in run.stdout + run.stderr and "Traceback" not in run.stderr
    assert ("Name a Python 3.11" in run.stderr) == (version == "2.7")


@pytest.mark.parametrize("module", OLD_PYTHONS)
def test_the_modules_that_run_before_set_up_stay_within_the_syntax_of_python_3_6(module: str) -> None:
    tree = ast.parse((ROOT / f"src/medrlvr/{module}.py").read_text(), feature_version=(3, 6))
    newer = (ast.NamedExpr, ast.Match)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    imported = {name for node in ast.walk(tree) for name in imported_names(node)}
    assert imported <= sys.stdlib_module_names | {"medrlvr"}


def imported_names(node: ast.AST) -> list[str]:
    """Return the top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    return [(node.module or "").split(".")[0]] if isinstance(node, ast.ImportFrom) else []


def test_a_job_checks_the_compiler_that_training_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    for name in [*(f"include/{name}" for name in cuda.HEADERS), *(f"lib64/{name}" for name in cuda.LIBRARIES)]:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    (site / "bin").mkdir()
    (site / "bin/nvcc").write_text("#!/bin/sh\necho release 13.0\n")
    (site / "bin/nvcc").chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(site))
    monkeypatch.setattr(cuda, "torch_release", lambda: (13, 0))
    facts = gpu_preflight.gather(cuda.torch_release(), str(tmp_path))
    assert str(facts.compiler.home) == environment.process_environment("gpu", 1, tmp_path)["CUDA_HOME"] == str(site)
