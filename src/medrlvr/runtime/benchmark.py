"""Read Snakemake's benchmark of a job: its time, memory and load."""

import csv
from contextlib import suppress
from pathlib import Path

COLUMNS = ("s", "max_rss", "mean_load")


def read_benchmark(file: Path) -> dict[str, float] | None:
    """Return the benchmark of a job; None without a usable file: a job that was killed may leave half of one.

    Returns:
        s (wall time in seconds), max_rss (MiB, with child processes) and mean_load (percent of one core); the last two
        are NaN if the job was too short to measure.
    """
    with (
        suppress(OSError, ValueError, KeyError, TypeError, StopIteration),
        file.open(encoding="utf-8", newline="") as table,
    ):
        row = next(csv.DictReader(table, delimiter="\t"))
        return {name: float("nan") if row[name] == "-" else float(row[name]) for name in COLUMNS}
    return None
