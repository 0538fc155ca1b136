"""Create the virtual environment .venv for GPUs, from an index or a wheelhouse; `make setup-gpu` runs this script.

    python3.11 envs/install_gpu.py STAMP [WHEELHOUSE]

A wheelhouse (wheelhouse.py) is installed without a network. If it is for an image, run this script with the image's
Python. The packages of the image then stay visible, and those of .venv take precedence.
"""

import platform
import shutil
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import install
from install import (
    ENVS,
    PYTHON,
    VENV,
    Failure,
    compile_all,
    exit_status,
    installed,
    pins,
    pip_install,
    site_packages,
    stage,
)
from wheelhouse import Manifest, digest_of_locks, join, python_version, read_manifest

BELOW = "image.pth"
"""File in site-packages that adds the folders of the image. Python reads it at each start."""


def require_python(version: str) -> None:
    """Reject a machine other than x86-64 and a Python of another version than `version`, such as 3.12.

    Raises:
        Failure: the text states what to do.
    """
    if platform.machine() != "x86_64":
        raise Failure(f"This machine is {platform.machine()}. The locked packages exist for x86_64 only.")
    if "{}.{}".format(*sys.version_info) != version:
        raise Failure(f"{sys.executable} is not Python {version}. Name a Python {version} with PYTHON=...")


def require_same_locks(manifest: Manifest, folder: Path) -> None:
    """Reject a wheelhouse that was collected from other requirement files than those of this clone.

    Raises:
        Failure: the text states what to do.
    """
    if manifest.lock != digest_of_locks(manifest.image):
        raise Failure(
            f"{folder} was collected from other requirement files than those in {ENVS}. "
            "Check out the commit that created it, or create it again with `make wheelhouse`."
        )


def image_problems(wanted: dict[str, str], found: dict[str, str]) -> tuple[list[str], list[str]]:
    """Compare the packages of an image with those that the set-up was tested with.

    Args:
        wanted: canonical name -> version, from the image's list.
        found: canonical name -> version of what is installed in the image.

    Returns:
        Reasons why the image cannot be used, and differences that are probably harmless.
    """
    faulty, different = [], []
    for name, version in wanted.items():
        have = found.get(name)
        if have is None:
            faulty.append(f"{name} is missing")
        elif have.partition("+")[0] != version:
            (faulty if name in ("torch", "triton") else different).append(f"{name} {have} instead of {version}")
    return faulty, different


def require_image(image: str, folders: list[Path]) -> None:
    """Check that the image has the packages that the wheelhouse leaves to it, and print those of another version.

    Args:
        image: name of a folder in envs/.
        folders: the image's folders with packages.

    Raises:
        Failure: packages are missing, or torch or triton has another version.
    """
    wanted = pins((ENVS / image / "image.txt").read_text())
    del wanted["python"]
    found: dict[str, str] = {}
    for folder in reversed(folders):  # the first folder takes precedence
        found |= installed(folder)
    faulty, different = image_problems(wanted, found)
    if faulty:
        raise Failure(
            f"The packages of {sys.executable} do not fit this wheelhouse, which needs envs/{image}/image.txt:\n  "
            + "\n  ".join(faulty)
            + "\nName the image's own Python with PYTHON=..., or use a wheelhouse without image."
        )
    if different:
        print(f"  Versions that were not tested: {', '.join(different)}.", flush=True)


def create_venv(*options: str) -> None:
    """Create .venv from scratch; the options are those of `python -m venv`.

    Raises:
        Failure: venv failed; the text contains its output.
    """
    if VENV.is_symlink():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    result = subprocess.run([sys.executable, "-m", "venv", *options, VENV], capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"python -m venv failed:\n{result.stdout}{result.stderr}Correct this error and start again.")


def install_from_index() -> None:
    """Install pip, torch and the packages of gpu.lock.

    Raises:
        Failure: a step failed; the text states what to do.
    """
    require_python(python_version(""))
    stage("creating .venv")
    create_venv()
    pip_install("--require-hashes", "-r", str(ENVS / "pip.txt"), packages=1)
    stage("installing torch with CUDA")
    pip_install("-r", str(ENVS / "torch.txt"), packages=1)
    lock = ENVS / "gpu.lock"
    packages = len(pins(lock.read_text()))
    stage(f"installing {packages} other packages")
    pip_install("--require-hashes", "--build-constraint", str(lock), "-r", str(lock), packages=packages)


def install_from_wheelhouse(folder: Path) -> list[Path]:
    """Install the packages of a wheelhouse, without a network.

    Returns:
        Folders of the image's packages, which must become visible below those of .venv; none without image.

    Raises:
        Failure: the wheelhouse is not complete, this Python or image does not fit it, or a step failed.
    """
    manifest = read_manifest(folder)
    require_python(manifest.python)
    require_same_locks(manifest, folder)
    folders = [path for path in map(Path, site.getsitepackages()) if path.is_dir()] if manifest.image else []
    if manifest.image:
        require_image(manifest.image, folders)
    stage("checking the wheelhouse")
    with tempfile.TemporaryDirectory(dir=ENVS.parent) as temporary:
        wheels = join(folder, manifest, Path(temporary))
        stage(f"installing {len(wheels)} packages from {folder}")
        create_venv("--without-pip")  # ensurepip is not part of every Python
        pip = next(wheel for wheel in wheels if wheel.name.startswith("pip-"))
        offline = ["--no-index", "--no-deps", "--quiet"]
        subprocess.run([PYTHON, pip / "pip", "install", *offline, pip], check=True)
        pip_install("--no-index", *map(str, wheels), packages=len(wheels))
    return folders


def show_below(folders: list[Path], target: Path) -> None:
    """Make the packages of an image visible below those of .venv.

    `--system-site-packages` would not: the image's Python can itself be a virtual environment. `addsitedir` also reads
    the .pth files of these folders.

    Args:
        folders: the image's folders with packages.
        target: site-packages of .venv.
    """
    (target / BELOW).write_text("".join(f"import site; site.addsitedir({str(folder)!r})\n" for folder in folders))


def require_cuda_build() -> None:
    """Import torch.

    Raises:
        Failure: torch cannot be imported, or is not a CUDA build.
    """
    command = "import torch; print(torch.__version__, torch.version.cuda)"
    torch = subprocess.run([PYTHON, "-c", command], capture_output=True, text=True)
    if torch.returncode != 0 or torch.stdout.split()[1] == "None":
        raise Failure(
            f"torch cannot be imported, or is not a CUDA build:\n{torch.stdout}{torch.stderr}"
            "PIP_INDEX_URL, if set, must name an index that has one."
        )


def setup(stamp: Path, wheelhouse: Path | None) -> None:
    """Install all packages into .venv and write the stamp.

    Args:
        stamp: the file in .venv whose name contains a hash of the requirement files.
        wheelhouse: the folder to install from; None for the package index.

    Raises:
        Failure: a step failed; the text states what to do.
    """
    folders: list[Path] = []
    if wheelhouse is None:
        install_from_index()
    else:
        folders = install_from_wheelhouse(wheelhouse)
    stage("installing the command medrlvr")
    pip_install("--no-index", "--no-build-isolation", "--editable", str(ENVS.parent), packages=1)
    target = site_packages(VENV)
    if folders:
        show_below(folders, target)  # only now, because pip would not install what the image has in the same version
    stage("compiling")
    compile_all(target)
    stage("testing torch")
    require_cuda_build()
    stamp.touch()
    stage("done")


def main(arguments: list[str]) -> int:
    """Install as the command line demands; return the exit status."""
    stamp, *wheelhouse = (Path(argument).absolute() for argument in arguments)
    return exit_status(lambda: setup(stamp, wheelhouse[0] if wheelhouse else None), stamp)


if __name__ == "__main__":
    install.STARTED = time.monotonic()
    sys.exit(main(sys.argv[1:]))
