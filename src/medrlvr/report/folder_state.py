"""The state of a results folder, from its files, the logs of its steps and the processes that hold it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from medrlvr.report.experiments import FINISHED
from medrlvr.runtime.hold import Holder, holder
from medrlvr.runtime.progress import parse
from medrlvr.runtime.step_log import StepRecord, read_step_record

TAIL = 64 * 1024
"""Bytes at the end of a log that are searched for its end and its last progress line."""

StateName = Literal["finished", "running", "stopped", "planned", "broken"]

STATES: tuple[StateName, ...] = get_args(StateName)


@dataclass(frozen=True, slots=True)
class FolderState:
    """The state of a results folder.

    Attributes:
        name: finished: the report is written, and no later step is open. running: a process works on the folder.
            stopped: steps were started, but no process works on them. planned: no step was started. broken: the folder
            contains no readable experiment.
        detail: the last progress, or the reason; "" if none is needed.
        date: when the report was written; without a report, when a log was last written, or the version was recorded
            (seconds since the epoch).
    """

    name: StateName
    detail: str
    date: float


@dataclass(frozen=True, slots=True)
class _Step:
    record: StepRecord
    progress: str
    written: float


def is_finished(folder: Path) -> bool:
    """Return whether a results folder contains all files of a finished experiment."""
    return all((folder / name).is_file() for name in FINISHED)


def read_state(folder: Path) -> FolderState:
    """Return the state of a results folder that medrlvr wrote. It is never `broken`.

    A log that is older than the report belongs to the report, or to a step that the experiment no longer has.

    Raises:
        OSError: the folder cannot be read.
    """
    reported = (folder / FINISHED[1]).stat().st_mtime if is_finished(folder) else -math.inf
    steps = sorted(_steps(folder / "logs", reported), key=lambda step: step.written)
    unfinished = [step for step in steps if step.record.end != "done"]
    if is_finished(folder) and not unfinished:
        return FolderState("finished", "", reported)
    date = max(steps[-1].written if steps else (folder / "version.json").stat().st_mtime, reported)
    if any(map(_holder, _held_files(folder))):
        return FolderState("running", _position(unfinished), date)
    if not steps:
        return FolderState("planned", "no step was started", date)
    return FolderState("stopped", _end(unfinished, len(steps)), date)


def _held_files(folder: Path) -> list[Path]:
    return [path for path in (folder / ".running").glob("*") if path.is_file()]


def _holder(file: Path) -> Holder | None:
    # A process that ends empties its file. A file with content is held, or its process was killed.
    return holder(file) if file.stat().st_size else None


def _steps(logs: Path, after: float) -> Iterator[_Step]:
    """Yield the steps whose logs were written after a time, except the report's: it writes the index before it ends."""
    for path in logs.rglob("*.log"):
        if path.is_file() and path.parent != logs / "report" and (written := path.stat().st_mtime) > after:
            lines = _ends(path)
            if record := read_step_record(lines):
                yield _Step(record, next(filter(None, map(_progress, reversed(lines))), ""), written)


def _ends(path: Path) -> list[str]:
    """Return the first line of a log, and the lines in its last `TAIL` bytes."""
    with path.open("rb") as file:
        first = file.readline(TAIL)
        file.seek(max(file.tell(), path.stat().st_size - TAIL))
        rest = file.read(TAIL)
    return [text.decode(errors="replace").rstrip("\n") for text in (first, *rest.split(b"\n"))]


def _progress(line: str) -> str:
    parsed = parse(line)
    return f"{parsed[0]}: {parsed[1]}" if parsed else ""


def _position(unfinished: list[_Step]) -> str:
    """Return the last progress of the steps that have not ended, the latest last."""
    running = [step.progress or step.record.step for step in unfinished if step.record.end is None]
    return "; ".join(running) or "between two steps"


def _end(unfinished: list[_Step], steps: int) -> str:
    if not unfinished:
        return f"all {steps} started steps are done; the report is not written"
    last = unfinished[-1]
    reason = last.record.reason or "Its process ended without a message."
    at = f" Last progress: {last.progress}" if last.progress else ""
    return f"{last.record.step}: {reason}{at}"
