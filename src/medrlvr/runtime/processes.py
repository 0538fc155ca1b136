"""Run a long process and end all its child processes, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from medrlvr.runtime.atomic import write_atomically
from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.failures import explain_failure
from medrlvr.runtime.redact import quote_portably, redact

_GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL."""

_PR_SET_CHILD_SUBREAPER = 36

_GUARD = str(Path(__file__).with_name("guard.py"))


def write_command(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Write a command and its environment variables as a shell script that you can read, change and run."""
    lines = ["#!/bin/sh", "# From the repository's root: sh " + quote_portably(str(path)), "set -eu"]
    lines += [f"export {name}={quote_portably(value)}" for name, value in sorted(environment.items())]
    words = [quote_portably(word) for word in command]
    text = " ".join(words).replace(" --", " \\\n    --")
    script = "\n".join([*lines, "exec " + text]) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(script, encoding="utf-8"))


def run_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    each_line: Callable[[str], None],
    failure_file: Path | None = None,
    work: str = "training",
    alone: float = 0.0,
    watchers: Sequence[Callable[[], None]] = (),
) -> None:
    """Run a command. When this function returns or raises, the command and all processes that it started have ended.

    Args:
        command: program and arguments.
        environment: variables in addition to those of this process.
        each_line: called with every line of its output, redacted and without the line end.
        failure_file: as soon as this file exists, the command is ended; the error message contains its text.
        work: name of the work, for messages.
        alone: seconds that the command has to end its child processes; after that, they receive SIGTERM.
        watchers: called about ten times a second while the command runs; an exception of one ends the command.

    Raises:
        Exception: any exception of `each_line` or of a watcher.
        Interrupted: this process received a signal (Ctrl-C, SIGTERM).
        UserError: the command failed. The message gives advice if the cause is known, and quotes the last lines.
    """
    others = psutil.Process().children(recursive=True)
    with _noting_signals() as received, _adopting_orphans():
        process = _start(command, environment)
        output, watched = _Output(process, each_line), None
        while process.poll() is None and not received and not output.error and not watched:
            if failure_file and failure_file.exists():
                break
            watched = _first_error(watchers)
            time.sleep(0.1)
        code = process.poll()
        if code is None and alone:
            for child in psutil.Process(process.pid).children():
                child.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(alone)
        _end_descendants(_GRACE if code is None else 0.0, others)
        output.join(timeout=5)
    if error := output.error or watched:
        raise error
    if received:
        raise Interrupted(f"{work} was stopped by {received[0]}. Start the same command again to resume it.")
    if failure_file and failure_file.exists():
        raise UserError(
            f"the reward failed, so training was stopped:\n{failure_file.read_text().strip()}\n"
            "Correct this error and start the same command again."
        )
    if code:
        raise UserError(f"{work} ended with {explain_failure(code, output.tail)}")


def _first_error(watchers: Sequence[Callable[[], None]]) -> Exception | None:
    try:
        for watcher in watchers:
            watcher()
    except Exception as error:  # run_process raises it
        return error
    return None


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    # The guard ends the command's processes if this process is killed: the pipe to its standard input then closes.
    return subprocess.Popen(
        [sys.executable, "-I", _GUARD, *command],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


class _Output(threading.Thread):
    """Reads a process's output in a separate thread.

    Attributes:
        tail: the last 400 lines.
        error: the exception of the callback, or None.
    """

    def __init__(self, process: subprocess.Popen[str], each_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._process, self._each_line = process, each_line
        self.tail: list[str] = []
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                line = redact(line.rstrip("\n"))
                self.tail.append(line)
                del self.tail[:-400]
                self._each_line(line)
        except Exception as error:  # run_process raises it
            self.error = error


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
    # Ray's processes outlive their parents. This process adopts them, so they remain its descendants and can be found.
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


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
        # Reap adopted processes. The exit status of the started process is already known.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
