"""Check whether the CPU environment can be installed on this machine, before anything is installed.

    python envs/preflight.py [folder]

It prints all problems at once, each with a solution. The exit status is 1 if there is any. This file uses only the
syntax of Python 2.7, because it must run even if the interpreter is too old.
"""

from __future__ import print_function

import collections
import ctypes
import os
import platform
import re
import sys

GB = 10**9
PYTHON = (3, 11)  # envs/*.lock are resolved only for this version
GLIBC = (2, 35)  # envs/*.lock are resolved for manylinux_2_35: Ubuntu 22.04, Debian 12 and newer
DISK = 6 * GB  # measured: 3.2 GB installed and 1.4 GB of temporary wheels; the rest is for results
MEMORY = 8 * GB
UNSAFE = r"""[\s'"$`&(){}\[\];<>|*?!#~^\\]"""  # as in src/medrlvr/pipeline/preflight.py

Facts = collections.namedtuple(
    "Facts",
    [
        "system",  # "Linux", "Darwin", "Windows", ...
        "machine",  # "x86_64", "aarch64", ...
        "processor_flags",  # set of names from /proc/cpuinfo; None if they could not be read
        "glibc",  # (2, 36); None for another C library
        "python",  # (3, 11, 7)
        "implementation",  # "CPython", "PyPy", ...
        "executable",  # path of the interpreter
        "has_venv",  # whether `python -m venv` can create an environment with pip
        "writable",  # whether this user may write to the folder
        "free_disk",  # bytes that a user may still write to the folder
        "installed",  # bytes in .venv from an earlier, unfinished set-up
        "free_memory",  # bytes; None if unknown
        "folder",  # absolute path of the repository
    ],
)


def problems(facts):
    """Return the problems that prevent the set-up: a list of texts, each with a problem and a solution.

    Args:
        facts: as `gather` returns them.
    """
    found = []
    if facts.system != "Linux":
        way_out = (
            "Use WSL 2 (`wsl --install -d Ubuntu-22.04`) and start again inside it."
            if facts.system == "Windows"
            else "Use a Linux machine on x86-64; two cores and 8 GB of memory are enough."
        )
        found.append(
            "{} is not supported: the locked CPU builds of vLLM and torch exist for Linux only. {}".format(
                {"Darwin": "macOS"}.get(facts.system, facts.system), way_out
            )
        )
    if facts.machine.lower() not in ("x86_64", "amd64"):
        found.append(
            "The processor is {}, not x86-64; the packages are locked for x86-64. "
            "Use a machine with an Intel or AMD processor.".format(facts.machine or "of an unknown kind")
        )
    elif facts.processor_flags is not None and "avx2" not in facts.processor_flags:
        found.append(
            "The processor has no AVX2, which vLLM's CPU build needs. Use a newer processor (Intel since 2013, AMD "
            "since 2015); inside a virtual machine, pass the host's processor through (`-cpu host` in QEMU)."
        )
    if facts.system == "Linux" and (facts.glibc is None or facts.glibc < GLIBC):
        found.append(
            "The C library is {}, but the locked packages need glibc {}.{}. "
            "Use Debian 12, Ubuntu 22.04 or newer.".format(
                "not glibc" if facts.glibc is None else "glibc {}.{}".format(*facts.glibc), *GLIBC
            )
        )
    if facts.python[:2] != PYTHON or facts.implementation != "CPython":
        found.append(
            "{} is {} {}, but the packages are locked for CPython {}.{}. Install that version too (Debian 12, "
            "Ubuntu 22.04: `sudo apt install python3.11 python3.11-venv`; elsewhere: `uv python install 3.11`, `pyenv "
            "install 3.11` or conda) and run `make demo PYTHON=/path/to/python3.11`.".format(
                facts.executable, facts.implementation, ".".join(map(str, facts.python)), *PYTHON
            )
        )
    elif not facts.has_venv:
        found.append(
            "{} cannot create virtual environments: its venv or ensurepip module is missing. "
            "On Debian and Ubuntu: `sudo apt install python3.11-venv`.".format(facts.executable)
        )
    if not facts.writable:
        found.append("This folder cannot be written to. Clone into a folder in which you can write.")
    needed = max(DISK - facts.installed, GB)
    if facts.free_disk < needed:
        found.append(
            "{:.1f} GB of disk is free in this folder, but set-up and results still need {:.1f} GB. "
            "Free some space, or clone into a larger file system.".format(
                facts.free_disk / float(GB), needed / float(GB)
            )
        )
    unsafe = re.search(UNSAFE, facts.folder)
    if unsafe:
        found.append(
            "The folder {} has {!r} in its path. Snakemake does not quote paths in shell commands, so every run would "
            "fail. Clone into a folder whose path has only letters, digits and . _ - /".format(
                facts.folder, str(unsafe.group(0))
            )
        )
    return found


def cautions(facts):
    """Return warnings about problems that may occur later, as a list of texts.

    Args:
        facts: as `gather` returns them.
    """
    if facts.free_memory is None or facts.free_memory >= MEMORY:
        return []
    return [
        "{:.1f} GB of memory is free; the miniature experiment is meant for {:.0f} GB. "
        "If a run is killed, close other programs first.".format(facts.free_memory / float(GB), MEMORY / float(GB))
    ]


def gather(folder):
    """Return the facts of this machine, as `Facts`.

    Args:
        folder: the folder for .venv and results.
    """
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401

        has_venv = True
    except ImportError:
        has_venv = False
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        processor_flags=parse_processor_flags(read("/proc/cpuinfo")),
        glibc=glibc_version(),
        python=tuple(sys.version_info[:3]),
        implementation=platform.python_implementation(),
        executable=sys.executable,
        has_venv=has_venv,
        writable=os.access(folder, os.W_OK),
        free_disk=free_disk(folder),
        installed=size_of(os.path.join(folder, ".venv")),
        free_memory=parse_free_memory(read("/proc/meminfo"), read("/sys/fs/cgroup/memory.max")),
        folder=os.path.abspath(folder),
    )


def read(path):
    """Return the text of a kernel file; empty if it cannot be read."""
    try:
        with open(path) as handle:
            return handle.read()
    except (IOError, OSError):
        return ""


def parse_processor_flags(cpuinfo):
    """Return the flags of the first processor in the text of /proc/cpuinfo, as a set; None if it lists none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return None


def parse_free_memory(meminfo, limit):
    """Return the bytes of memory that a new process may use; None if unknown.

    Args:
        meminfo: the text of /proc/meminfo.
        limit: the text of the control group's memory.max: bytes, "max" or empty. The current usage of the group is not
            subtracted, because most of it is file cache, which the kernel can free.
    """
    free = [int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    return min(free + ([int(limit)] if limit.strip().isdigit() else [])) if free else None


def glibc_version():
    """Return the version of glibc as two numbers; None for another C library."""
    try:
        version = ctypes.CDLL(None).gnu_get_libc_version
    except (AttributeError, TypeError, OSError):
        return None
    version.restype = ctypes.c_char_p
    return tuple(int(part) for part in version().decode().split(".")[:2])


def free_disk(folder):
    """Return the bytes that a normal user may still write to the file system of `folder`; infinity if unknown."""
    try:
        space = os.statvfs(folder)
    except AttributeError:
        return float("inf")
    return space.f_bavail * space.f_frsize


def size_of(folder):
    """Return the total size of the files in `folder`, in bytes; 0 if it does not exist."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size
    return total


def main(folder):
    """Print the problems and warnings for this machine; return the exit status."""
    facts = gather(folder)
    for text in cautions(facts):
        print("preflight: warning: " + text, file=sys.stderr)
    found = problems(facts)
    for text in found:
        print("preflight: " + text, file=sys.stderr)
    if found:
        print("preflight: nothing was installed.", file=sys.stderr)
        return 1
    print(
        "preflight: Python {}, {:.0f} GB of disk free: OK".format(
            ".".join(map(str, facts.python)), facts.free_disk / float(GB)
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
