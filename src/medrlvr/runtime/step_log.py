"""Logging of workflow scripts: the complete output goes to a log file, short messages go to the console."""

import errno
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.progress import duration
from medrlvr.runtime.redact import redact
from medrlvr.runtime.running import end_with_workflow, hold_step
from medrlvr.runtime.terminal import StepConsole

Notify = Callable[[str], None]
"""Prints one line on the console and in the log."""


@contextmanager
def step_log(step: Any) -> Iterator[Notify]:
    """Redirect all output of this process and its children to the step's log, and yield a function for the console.

    The first line of the log names the machine and the process. The last line, which is also printed on the console,
    contains the rule, its wildcards and the time that it needed.

    A `UserError`, Ctrl-C and SIGTERM are shown as a message, without a traceback, and so is an error of the file
    system, with advice. Any other exception is a bug in medrlvr and is shown with the log's path. All end the process
    with status 1. At the end, secrets and the home folder are removed from the whole log, to which other programs wrote
    as well.

    Args:
        step: Snakemake's object in a script, with `rule`, `wildcards` and `log`.
    """
    (log,), began, name = step.log, time.monotonic(), " ".join([step.rule, *step.wildcards])
    console = StepConsole(os.fdopen(os.dup(2), "w", buffering=1))

    def notify(line: str, style: str | None = None) -> None:
        line = redact(line)
        console.print(line, style)
        _write(line)

    with _output_to(log):
        held = None
        try:
            slurm = f", Slurm job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
            print(f"{name}: started on {platform.node()}, process {os.getpid()}{slurm}", flush=True)
            end_with_workflow()
            held = hold_step(Path(log).resolve(), name)
            yield notify
            notify(f"{name}: done in {duration(time.monotonic() - began)}")
        except (Exception, KeyboardInterrupt) as error:
            end, why = _ending(error, log)
            notify(f"\n{name}: {end} after {duration(time.monotonic() - began)}\n{why}\n", "red")
            sys.exit(1)
        finally:
            if held is not None:
                Path(held.name).unlink(missing_ok=True)
                held.close()


@contextmanager
def _output_to(log: str) -> Iterator[None]:
    """Send the output of this process and its children to a file, and turn SIGTERM into an exception."""
    with open(log, "w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            yield
        finally:
            with suppress(OSError):
                _redact_file(log)


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(f"It was stopped by {signal.Signals(number).name}. Start the same command again.")


def _write(text: str) -> None:
    with suppress(OSError):  # the log's disk may be full, and the console must still tell why the step ended
        print(text, flush=True)


def _redact_file(log: str) -> None:
    if not Path(log).is_file():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    with open(log, "r+", encoding="utf-8", errors="replace") as file:
        text = file.read()
        clean = redact(text)
        if clean != text:
            file.seek(0)
            file.write(clean)
            file.truncate()
            os.lseek(1, file.tell(), os.SEEK_SET)  # what this process still prints follows


def _ending(error: BaseException, log: str) -> tuple[str, str]:
    """Return how a step ended, "stopped" or "failed", and why, with the log's path; a bug's traceback is printed."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", f"It was stopped by Ctrl-C. Start the same command again.\n(log: {log})"
    if isinstance(error, UserError):
        return "stopped" if isinstance(error, Interrupted) else "failed", f"{error}\n(log: {log})"
    assert isinstance(error, Exception)
    _write(redact("".join(traceback.format_exception(error))))
    if advice := _advice(error):
        return "failed", f"{error}\n{advice}\n(log: {log})"
    why = f"{type(error).__name__}: {error}\nThis is a bug in medrlvr. Please report it with the full traceback,"
    return "failed", f"{why} which is in {log}"


_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "The disk or your quota is full. Free some space."),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Make the file or folder accessible to you."),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "The file system failed. Check it."),
}
"""Error number of the operating system -> what to do."""


def _advice(error: Exception) -> str | None:
    """Return what to do about an error of the file system, or None for any other error."""
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__  # type: ignore[assignment]
    what = _ADVICE.get(error.errno or 0) if isinstance(error, OSError) else None
    return what and f"{what} Then start the same command again."


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a log contains about the step that wrote it.

    Attributes:
        step: rule and wildcards.
        host: name of the machine.
        process: process ID on that machine.
        slurm_job: ID of its Slurm job; None if it was not a Slurm job.
        end: how it ended; None if it has not ended, or was killed before it could write its end.
        took: duration as text; "" without an end.
        reason: first line of the error, if it failed or was stopped.
    """

    step: str
    host: str
    process: int
    slurm_job: str | None
    end: Literal["done", "failed", "stopped"] | None = None
    took: str = ""
    reason: str = ""


_START = re.compile(r"(?P<step>.+): started on (?P<host>\S+), process (?P<process>\d+)(?:, Slurm job (?P<slurm>\d+))?")


def read_step_record(lines: Sequence[str]) -> StepRecord | None:
    """Return the record of a step from the lines of its log; None if `step_log` did not write them."""
    match = _START.fullmatch(lines[0]) if lines else None
    if match is None:
        return None
    start = (match["step"], match["host"], int(match["process"]), match["slurm"])
    end = re.compile(rf"{re.escape(match['step'])}: (done in|failed after|stopped after) (.+)")
    for i in reversed(range(1, len(lines))):
        if ended := end.fullmatch(lines[i]):
            if ended[1] == "done in":
                return StepRecord(*start, "done", ended[2])
            reason = next(filter(str.strip, lines[i + 1 :]), "")
            return StepRecord(*start, "failed" if ended[1] == "failed after" else "stopped", ended[2], reason.strip())
    return StepRecord(*start)
