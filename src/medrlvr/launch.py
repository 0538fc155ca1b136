"""Start a long process, watch it, and leave nothing of it behind, however it ends."""

import ctypes
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from medrlvr.errors import Interrupted, UserError

_GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_KNOWN_FAILURES = (
    (
        r"ClusterError: (?:Slurm ended|stopped by)",
        "Start the same command again: it goes on from the last checkpoint. If its time was up: runtime in"
        " slurm/config.yaml.",
    ),
    (
        r"ClusterError: .* came within",
        "Ask for GPUs in the way your site wants (slurm/config.yaml, docs/slurm.md), or for fewer nodes. Then start the"
        " same command again.",
    ),
    (
        r"Address already in use|EADDRINUSE|Failed to bind",
        "A network port was taken by another program just before it was used. Start the same command again.",
    ),
    (
        r"OutOfMemoryError|out of memory|Cannot allocate memory|No space left on device",
        "Memory or disk ran out. Free some, or lower the micro-batches in machine:. Then start the same command again.",
    ),
    (
        r"Actor(?:Died|Unavailable)Error(?!.*creation task)|raylet.*(?:died|terminated)|Lost connection to GCS|"
        r"Failed to connect to GCS|node.*dead",
        "A process of Ray died or was killed. Start the same command again: it goes on from the last checkpoint.",
    ),
)
"""What the output shows, and what to do."""


def write_command(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Write a command, with the variables it needs, as a script that one can read, change and run."""
    lines = ["#!/bin/sh", "# From the repository's root: sh " + shlex.quote(str(path)), "set -eu"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    words = [shlex.quote(word) for word in command]
    text = " ".join(words).replace(" --", " \\\n    --")
    path.write_text("\n".join([*lines, "exec " + text]) + "\n", encoding="utf-8")


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    each_line: Callable[[str], None],
    failure_file: Path | None = None,
    work: str = "training",
    alone: float = 0.0,
) -> None:
    """Run `command` to its end, with all that it starts; every process of it is gone when this returns or raises.

    Args:
        command: program and arguments.
        environment: set on top of this process's own.
        each_line: called with every line that it prints, without the line end.
        failure_file: ends the run as soon as it exists; its text goes into the message.
        work: what it does, for messages.
        alone: seconds that the command has to end what it started, before its children are told to end.

    Raises:
        Exception: what `each_line` raised.
        Interrupted: it was stopped by a signal (Ctrl-C, SIGTERM) to this process.
        UserError: it failed, and the message names a known cause or quotes the last lines.
    """
    tail: list[str] = []
    faults: list[Exception] = []

    def read() -> None:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                line = line.rstrip("\n")
                tail.append(line)
                del tail[:-400]
                each_line(line)
        except Exception as error:  # raised below, in the thread that can end the run
            faults.append(error)

    others = psutil.Process().children(recursive=True)
    with _noting_signals() as received, _adopting_orphans():
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while process.poll() is None and not received and not faults and not (failure_file and failure_file.exists()):
            time.sleep(0.1)
        code = process.poll()
        if code is None and alone:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(alone)
        _end_descendants(_GRACE if code is None else 0.0, others)
        reader.join(timeout=5)
    if faults:
        raise faults[0]
    if received:
        raise Interrupted(f"{work} was stopped by {received[0]}. Start the same command again to go on with it.")
    if failure_file and failure_file.exists():
        raise UserError(f"the reward failed, so training was stopped:\n{failure_file.read_text().strip()}")
    if code:
        raise UserError(f"{work} ended with {_explain(code, tail)}")


def _explain(code: int, tail: Sequence[str]) -> str:
    text = "\n".join(tail)
    reasons = [advice for pattern, advice in _KNOWN_FAILURES if re.search(pattern, text, re.IGNORECASE)]
    how = f"signal {-code}" if code < 0 else f"status {code}"
    errors = [line for line in tail if re.search(r"\b\w*(?:Error|Exception)\b: ", line)]
    # What the adapter says explains what follows from it in the other processes.
    errors = [line for line in errors if "PinnedSourceError" in line][:1] or errors[-3:] or list(tail)[-10:]
    # Of a cluster the last word is its launcher's, with the last lines of each node's log.
    cluster = next((number for number, line in enumerate(tail) if line.startswith("ClusterError: ")), None)
    errors = errors if cluster is None else list(tail)[cluster:]
    return "\n".join([f"{how}.", *reasons[:1], "The last it said:", *(f"  {line[:300]}" for line in errors)])


@contextmanager
def _noting_signals() -> Iterator[list[str]]:
    received: list[str] = []

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    # Ray's processes outlive their parents; adopted, they stay findable as descendants of this process.
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _die_with_parent() -> None:
    # Should this process be killed outright, its child is too, and Ray's processes follow that.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_descendants(grace: float, others: Sequence[psutil.Process]) -> None:
    deadline = time.monotonic() + grace
    number = signal.SIGTERM if grace else signal.SIGKILL
    told: set[psutil.Process] = set()
    while children := set(psutil.Process().children(recursive=True)).difference(others):
        if number == signal.SIGTERM and time.monotonic() >= deadline:
            number, told = signal.SIGKILL, set()
        for child in children - told:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        told |= children
        time.sleep(0.05)
        # Adopted processes are ours to bury; the exit status of the one we started is already known.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
