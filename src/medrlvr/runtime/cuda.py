"""The CUDA compiler that DeepSpeed compiles its optimiser with, at the first start of training.

envs/preflight_gpu.py imports this module before any package is installed: standard library only, and Python 3.6.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from importlib import util
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

Release = Tuple[int, int]
"""Major and minor version of CUDA."""

SITES_OWN = Path("/usr/local/cuda")
"""Where CUDA is installed by default."""

HEADERS = ("cuda_runtime.h", "cublas_v2.h", "cusparse.h", "cusolverDn.h", "curand.h")
"""Headers that torch's own headers and DeepSpeed's optimisers include."""

LIBRARIES = ("libcudart.so", "libcublas.so", "libcurand.so")
"""Libraries that the optimisers link: the first on GPUs, all three if the optimiser is offloaded to the host."""

_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib")

LINKS = Path(__file__).resolve().parents[3] / ".cuda"
"""Folder for `usable_home`, in the repository: all nodes see it, and no run deletes it."""


class Compiler(NamedTuple):
    """A CUDA compiler of the release that torch needs, and compilers that were passed over.

    Attributes:
        home: folder with bin/nvcc and include/cuda_runtime.h; None if none is suitable.
        release: its version; None without one.
        rejected: a sentence for each compiler that was passed over.
    """

    home: Optional[Path]
    release: Optional[Release]
    rejected: Tuple[str, ...]


def torch_release() -> Optional[Release]:
    """Return the CUDA release that the installed torch is built for; None without torch, or for a build without CUDA.

    It reads torch's version.py: importing torch needs seconds, and loads CUDA's libraries.
    """
    found = util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    version = Path(found.origin).with_name("version.py")
    match = re.search(r"^cuda\b.*?=\s*['\"](\d+)\.(\d+)", version.read_text(), re.MULTILINE)
    return (int(match.group(1)), int(match.group(2))) if match else None


def compiler_release(home: Path) -> Optional[Release]:
    """Return the release that home/bin/nvcc reports; None if it does not exist, does not run or reports none."""
    try:
        run = subprocess.run(
            [str(home / "bin" / "nvcc"), "-V"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    match = re.search(r"release (\d+)\.(\d+)", run.stdout)
    return (int(match.group(1)), int(match.group(2))) if match else None


def package_homes() -> List[Path]:
    """Return the folders of NVIDIA's packages for CUDA 13, the compiler's and torch's.

    There are several if an environment uses the packages of another one, as with an image that contains torch.
    """
    found = util.find_spec("nvidia")
    homes = [Path(place, "cu13") for place in (found and found.submodule_search_locations) or ()]
    return [home for home in homes if home.is_dir()]


def site_homes() -> List[Path]:
    """Return the folders of the site's CUDA, in order of precedence: CUDA_HOME, nvcc on PATH, /usr/local/cuda."""
    named, on_path = os.environ.get("CUDA_HOME"), shutil.which("nvcc")
    homes = [Path(named)] if named else []
    homes += [Path(on_path).resolve().parents[1]] if on_path else []
    return list(dict.fromkeys([*homes, SITES_OWN]))


def find_compiler(wanted: Release, homes: Sequence[Path]) -> Compiler:
    """Return the first compiler with torch's major version; a folder with only CUDA's run time does not count.

    Args:
        wanted: the release that torch is built for.
        homes: folders of CUDA, in order of precedence. One that does not exist is passed over silently.
    """
    rejected = []  # type: List[str]
    for home in homes:
        if not home.exists():
            continue
        release = compiler_release(home)
        if release is None:
            rejected.append(f"{home} has no bin/nvcc that reports its release.")
        elif release[0] != wanted[0]:
            rejected.append(f"{home} has CUDA {as_text(release)}, but torch is built for CUDA {as_text(wanted)}.")
        elif not (home / "include" / HEADERS[0]).is_file():
            rejected.append(f"{home} has CUDA {as_text(release)}, but no include/{HEADERS[0]}.")
        else:
            return Compiler(home, release, tuple(rejected))
    return Compiler(None, None, tuple(rejected))


def as_text(release: Release) -> str:
    """Return a release as "13.0"."""
    return "{}.{}".format(*release)


def missing(home: Path) -> List[str]:
    """Return the headers and libraries that the optimisers need and this CUDA folder lacks."""
    headers = [name for name in HEADERS if not (home / "include" / name).is_file()]
    # torch links from lib64, and from lib only if there is no lib64.
    folder = home / ("lib64" if (home / "lib64").exists() else "lib")
    return headers + [name for name in LIBRARIES if not (folder / name).is_file()]


def lacks(compiler: Path, packages: Sequence[Path]) -> List[str]:
    """Return what is missing even from the folder of links that `usable_home` would create."""
    links = _links(compiler, packages)
    lost = [*(f"include/{name}" for name in HEADERS), *(f"lib64/{name}" for name in LIBRARIES)]
    return [name for name in lost if name not in links]


def usable_home(compiler: Path, packages: Sequence[Path], folder: Path) -> Path:
    """Return the compiler's own folder if it is complete, else a folder of links that `packages` completes.

    The packages' own libraries need such links too: their names end in a version, so a linker does not find them.

    Args:
        compiler: home of the compiler.
        packages: as `package_homes` returns them.
        folder: receives the folder of links, under a name that is a hash of the links.
    """
    if not missing(compiler):
        return compiler
    links = _links(compiler, packages)
    key = hashlib.sha256(repr(sorted(links.items())).encode()).hexdigest()[:12]
    made = folder / key
    if not made.exists():
        _make(links, made)
    return made


def _links(compiler: Path, packages: Sequence[Path]) -> Dict[str, str]:
    """Return path in the folder of links -> target; the compiler's own files take precedence."""
    links = {name: str(compiler / name) for name in ("bin", "nvvm") if (compiler / name).exists()}
    for part in (compiler, *packages):
        for header in sorted(part.glob("include/*")):
            links.setdefault(f"include/{header.name}", str(header))
        for library in _libraries(part):
            links.setdefault(f"lib64/{library.name}", str(library))
    for name, target in list(links.items()):
        links.setdefault(re.sub(r"\.so\.[\d.]+$", ".so", name), target)
    return links


def _libraries(home: Path) -> Iterator[Path]:
    for folder in _FOLDERS:
        for pattern in ("*.so*", "*.a"):
            yield from sorted((home / folder).glob(pattern))


def _make(links: Dict[str, str], made: Path) -> None:
    """Create the folder of links in one step, so that no process finds half of it."""
    made.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=str(made.parent)))
    temporary.chmod(0o755)
    for name, target in links.items():
        link = temporary / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
    try:
        temporary.rename(made)
    except OSError:  # another process has just created it
        shutil.rmtree(str(temporary))
        if not made.exists():
            raise
