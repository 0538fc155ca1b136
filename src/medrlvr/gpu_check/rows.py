"""Run the rows of the check in order, within a time limit, and save the result of each before the next."""

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.files import write_json
from medrlvr.runtime.progress import duration
from medrlvr.runtime.step_log import Notify

PASSED, FAILED, NOT_APPLICABLE, NO_TIME = "passed", "failed", "not applicable", "not run: time"
"""Outcomes of a row."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of a row.

    Attributes:
        what: what was measured.
        value: the measured value with its unit, as text.
        expected: what was expected; empty if the figure is only reported.
        passed: whether the value is as expected; None if nothing was expected.
    """

    what: str
    value: str
    expected: str = ""
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row measured.

    Attributes:
        figures: the figures, for the report.
        numbers: name -> value, for later rows.
    """

    figures: list[Figure]
    numbers: Mapping[str, float] = field(default_factory=dict)


Numbers = Mapping[str, Mapping[str, float]]
"""Row -> its numbers; none if it did not finish."""


class NotApplicableError(Exception):
    """This machine cannot have the row; the text states why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the check.

    Attributes:
        name: short name, which is also the name of its file.
        title: what it shows, for the report.
        seconds: time that it needs, estimated; it is not started if less is left.
        measure: measures, given the numbers of the rows before it. It may raise `NotApplicableError`.
    """

    name: str
    title: str
    seconds: float
    measure: Callable[[Numbers], Measured]


@dataclass(slots=True)
class Result:
    """The result of one row.

    Attributes:
        name, title: as in `Row`.
        outcome: one of the four outcomes.
        seconds: time that the row took.
        figures, numbers: as in `Measured`; empty if it did not finish.
        note: why it failed, is not applicable or was not run.
        key: what was tested: the code, the packages and the machine.
    """

    name: str
    title: str
    outcome: str
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    key: str = ""


def run_rows(rows: Sequence[Row], folder: Path, key: str, minutes: float | None, notify: Notify) -> list[Result]:
    """Run all rows and return their results, in the same order. A row that fails does not stop the others.

    Args:
        rows: the rows, the most important first.
        folder: receives one file per row, as soon as it has ended. A row that passed with the same key is not repeated.
        key: describes the code, the packages and the machine.
        minutes: time for all rows together; None for no limit.
        notify: prints a progress line.

    Raises:
        Interrupted: the process received a signal.
    """
    end = None if minutes is None else time.monotonic() + 60 * minutes
    results: list[Result] = []
    for number, row in enumerate(rows, 1):
        file = folder / f"{row.name}.json"
        result = _earlier(file, key)
        if result is None:
            left = None if end is None else end - time.monotonic()
            notify(f"gpu_check: row {number} of {len(rows)}: {row.title}, about {duration(row.seconds)}")
            result = _run_row(row, left, {done.name: done.numbers for done in results})
            result.key = key
            write_json(file, asdict(result))
        results.append(result)
        notify(f"gpu_check: row {number} of {len(rows)}: {result.outcome}{': ' if result.note else ''}{result.note}")
    return results


def _earlier(file: Path, key: str) -> Result | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        values["figures"] = [Figure(**figure) for figure in values["figures"]]
        result = Result(**values)
        return result if result.outcome == PASSED and result.key == key else None
    return None


def _run_row(row: Row, left: float | None, numbers: Numbers) -> Result:
    if left is not None and left < row.seconds:
        note = f"it needs about {duration(row.seconds)}; {duration(max(0.0, left))} were left"
        return Result(row.name, row.title, NO_TIME, note=note)
    began = time.monotonic()
    try:
        with _time_limit(left) as ended:
            found = row.measure(numbers)
        outcome = FAILED if any(figure.passed is False for figure in found.figures) else PASSED
        return Result(row.name, row.title, outcome, time.monotonic() - began, found.figures, found.numbers)
    except NotApplicableError as reason:
        return Result(row.name, row.title, NOT_APPLICABLE, time.monotonic() - began, note=str(reason))
    except Interrupted:
        if not ended.is_set():
            raise
        note = f"it was stopped after {duration(time.monotonic() - began)}, when the time was over"
        return Result(row.name, row.title, NO_TIME, time.monotonic() - began, note=note)
    except Exception as error:  # the rows after this one still run
        if not isinstance(error, UserError):
            print(traceback.format_exc(), flush=True)
        note = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Result(row.name, row.title, FAILED, time.monotonic() - began, note=note)


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[threading.Event]:
    """Raise `Interrupted` in the body after some seconds, and set the event that is returned."""
    ended = threading.Event()

    def stop() -> None:
        ended.set()
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(f"the check was stopped by {signal.Signals(number).name}.")

    timer = threading.Timer(seconds, stop) if seconds is not None else None
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        if timer:
            timer.start()
        yield ended
    finally:
        if timer:
            timer.cancel()
        signal.signal(signal.SIGTERM, before)
