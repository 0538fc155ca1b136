"""Facts of a machine with GPUs, and what prevents set-up or a job there: each problem with its reason and a way out.

envs/preflight_gpu.py uses this module before any package is installed: standard library only, and Python 3.6.
"""

import ctypes
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Callable, Iterable, List, NamedTuple, Optional, Tuple

from medrlvr.runtime import cuda
from medrlvr.runtime.errors import UserError

GIB = 1 << 30
CAPABILITY = (8, 0)  # vLLM rejects bfloat16 on older GPUs (vllm/platforms/cuda.py)
GLIBC = (2, 31)  # llguidance has no wheel for an older one, and would be built from source with Rust
DISK = 12 * GIB  # measured with the CPU build of torch: 8 GB; the rest is for the CUDA build and temporary wheels
SHARED_MEMORY = GIB  # NCCL exchanges data between the GPUs of a node there; Docker's default is 64 MiB
OPEN_FILES = 4096  # below it Ray warns that workers may fail (ray/_private/worker.py)
FREE = 0.9  # share of machine.gpu_gib that must be free: gpu_gib may be the nominal size, and the driver keeps some
DRIVERS = {12: 525, 13: 580}
"""Major version of CUDA -> oldest driver that supports it (NVIDIA, CUDA Compatibility)."""

CXX20 = "#include <concepts>\ntemplate <std::integral T> T same(T x) { return x; }\nint main() { return same(0); }\n"
"""A program of C++20, which torch's headers need."""

_QUERY = "index,uuid,name,compute_cap,memory.free,memory.total"


class Gpu(NamedTuple):
    """A GPU that this process may use.

    Attributes:
        name: such as "NVIDIA A100-SXM4-40GB".
        capability: compute capability, such as (8, 0); None if unknown.
        free, total: its memory in bytes; None if unknown.
    """

    name: str
    capability: Optional[Tuple[int, int]]
    free: Optional[int]
    total: Optional[int]


class Facts(NamedTuple):
    """What the checks depend on.

    Attributes:
        torch_cuda: release of CUDA that torch is built for; None for a build without CUDA.
        driver: version of the NVIDIA driver; None if this machine has no GPU.
        driver_cuda: newest release of CUDA that libcuda.so.1 supports, also that of a forward-compatibility package;
            None if it cannot be loaded.
        gpus: the GPUs that this process may use; empty if they could not be listed.
        glibc: version; None for another C library.
        python_header: path of Python.h if it is missing, else None.
        cxx_error: first error of the C++ compiler when it compiles a program of C++20; None if it succeeds.
        compiler: the CUDA compiler.
        compiler_lacks: headers and libraries that the optimiser needs and neither the compiler's folder nor the
            packages have.
        free_disk: bytes in the folder of the environment.
        shared_memory: size of /dev/shm in bytes.
        open_files: hard limit.
        locked_memory: limit in bytes; None without limit.
        infiniband: whether the machine has InfiniBand.
        overriding: libraries on LD_LIBRARY_PATH that are loaded instead of those that the packages contain.
    """

    torch_cuda: Optional[cuda.Release]
    driver: Optional[str]
    driver_cuda: Optional[cuda.Release]
    gpus: Tuple[Gpu, ...]
    glibc: Optional[Tuple[int, int]]
    python_header: Optional[str]
    cxx_error: Optional[str]
    compiler: cuda.Compiler
    compiler_lacks: Tuple[str, ...]
    free_disk: int
    shared_memory: int
    open_files: int
    locked_memory: Optional[int]
    infiniband: bool
    overriding: Tuple[str, ...]


def setup_problems(facts: Facts) -> List[str]:
    """Return what prevents set-up, or jobs on machines like this one.

    Without a GPU, as on a login node, nothing is said about GPUs.
    """
    checks = [_glibc, _python_header, _cxx, _disk]
    return _found(facts, checks if facts.driver is None else [*checks, _driver, _capability])


def setup_cautions(facts: Facts) -> List[str]:
    """Return what the user should know before set-up, and what only a job can check."""
    no_gpu = "No GPU is visible here. Each job checks the driver and its GPUs when it starts."
    return [*([no_gpu] if facts.driver is None else []), *_passed_over(facts), *_cautions(facts)]


def job_problems(facts: Facts, gpus: int, gib: float, compiles: bool) -> List[str]:
    """Return what prevents a job.

    Args:
        gpus: number of GPUs that it uses.
        gib: memory in GiB that it may use on each.
        compiles: whether it compiles DeepSpeed's optimiser.
    """
    if facts.driver is None:
        return [
            "No GPU is visible: nvidia-smi is missing or lists none. Request one from Slurm (slurm/config.yaml); in a"
            " container, pass the GPUs (docker: --gpus all, apptainer: --nv)."
        ]
    found = _found(facts, [_torch, _driver, _capability, _shared_memory, _open_files])
    found += _count(facts.gpus, gpus) + _memory(facts.gpus[:gpus], gib)
    return found + (_found(facts, [_python_header, _cxx, _compiler]) if compiles else [])


def check_job(step: str, gpus: int, gib: float, compiles: bool, notify: Callable[[str], None]) -> None:
    """Check this machine when a job starts, before any of its processes imports torch.

    Args:
        step: name of the step in the printed lines.
        gpus, gib, compiles: as for `job_problems`.
        notify: prints a line: one on the GPUs, and one for each caution.

    Raises:
        UserError: all problems at once.
    """
    facts = gather(cuda.torch_release(), ".")
    problems = job_problems(facts, gpus, gib, compiles)
    if problems:
        raise UserError("\n".join([f"{platform.node()} cannot run this step:", *(f"  - {text}" for text in problems)]))
    notify(f"{step}: {describe(facts, gpus)}")
    for text in [*(_passed_over(facts) if compiles else []), *_cautions(facts)]:
        notify(f"{step}: warning: {text}")


def describe(facts: Facts, gpus: int) -> str:
    """Return a line on the GPUs that a job uses, the driver and the CUDA compiler."""
    names = ", ".join(sorted({gpu.name for gpu in facts.gpus[:gpus]})) or "unknown"
    compiler = facts.compiler
    nvcc = f"{compiler.home} (CUDA {cuda.as_text(compiler.release)})" if compiler.release else "none"
    return f"{gpus} GPU(s): {names}; driver {facts.driver}; CUDA compiler: {nvcc}"


def _passed_over(facts: Facts) -> List[str]:
    """Return a sentence for each CUDA compiler that is not used, with the one that is."""
    used = facts.compiler.home or "The compiler of the locked packages"
    return [f"{sentence} {used} is used instead." for sentence in facts.compiler.rejected]


def _found(facts: Facts, checks: Iterable[Callable[[Facts], Optional[str]]]) -> List[str]:
    return [text for text in (check(facts) for check in checks) if text]


def _torch(facts: Facts) -> Optional[str]:
    if facts.torch_cuda is not None:
        return None
    return "torch is missing or is a build without CUDA. Run `make setup-gpu` with an index that has the CUDA build."


def _driver(facts: Facts) -> Optional[str]:
    if facts.torch_cuda is None:
        return None
    if facts.driver_cuda is None:
        return (
            "The driver's library libcuda.so.1 cannot be loaded. In a container, pass the GPUs with their compute"
            " libraries (docker: --gpus all, apptainer: --nv)."
        )
    if facts.driver_cuda[0] >= facts.torch_cuda[0]:
        return None
    needed = DRIVERS.get(facts.torch_cuda[0])
    return (
        f"The NVIDIA driver {facts.driver} supports CUDA {cuda.as_text(facts.driver_cuda)}, but torch is built for CUDA"
        f" {cuda.as_text(facts.torch_cuda)}{f', which needs driver {needed} or newer' if needed else ''}. Ask the"
        " administrators for a newer driver. On a data-center GPU, NVIDIA's forward-compatibility package"
        " (cuda-compat) is enough, if its folder is on LD_LIBRARY_PATH."
    )


def _capability(facts: Facts) -> Optional[str]:
    known = {gpu.name: gpu.capability for gpu in facts.gpus if gpu.capability is not None}
    old = [f"{name} ({found[0]}.{found[1]})" for name, found in sorted(known.items()) if found < CAPABILITY]
    if not old:
        return None
    return (
        f"{', '.join(old)}: the compute capability is below {CAPABILITY[0]}.{CAPABILITY[1]}, so vLLM rejects bfloat16."
        " Use an Ampere GPU or a newer one, such as A10, A100, L4, L40S or H100. On Slurm, name it in machine.gpu_type."
    )


def _count(found: Tuple[Gpu, ...], needed: int) -> List[str]:
    if not found or len(found) >= needed:
        return []
    return [
        f"This job uses {needed} GPUs, but only {len(found)} are visible. Lower machine.gpus_per_node and"
        " machine.vllm_engines, or request more GPUs from Slurm."
    ]


def _memory(used: Iterable[Gpu], gib: float) -> List[str]:
    """Return a problem for each GPU on which another process leaves too little memory."""
    found = []
    for number, gpu in enumerate(used):
        if gpu.free is None or gpu.total is None:
            continue
        needed = FREE * min(gib * GIB, gpu.total)
        if gpu.free < needed:
            found.append(
                f"GPU {number} has {gpu.free / GIB:.1f} of {gpu.total / GIB:.1f} GiB free, but this job uses up to"
                f" {min(gib, gpu.total / GIB):.1f} GiB (machine.gpu_gib). `nvidia-smi` lists the processes that use"
                " it. End them, or choose another GPU with CUDA_VISIBLE_DEVICES."
            )
    return found


def _glibc(facts: Facts) -> Optional[str]:
    if facts.glibc is not None and facts.glibc >= GLIBC:
        return None
    have = "not glibc" if facts.glibc is None else "glibc {}.{}".format(*facts.glibc)
    return (
        f"The C library is {have}, but the locked packages need glibc {GLIBC[0]}.{GLIBC[1]}. Use Ubuntu 20.04,"
        " Debian 11, RHEL 9 or newer, for example in a container (apptainer)."
    )


def _python_header(facts: Facts) -> Optional[str]:
    if facts.python_header is None:
        return None
    return (
        f"{facts.python_header} is missing. Triton and DeepSpeed compile against it. Install Python's headers (Debian,"
        " Ubuntu: python3.11-dev; RHEL: python3.11-devel), or use a Python that contains them: an environment module,"
        " `uv python install 3.11` or conda."
    )


def _cxx(facts: Facts) -> Optional[str]:
    if facts.cxx_error is None:
        return None
    return (
        f"The C++ compiler cannot compile C++20, which torch's headers need: {facts.cxx_error}. Provide g++ 10 or newer"
        " as `c++`, or name a compiler in the variable CXX. On a cluster, load a module (gcc); jobs inherit it. Debian,"
        " Ubuntu: g++; RHEL 8: gcc-toolset-12."
    )


def _disk(facts: Facts) -> Optional[str]:
    if facts.free_disk >= DISK:
        return None
    return (
        f"{facts.free_disk / GIB:.1f} GiB of disk is free in this folder, but set-up needs up to {DISK / GIB:.0f} GiB."
        " Free some space, or clone into a larger file system."
    )


def _compiler(facts: Facts) -> Optional[str]:
    if facts.torch_cuda is None:
        return None
    wanted = f"CUDA {facts.torch_cuda[0]}"
    rejected = "".join(f" {sentence}" for sentence in facts.compiler.rejected)
    way_out = f"Load the site's module for {wanted}, set CUDA_HOME, or run `make setup-gpu`, which installs a compiler."
    if facts.compiler.home is None:
        return f"No compiler of {wanted} was found. DeepSpeed compiles its optimiser with it.{rejected} {way_out}"
    if facts.compiler_lacks:
        return f"{facts.compiler.home} lacks {', '.join(facts.compiler_lacks)}, as do the packages. {way_out}"
    return None


def _shared_memory(facts: Facts) -> Optional[str]:
    if facts.shared_memory >= SHARED_MEMORY:
        return None
    return (
        f"/dev/shm has {facts.shared_memory / GIB:.2f} GiB, but NCCL and Ray exchange data there and need at least"
        f" {SHARED_MEMORY / GIB:.0f} GiB. Start the container with --shm-size=16g or --ipc=host."
    )


def _open_files(facts: Facts) -> Optional[str]:
    if facts.open_files >= OPEN_FILES:
        return None
    return (
        f"A process may open only {facts.open_files} files; Ray needs a limit of {OPEN_FILES} or more. Raise the hard"
        " limit (`ulimit -Hn`): in /etc/security/limits.conf, or in a container (docker: --ulimit nofile=65536)."
    )


def _cautions(facts: Facts) -> List[str]:
    found = [
        f"{path} on LD_LIBRARY_PATH may be loaded instead of the library in the packages. Remove its folder from"
        " LD_LIBRARY_PATH, or unload the module that added it, if training fails."
        for path in facts.overriding
    ]
    if facts.infiniband and facts.locked_memory is not None:
        found.append(
            f"A process may lock {facts.locked_memory // 1024} KiB of memory (`ulimit -l`), but NCCL needs more for"
            " InfiniBand. Ask the administrators for `memlock unlimited`, if training on several nodes fails."
        )
    return found


def gather(torch_cuda: Optional[cuda.Release], folder: str) -> Facts:
    """Return the facts of this machine.

    Args:
        torch_cuda: release of CUDA that torch is built for, or will be.
        folder: folder of the environment.
    """
    driver = _smi("driver_version")
    packages = cuda.package_homes()
    homes = [*cuda.site_homes(), *packages]
    compiler = cuda.find_compiler(torch_cuda, homes) if torch_cuda else cuda.Compiler(None, None, ())
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Facts(
        torch_cuda=torch_cuda,
        driver=driver[0] if driver else None,
        driver_cuda=_driver_cuda(),
        gpus=visible_gpus(),
        glibc=_glibc_version(),
        python_header=None if header.is_file() else str(header),
        cxx_error=cxx_error(shlex.split(os.environ.get("CXX", "c++"))),
        compiler=compiler,
        compiler_lacks=tuple(cuda.lacks(compiler.home, packages)) if compiler.home else (),
        free_disk=shutil.disk_usage(folder).free,
        shared_memory=shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0,
        open_files=2**63 if open_files == resource.RLIM_INFINITY else open_files,
        locked_memory=None if locked == resource.RLIM_INFINITY else locked,
        infiniband=os.path.isdir("/sys/class/infiniband"),
        overriding=tuple(_overriding(os.environ.get("LD_LIBRARY_PATH", ""))),
    )


def visible_gpus() -> Tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in its own order."""
    return parse_gpus(_smi(_QUERY), os.environ.get("CUDA_VISIBLE_DEVICES"))


def listed_gpus() -> Tuple[Gpu, ...]:
    """Return all GPUs of this machine."""
    return parse_gpus(_smi(_QUERY), None)


def count_visible() -> int:
    """Return the number of GPUs, and of parts of a GPU (MIG), that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return len(visible_gpus()) + sum(name.strip().startswith("MIG-") for name in visible.split(","))


def parse_gpus(rows: Iterable[str], visible: Optional[str]) -> Tuple[Gpu, ...]:
    """Return the GPUs that a process may use, in its own order.

    Args:
        rows: lines of nvidia-smi with the columns of `_QUERY`; a value that it does not know is in brackets. Other
            lines, such as "No devices were found", are skipped.
        visible: CUDA_VISIBLE_DEVICES: indices or UUIDs, which may be shortened; None: all. Parts of a GPU (MIG) are in
            no row, so nothing is known about them.
    """
    found = []
    for row in rows:
        values = [value.strip() for value in row.split(",")]
        if len(values) != len(_QUERY.split(",")):
            continue
        index, uuid, name, capability, free, total = values
        major, _, minor = capability.partition(".")
        known = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        found.append((index, uuid, Gpu(name, known, _mebibytes(free), _mebibytes(total))))
    if visible is None:
        return tuple(gpu for _, _, gpu in found)
    wanted = [name.strip() for name in visible.split(",") if name.strip()]
    return tuple(gpu for name in wanted for index, uuid, gpu in found if _names(name, index, uuid))


def _names(name: str, index: str, uuid: str) -> bool:
    return name == index if name.isdigit() else uuid.startswith(name)


def cxx_error(compiler: List[str]) -> Optional[str]:
    """Return the first error of a C++ compiler for a program of C++20; None if it compiles.

    Args:
        compiler: command, with its own options.
    """
    command = [*compiler, "-std=c++20", "-x", "c++", "-c", "-", "-o", os.devnull]
    try:
        run = subprocess.run(
            command, input=CXX20, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True
        )
    except OSError as error:
        return f"{compiler[0]}: {error.strerror}"
    errors = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
    return (errors or [f"status {run.returncode}"])[0] if run.returncode else None


def _smi(columns: str) -> List[str]:
    """Return the rows that nvidia-smi prints; empty without it, without a GPU, or if it does not know a column."""
    command = ["nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits"]
    try:
        run = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()] if run.returncode == 0 else []


def _mebibytes(text: str) -> Optional[int]:
    return int(text) << 20 if text.isdigit() else None


def _driver_cuda() -> Optional[cuda.Release]:
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def _glibc_version() -> Optional[Tuple[int, int]]:
    try:
        version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1]
    except (ValueError, OSError, IndexError):  # another C library does not know the name, or has no value for it
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _overriding(library_path: str) -> Iterable[str]:
    for folder in filter(None, library_path.split(os.pathsep)):
        for name in ("libnccl.so.2", "libcudnn.so.9"):
            path = Path(folder, name)
            if path.exists():
                yield str(path.resolve())
