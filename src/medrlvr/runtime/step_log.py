"""The frame around every workflow script: a complete log in a file, one line at a time on the console."""

import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.progress import duration
from medrlvr.runtime.terminal import StepConsole

Notify = Callable[[str], None]
"""Prints one line for the person who waits."""


@contextmanager
def step_log(step: Any) -> Iterator[Notify]:
    """Send all output of this process and its children to the step's log, and hand back a way to speak to the console.

    The log begins with where the step runs. At the end the console gets one line: the rule, what it was for, and how
    long it took.

    Args:
        step: what Snakemake gives to a script, with `rule`, `wildcards` and `log`.

    A `UserError` is shown as its message alone; anything else is a fault of ours and is shown with the log's path.
    Either ends the process with status 1.
    """
    console = StepConsole(os.fdopen(os.dup(2), "w", buffering=1))

    def notify(line: str, style: str | None = None) -> None:
        console.print(line, style)
        print(line, flush=True)

    (log,), began, name = step.log, time.monotonic(), " ".join([step.rule, *step.wildcards])

    def took() -> str:
        return duration(time.monotonic() - began)

    with open(log, "w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        slurm = f", Slurm job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
        print(f"{name}: begun on {platform.node()}, process {os.getpid()}{slurm}", flush=True)
        try:
            yield notify
            notify(f"{name}: done in {took()}")
        except UserError as error:
            end = "stopped" if isinstance(error, Interrupted) else "failed"
            notify(f"\n{name}: {end} after {took()}\n{error}\n(log: {log})\n", "red")
            sys.exit(1)
        except Exception as error:
            traceback.print_exc()
            notify(
                f"\n{name}: failed after {took()}\n{type(error).__name__}: {error}\n"
                f"This is a fault of the pipeline; the whole story is in {log}\n",
                "red",
            )
            sys.exit(1)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a log says of the step that wrote it.

    Attributes:
        step: rule and wildcards.
        host: name of the machine.
        process: its number there.
        slurm_job: number of the job of Slurm, if it was one.
        end: how it ended; None: it has not, or could not notify so.
        took: in words; "" without an end.
        reason: first line of why it failed or was stopped.
    """

    step: str
    host: str
    process: int
    slurm_job: str | None
    end: Literal["done", "failed", "stopped"] | None = None
    took: str = ""
    reason: str = ""


_BEGUN = re.compile(r"(?P<step>.+): begun on (?P<host>\S+), process (?P<process>\d+)(?:, Slurm job (?P<slurm>\d+))?")


def read_step_record(lines: Sequence[str]) -> StepRecord | None:
    """Return the frame of a log's lines; None where a log of a `job` does not begin so."""
    match = _BEGUN.fullmatch(lines[0]) if lines else None
    if match is None:
        return None
    begun = (match["step"], match["host"], int(match["process"]), match["slurm"])
    end = re.compile(rf"{re.escape(match['step'])}: (done in|failed after|stopped after) (.+)")
    for i in reversed(range(1, len(lines))):
        if ended := end.fullmatch(lines[i]):
            if ended[1] == "done in":
                return StepRecord(*begun, "done", ended[2])
            reason = next(filter(str.strip, lines[i + 1 :]), "")
            return StepRecord(*begun, "failed" if ended[1] == "failed after" else "stopped", ended[2], reason.strip())
    return StepRecord(*begun)
