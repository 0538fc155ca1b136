"""The progress of `medrlvr grade` on standard error."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from medrlvr.runtime.progress import Progress

SECONDS = 5.0
"""Time between two lines of progress."""


def count_lines(file: Path) -> int | None:
    """Return the number of lines of a regular file; None for a pipe, or if the file cannot be read."""
    with suppress(OSError):
        if file.is_file():
            with file.open("rb") as content:
                blocks = iter(partial(content.read, 1 << 20), b"")
                return sum(block.count(b"\n") for block in blocks)
    return None


class GradingProgress:
    """Prints the number of graded lines at most every `SECONDS`, on a terminal always in the same line."""

    def __init__(self, total: int | None, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Start to measure.

        Args:
            total: number of lines; None if it is unknown, as for a pipe.
            stream: where to print.
            clock: returns monotonic time in seconds.
        """
        self._stream, self._clock, self._terminal = stream, clock, stream.isatty()
        self._progress = Progress("grade", total, "line", clock) if total is not None else None
        if self._progress:
            self._progress.line(0)
        self._done, self._started = 0, clock()
        self._shown = self._started

    def add(self, lines: int) -> None:
        """Count lines that have been graded, and print the progress if it is time."""
        self._done += lines
        now = self._clock()
        if now - self._shown < SECONDS:
            return
        self._shown = now
        rate = f"{self._done / (now - self._started):,.0f} lines per second"
        line = self._progress.line(self._done, rate) if self._progress else f"grade: line {self._done:,}, {rate}"
        print(f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=self._stream)
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._terminal and self._shown > self._started:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
