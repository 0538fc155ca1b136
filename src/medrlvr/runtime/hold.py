"""Hold a folder for one process at a time, and name the process that holds it.

The kernel releases the hold when the process ends, however it ends, also on NFS: no lock of a dead process remains.
On a file system without locks, the process that the file names holds it as long as it runs. One on another host is
assumed to run, unless it belonged to this process's Slurm job, which was requeued.
"""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from medrlvr.runtime.errors import UserError
from medrlvr.runtime.slurm import current_job

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class HeldError(UserError):
    """Another process holds the file. The message names it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a file.

    Attributes:
        what: what it does.
        process: process ID on `host`.
        host: name of the machine.
        since: local time at which it took the hold, such as 2026-11-26 22:10:03.
        job: ID of its Slurm job, or None.
    """

    what: str
    process: int
    host: str
    since: str
    job: str | None

    def __str__(self) -> str:
        """Return a phrase such as "`snakemake`, process 123 on host n1, since 2026-11-26 22:10:03"."""
        job = f", Slurm job {self.job}" if self.job else ""
        return f"{self.what}, process {self.process} on {self.host}{job}, since {self.since}"

    @property
    def remedy(self) -> str:
        """Return the command that ends the process."""
        return f"scancel {self.job}" if self.job else f"kill {self.process} (on {self.host})"


def hold(file: Path, what: str, patience: float = 0.0) -> BinaryIO:
    """Hold a file until this process ends or closes the returned object. Programs that it starts do not hold it.

    Args:
        file: created if it does not exist; it names the holder for other processes.
        what: what this process does, in a few words.
        patience: seconds to wait for another process that is about to end.

    Raises:
        HeldError: another process holds it.
    """
    deadline = time.monotonic() + patience
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)  # the last holder may have deleted the folder
        opened = open(file, "r+b", buffering=0, opener=_create)  # noqa: SIM115 - the caller closes it
        if _locked(opened):
            if _is_at(opened, file):
                break
        elif time.monotonic() > deadline:
            with opened:
                found = _read(opened)
                end = f" To end it: {found.remedy}" if found else ""
                raise HeldError(f"{file.parent} is in use by {found or 'another process'}.{end}")
        else:
            time.sleep(0.2)
        opened.close()
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    own = {"what": what, "process": os.getpid(), "host": platform.node(), "since": since, "job": current_job()}
    opened.truncate(0)
    opened.write(json.dumps(own).encode())
    return opened


def holder(file: Path) -> Holder | None:
    """Return the process that holds a file, or None if no process does."""
    with suppress(OSError), open(file, "r+b", buffering=0) as opened:
        if not _locked(opened):
            return _read(opened)
    return None


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o644)


def _locked(opened: BinaryIO) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _WITHOUT_LOCKS and not _runs(_read(opened))
    return True


def _runs(found: Holder | None) -> bool:
    if found is None:
        return False
    if found.host == platform.node():
        return bool(psutil.pid_exists(found.process))
    return found.job is None or found.job != current_job()


def _is_at(opened: BinaryIO, file: Path) -> bool:
    # Another process may have deleted the file between the opening and the lock.
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(opened.fileno()), file.stat())
    return False


def _read(opened: BinaryIO) -> Holder | None:
    with suppress(ValueError, TypeError):
        text = os.pread(opened.fileno(), 4096, 0)
        values: Mapping[str, Any] = json.loads(text)
        return Holder(**values)
    return None
