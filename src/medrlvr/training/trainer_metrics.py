"""The trainer's own metrics, one row per update, under OpenRLHF's names.

They are read from two sources: the lines that the trainer prints, which are complete after a killed run, and its
TensorBoard files, which are complete after a finished run, when the last printed line may be lost.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd

REFERENCE_METRICS = ("kl", "logprobs_diff")
"""Metrics that OpenRLHF reports as 0 if there is no reference model to measure them."""

_RLVR_LINE = re.compile(r"Global step (\d+): (\{.*\})")
_NUMBER = re.compile(r"'([^']+)': (-?inf|nan|-?[\d.]+(?:e[+-]?\d+)?)")


def parse_line(line: str) -> dict[str, float] | None:
    """Return the update and all metrics in a line that reports an update; None for any other line."""
    match = _RLVR_LINE.search(line)
    if match is None:
        return None
    return {"update": int(match.group(1))} | {name: float(value) for name, value in _NUMBER.findall(match.group(2))}


def read_metrics(printed: Path, events: Path) -> pd.DataFrame:
    """Return one row per update, in order; for an update trained more than once, the row of the last attempt.

    Args:
        printed: JSON lines of the results of `parse_line`, in order of time.
        events: folder of TensorBoard event files.

    Returns:
        update (from 1) and a column for each metric, with a missing value where it was not reported.
    """
    rows = _event_rows(events) | {int(row["update"]): row for row in read_lines(printed)}
    return pd.DataFrame([rows[update] for update in sorted(rows)])


def read_lines(printed: Path, last: int | None = None) -> list[dict[str, float]]:
    """Return the rows of printed lines up to update `last`, in order; for repeated updates, those of the last attempt.

    Args:
        printed: as for `every_line`.
    """
    rows = {int(row["update"]): row for row in every_line(printed)}
    return [rows[update] for update in sorted(rows) if last is None or update <= last]


def every_line(printed: Path) -> list[dict[str, float]]:
    """Return the rows of printed lines as they were printed: an update that was trained more than once has several.

    Args:
        printed: as for `read_metrics`; it need not exist. A line damaged by a crash is skipped.
    """
    text = printed.read_text(encoding="utf-8", errors="replace") if printed.is_file() else ""
    rows = []
    for line in text.split("\n"):
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def read_events(folder: Path) -> pd.DataFrame:
    """Return the metrics in TensorBoard files, in the format of `read_metrics`."""
    rows = _event_rows(folder)
    return pd.DataFrame([rows[update] for update in sorted(rows)])


def event_times(folder: Path) -> dict[int, float]:
    """Return when each update was last logged in TensorBoard files, in seconds since 1970."""
    return {step: time for step, _, _, time in _scalars(folder)}


def set_events_aside(folder: Path) -> None:
    """Move the event files of the attempt before into a numbered folder, so that no clock decides which are later."""
    files = [path for path in folder.glob("*") if not path.name.startswith(_EARLIER)]
    if files:
        earlier = folder / f"{_EARLIER}{1 + sum(1 for _ in folder.glob(f'{_EARLIER}*')):03d}"
        earlier.mkdir()
        for path in files:
            path.rename(earlier / path.name)


_EARLIER = "earlier-"
"""Start of the names of folders with the event files of earlier attempts."""


def _event_rows(folder: Path) -> dict[int, dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for step, name, value, _ in _scalars(folder):
        rows.setdefault(step, {"update": step})[name] = value
    return rows


def _scalars(folder: Path) -> Iterator[tuple[int, str, float, float]]:
    """Yield step, name, value and time of every scalar; those of later attempts come later."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = {file: file.relative_to(folder).parts[0] for file in folder.rglob("events.out.tfevents.*")}
    for file in sorted(files, key=lambda file: (not files[file].startswith(_EARLIER), files[file], file.name)):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                yield event.step, tag.removeprefix("train/"), event.value, event.wall_time
