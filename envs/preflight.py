"""Says whether this machine can hold the CPU environment, before anything is installed.

    python envs/preflight.py [folder]

Every problem is named at once, each with a way out; the exit status is 1 if there is any. The file is kept within the
syntax of Python 2.7, because the interpreter that reads it may be the very thing that is too old.
"""

from __future__ import print_function

import collections
import ctypes
import os
import platform
import sys

GB = 10**9
PYTHON = (3, 11)  # envs/*.lock are resolved for this version alone
GLIBC = (2, 35)  # envs/*.lock are resolved for manylinux_2_35: Ubuntu 22.04, Debian 12 and newer
DISK = 6 * GB  # measured: 3.2 GB installed, 1.4 GB of wheels on the way, and room for the results
MEMORY = 8 * GB

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
        "has_venv",  # whether `python -m venv` can make an environment with pip in it
        "writable",  # whether this user may write in the folder
        "free_disk",  # bytes that a user may still write in the folder
        "installed",  # bytes that an earlier, unfinished set-up already placed in .venv
        "free_memory",  # bytes; None if unknown
    ],
)


def problems(facts):
    """Everything that rules the machine out, as a list of texts that each name the fault and a way out.

    Args:
        facts: what `gather` found.
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
            "The processor is {}, not x86-64, for which the environment is locked. "
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
            "{} is {} {}, but the environment is locked for CPython {}.{}. Install that version beside it (Debian 12, "
            "Ubuntu 22.04: `sudo apt install python3.11 python3.11-venv`; elsewhere: `uv python install 3.11`, `pyenv "
            "install 3.11` or conda) and name it: `make demo PYTHON=/path/to/python3.11`.".format(
                facts.executable, facts.implementation, ".".join(map(str, facts.python)), *PYTHON
            )
        )
    elif not facts.has_venv:
        found.append(
            "{} cannot make virtual environments: its venv or ensurepip module is missing. "
            "On Debian and Ubuntu: `sudo apt install python3.11-venv`.".format(facts.executable)
        )
    if not facts.writable:
        found.append("This folder cannot be written to. Clone into one that can.")
    needed = max(DISK - facts.installed, GB)
    if facts.free_disk < needed:
        found.append(
            "{:.1f} GB of disk is free in this folder, but set-up and results still need {:.1f} GB. "
            "Free some, or clone into a larger file system.".format(facts.free_disk / float(GB), needed / float(GB))
        )
    return found


def cautions(facts):
    """What may go wrong later but rules nothing out, as a list of texts.

    Args:
        facts: what `gather` found.
    """
    if facts.free_memory is None or facts.free_memory >= MEMORY:
        return []
    return [
        "{:.1f} GB of memory is free; the default experiment is meant for {:.0f} GB. "
        "If a run is killed, close other programs first.".format(facts.free_memory / float(GB), MEMORY / float(GB))
    ]


def gather(folder):
    """The facts of this machine, as `Facts`.

    Args:
        folder: where .venv and results are to be written.
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
    )


def read(path):
    """The text of a file of the kernel; empty if there is none."""
    try:
        with open(path) as handle:
            return handle.read()
    except (IOError, OSError):
        return ""


def parse_processor_flags(cpuinfo):
    """The flags of the first processor in the text of /proc/cpuinfo, as a set; None if none are listed."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return None


def parse_free_memory(meminfo, limit):
    """Bytes that a new process may use; None if unknown.

    Args:
        meminfo: the text of /proc/meminfo.
        limit: the text of the control group's memory.max: bytes, "max" or empty. What the group already uses is not
            subtracted, since most of it is file cache that gives way.
    """
    free = [int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    return min(free + ([int(limit)] if limit.strip().isdigit() else [])) if free else None


def glibc_version():
    """The version of glibc as two numbers; None where the C library is another one."""
    try:
        version = ctypes.CDLL(None).gnu_get_libc_version
    except (AttributeError, TypeError, OSError):
        return None
    version.restype = ctypes.c_char_p
    return tuple(int(part) for part in version().decode().split(".")[:2])


def free_disk(folder):
    """Bytes that an ordinary user may still write to the file system of `folder`; no limit where that is unknown."""
    try:
        space = os.statvfs(folder)
    except AttributeError:
        return float("inf")
    return space.f_bavail * space.f_frsize


def size_of(folder):
    """Bytes in the files below `folder`; 0 if there is no such folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size
    return total


def main(folder):
    """Print what `problems` and `cautions` say about this machine; returns the exit status."""
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
        "preflight: Python {}, {:.0f} GB of disk free: fine".format(
            ".".join(map(str, facts.python)), facts.free_disk / float(GB)
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
