"""Which processes work on a results folder: the workflow, and its steps. Each holds a file in the folder `.running`.

A killed workflow leaves Snakemake's own lock files in place, and its steps may run on for a moment, or for days on a
cluster. The holds tell both from a workflow that runs.
"""

import atexit
import os
import platform
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from medrlvr.runtime.errors import UserError
from medrlvr.runtime.hold import HeldError, Holder, hold, holder

_WORKFLOW = "workflow"

_PATIENCE = 30.0
"""Seconds that the steps of a killed workflow have to end before the next workflow is rejected."""


def hold_results(results: Path) -> BinaryIO:
    """Hold a results folder for this workflow, after the steps of a killed workflow have ended.

    Raises:
        UserError: another workflow or a step of an earlier one works on the folder; the message names it.
    """
    try:
        held = hold(_folder(results) / _WORKFLOW, shlex.join(["snakemake", *sys.argv[1:]]))
    except HeldError:
        raise UserError(in_use(results)) from None
    except OSError as error:
        raise UserError(
            f"{results} is not writable: {error.strerror}. Make it writable, or move the folder results/ to another"
            " disk and replace it with a symbolic link. Then start the same command again."
        ) from None
    deadline = time.monotonic() + _PATIENCE
    while (steps := _steps(results)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if steps:
        _release(held)
        listed = "".join(f"\n  {step} (to end it: {step.remedy})" for step in steps)
        raise UserError(
            f"{results}: {len(steps)} step(s) of an earlier run, whose workflow has ended, are still running:{listed}\n"
            "Wait until they end, or end them. Then start the same command again."
        )
    atexit.register(_release, held)
    return held


def _release(held: BinaryIO) -> None:
    # On a file system without locks, a name that is left in the file would hold the folder for users of other hosts.
    if not held.closed:
        held.truncate(0)
        held.close()


def in_use(results: Path) -> str:
    """Return the sentence for the user if a workflow cannot start because another one works on the results folder."""
    found = holder(_folder(results) / _WORKFLOW)
    user = f"{found}" if found else "another workflow that shares files with this one"
    remedy = "Wait until it ends, or press Ctrl-C in its terminal."
    return f"{results} is in use by {user}. {remedy} Then start the same command again."


def delete_stale_locks(results: Path, locks: Path = Path(".snakemake/locks")) -> None:
    """Delete Snakemake's lock files of a killed workflow on the results folder; do nothing while a workflow runs.

    Args:
        locks: Snakemake's folder of lock files, each of which lists the files of a workflow.
    """
    if holder(_folder(results) / _WORKFLOW) is not None:
        return
    for file in locks.glob("*.lock"):
        with suppress(OSError):
            lines = file.read_text(encoding="utf-8").splitlines()
            if any(line.startswith(f"{results}/") for line in lines):
                file.unlink()


def hold_step(log: Path, step: str) -> BinaryIO | None:
    """Hold a file for a step in the results folder that contains its log; None if the log is in no results folder."""
    logs = next((folder for folder in log.parents if folder.name == "logs"), None)
    if logs is None:
        return None
    return hold(_folder(logs.parent) / f"{platform.node()}-{os.getpid()}", step)


def end_with_workflow(interval: float = 1.0) -> None:
    """Send this process SIGTERM when Snakemake, which started it, ends without ending it. A killed Snakemake cannot."""
    watched = _snakemakes()
    if watched:
        threading.Thread(target=_watch, args=(watched, interval), daemon=True).start()


def _snakemakes() -> list[psutil.Process]:
    """Return this process's parents, up to the most distant one that runs Snakemake."""
    found: list[psutil.Process] = []
    parents = psutil.Process().parents()
    for number, parent in enumerate(parents, 1):
        with suppress(psutil.Error):
            if any(Path(word).name == "snakemake" for word in parent.cmdline()[:4]):
                found = parents[:number]
    return found


def _watch(watched: Sequence[psutil.Process], interval: float) -> None:
    while all(map(_runs, watched)):
        time.sleep(interval)
    os.kill(os.getpid(), signal.SIGTERM)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _folder(results: Path) -> Path:
    return results / ".running"


def _steps(results: Path) -> list[Holder]:
    """Return the steps that run, and delete the files of ended ones."""
    found = []
    for file in sorted(_folder(results).glob("*")):
        if file.name == _WORKFLOW:
            continue
        step = holder(file)
        if step is None:
            file.unlink(missing_ok=True)
        else:
            found.append(step)
    return found
