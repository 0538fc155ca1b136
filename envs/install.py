"""Create or complete the virtual environment .venv from torch.txt and cpu.lock; `make setup` runs this script.

    python3.11 envs/install.py STAMP

You can interrupt it at any time: the stamp is written last, and the next run keeps every complete package.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ENVS = Path(__file__).resolve().parent
VENV = ENVS.parent / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
PROJECT = "medrlvr"
"""This repository's own distribution, which is not in a lock file."""

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)
# This project imports none or few of these files. They are a third of the time to compile everything.
NOT_COMPILED = r"/tests?/|/torch/testing/|/transformers/models/|/vllm/model_executor/models/"

CUDA_BUILD = """\
torch {version} is a build for {build}. This set-up needs the CPU build, which is several GB smaller.
Open PyTorch's installation page (README.md links it), choose pip and CPU, copy the address after --index-url, and run
    make demo TORCH_INDEX_URL=<that address>
After set-up, `make demo` is enough."""


class Failure(Exception):
    """Set-up cannot continue; the text states why, and what to do."""


def canonical(name: str) -> str:
    """Return the canonical form of a distribution name, which is the same for all spellings of the name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: str) -> dict[str, str]:
    """Return canonical name -> version of every `name==version` in the text of a requirement or lock file."""
    return {canonical(match["name"]): match["version"] for match in PIN.finditer(requirements)}


def site_packages(venv: Path) -> Path:
    """Return the folder of a virtual environment that contains its packages."""
    return venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def expected(envs: Path = ENVS) -> dict[str, str]:
    """Return canonical name -> version of every distribution of the CPU environment, from its files in `envs`."""
    return pins("\n".join((envs / name).read_text() for name in ("pip.txt", "torch.txt", "cpu.lock")))


def require_cpu_build(version: str) -> None:
    """Reject a torch that is not a CPU build.

    Args:
        version: such as 2.13.0+cpu; the CUDA build of the default package index has no label after the number.

    Raises:
        Failure: it is not a CPU build; the text states what to do.
    """
    if not version.endswith("+cpu"):
        label = version.partition("+")[2]
        raise Failure(CUDA_BUILD.format(version=version, build=f"a GPU ({label})" if label else "CUDA"))


def installed(site: Path) -> dict[str, str]:
    """Return canonical name -> version of every complete distribution in a site-packages folder.

    pip writes RECORD last; without it, files may be missing.
    """
    names = (record.parent.name.removesuffix(".dist-info") for record in site.glob("*.dist-info/RECORD"))
    return {canonical(name): version for name, _, version in (stem.rpartition("-") for stem in names)}


def remove_half_installed(site: Path) -> None:
    """Delete the metadata of incomplete distributions, so that pip installs them again."""
    for folder in site.glob("*.dist-info"):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)


def is_usable(venv: Path, pip: str) -> bool:
    """Return whether an environment can be completed and need not be created again.

    It cannot be completed if it was moved (its scripts contain their old path), if its interpreter is missing or
    changed, if its pip is incomplete, or if pip was killed while it replaced a package (pip renames the old one ~name).

    Args:
        venv: the environment's folder.
        pip: the pinned version of pip.
    """
    configuration, site = venv / "pyvenv.cfg", site_packages(venv)
    if not configuration.exists() or not configuration.read_text().rstrip().endswith(f" {venv}"):
        return False
    if installed(site).get("pip") != pip or any(site.glob("~*")):
        return False
    python = venv / "bin" / "python"
    return python.exists() and subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0


def faults(lines: list[str]) -> str:
    """Return pip's errors: at most eight lines of its output from the first error on, or its last eight lines."""
    first = next((number for number, line in enumerate(lines) if line.startswith("ERROR")), -8)
    return "  " + "  ".join(lines[first:][:8]).rstrip()


def pip_install(*arguments: str, packages: int) -> None:
    """Run `pip install`, with one line of progress on a terminal and all of its output in the log.

    Args:
        arguments: what follows `pip install --no-deps`.
        packages: number of requirements that pip processes.

    Raises:
        Failure: pip failed; the text contains its errors.
    """
    command = [PYTHON, "-m", "pip", "install", "--no-deps", "--no-compile", "--progress-bar", "off", *arguments]
    temporary = VENV / "tmp"  # /tmp may be small; preflight.py has checked the space here
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"DS_BUILD_OPS": "0", "DS_ACCELERATOR": "cpu", "TMPDIR": str(temporary)}
    lines = []
    seen = 0
    with (
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
        LOG.open("a", buffering=1) as log,
    ):
        try:
            for line in process.stdout:
                log.write(line)
                lines.append(line)
                seen += line.startswith(("Collecting", "Processing", "Requirement already"))
                if sys.stdout.isatty():
                    state = "unpacking" if line.startswith("Installing") else f"{seen} of {packages}"
                    print(f"  {state:20}", end="\r", flush=True)
        except KeyboardInterrupt:
            try:
                process.wait(timeout=5)  # Ctrl-C also reached pip: let it restore the package that it was replacing
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    shutil.rmtree(temporary, ignore_errors=True)
    if process.returncode != 0:
        raise Failure(
            f"pip could not install {arguments[-1]}:\n{faults(lines)}\n"
            f"Its complete output is in {LOG}. Usual causes are a missing network (behind a proxy, set HTTPS_PROXY) or "
            "a full disk. The same command resumes the set-up."
        )


def compile_all(site: Path) -> None:
    """Byte-compile a site-packages folder on all cores, so that Ray workers need not do it when they start.

    The exit status is ignored, because some packages contain a file for another Python version. On an interruption the
    whole process group is killed, because compileall's helper processes would outlive it.
    """
    command = [PYTHON, "-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED, site]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def chosen_torch(index: list[str]) -> str:
    """Return the version of torch that pip would install, without downloading it.

    Args:
        index: pip's options for the index; empty for the user's own settings.

    Raises:
        Failure: pip finds no version.
    """
    command = [PYTHON, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed", *index]
    result = subprocess.run(
        [*command, "--report", "-", "-r", ENVS / "torch.txt"], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise Failure(
            f"pip found no torch that fits envs/torch.txt:\n{faults(result.stderr.splitlines(keepends=True))}\n"
            "Check the network. TORCH_INDEX_URL, if set, must be the address on PyTorch's installation page."
        )
    return json.loads(result.stdout)["install"][0]["metadata"]["version"]


def stage(text: str) -> None:
    """Print the name of a stage with the time since the start."""
    print(f"set-up [{time.monotonic() - STARTED:3.0f} s] {text}", flush=True)


def install(stamp: Path) -> None:
    """Install exactly the packages of pip.txt, torch.txt and cpu.lock into .venv, then write the stamp.

    Args:
        stamp: the file in .venv whose name contains a hash of these files and of the folder's path.

    Raises:
        Failure: a step failed; the text states what to do.
    """
    wanted, site = expected(), site_packages(VENV)
    for old in VENV.glob("installed-*"):
        old.unlink()
    if not is_usable(VENV, wanted["pip"]):
        stage(f"creating {VENV.name} (1.1 GB to download in total, 3.1 GB on disk)")
        shutil.rmtree(VENV, ignore_errors=True)
        result = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
        if result.returncode != 0:
            raise Failure(
                f"python -m venv failed:\n{result.stdout}{result.stderr}"
                "Correct this error and start the same command again."
            )
        pip_install("--require-hashes", "-r", str(ENVS / "pip.txt"), packages=1)
    remove_half_installed(site)
    have = installed(site)

    surplus = sorted(have.keys() - wanted.keys() - {PROJECT})
    if surplus:
        stage(f"removing packages that are no longer in the lock: {', '.join(surplus)}")
        subprocess.run([PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", *surplus])

    if have.get("torch") != wanted["torch"] + "+cpu":
        url = os.environ.get("TORCH_INDEX_URL")
        index = ["--index-url", url] if url else []
        require_cpu_build(chosen_torch(index))
        stage("installing torch")
        pip_install("--force-reinstall", *index, "-r", str(ENVS / "torch.txt"), packages=1)

    missing = wanted.items() - installed(site).items() - {("torch", wanted["torch"])}
    if missing:
        stage(f"installing {len(missing)} other packages")
        lock = str(ENVS / "cpu.lock")
        pip_install("--require-hashes", "--build-constraint", lock, "-r", lock, packages=len(wanted) - 2)
    stage("installing the command medrlvr")
    pip_install("--no-build-isolation", "--editable", str(ENVS.parent), packages=1)
    stage("compiling")
    compile_all(site)

    stage("testing torch")
    torch = subprocess.run([PYTHON, "-c", "import torch; print(torch.version.cuda)"], capture_output=True, text=True)
    if torch.stdout.strip() != "None":
        raise Failure(
            f"torch cannot be imported, or is not a CPU build:\n{torch.stdout}{torch.stderr}"
            "Delete .venv and start the same command again."
        )
    stamp.touch()
    stage("done")


def exit_status(set_up: Callable[[], None], stamp: Path) -> int:
    """Set up under a lock, so that two set-ups do not write to the same folder; return the exit status.

    Args:
        set_up: installs everything and writes the stamp.
        stamp: if it exists when the lock is taken, another set-up has just finished.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (ENVS / "cpu.lock").open("r+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stage("waiting for another set-up in this folder")
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not stamp.exists():
                set_up()
    except Failure as failure:
        print(f"set-up: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted. Start the same command again to finish it.", file=sys.stderr)
        return 130
    return 0


def main(stamp: Path) -> int:
    """Install the CPU environment; return the exit status."""
    return exit_status(lambda: install(stamp), stamp)


if __name__ == "__main__":
    STARTED = time.monotonic()
    sys.exit(main(Path(sys.argv[1]).absolute()))
