"""Console output of a step: colours and one progress bar on a terminal, plain lines in pipes and logs."""

import fcntl
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from medrlvr.runtime.progress import ALARM_PREFIX, parse

_AT = re.compile(r"(?P<unit>\w+) (?P<done>[\d,]+) of (?P<total>[\d,]+)(?:, (?P<facts>.+))?")
_CLEAR = "\r\x1b[K"
_BAR_WIDTH = 20


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


class StepConsole:
    """The console of one step.

    The cursor stays at the start of the bar, so that any other line overwrites the bar. Several steps may share a
    terminal. Only the step that holds the terminal's lock draws a bar; the others print lines.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Use a stream as the console.

        Args:
            stream: the console.
            clock: returns monotonic time in seconds.
        """
        self._stream, self._clock, self._terminal = stream, clock, is_terminal(stream)
        self._lock: int | None = None
        self._stage, self._started, self._first = "", 0.0, 0

    def print(self, line: str, style: str | None = None) -> None:
        """Print a line. A progress line is drawn as the bar if possible.

        Args:
            line: the text.
            style: its colour on a terminal; None for yellow if the line is an alarm, otherwise no colour.
        """
        if not self._terminal:
            print(line, file=self._stream, flush=True)
        elif not self._draw(line):
            colour = style or ("yellow" if f": {ALARM_PREFIX}" in line else "")
            self._write(f"{self._rendered(line, colour)}\n")

    def _draw(self, line: str) -> bool:
        parsed = parse(line)
        at = _AT.fullmatch(parsed[1]) if parsed else None
        if parsed is None or at is None:
            return False
        stage, done, total = parsed[0], *(int(at[name].replace(",", "")) for name in ("done", "total"))
        if stage != self._stage:
            self._stage, self._started, self._first = stage, self._clock(), done
        if done >= total or not self._has_lock():
            return False
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        row = Table.grid(padding=(0, 1))
        for width in (len(stage), _BAR_WIDTH, 1):
            row.add_column(no_wrap=True, min_width=width)
        left = parsed[2].removeprefix(", ")
        facts = [f"{at['unit']} {at['done']} of {at['total']}", left, self._rate(done, at["unit"]), at["facts"]]
        bar = ProgressBar(total, done, width=_BAR_WIDTH, complete_style="green")
        row.add_row(stage, bar, ", ".join(filter(None, facts)))
        self._write(f"{self._rendered(row)}\r")
        return True

    def _rate(self, done: int, unit: str) -> str:
        seconds = self._clock() - self._started
        if done == self._first or seconds <= 0:
            return ""
        each = seconds / (done - self._first)
        return f"{each:.1f} s/{unit}" if each >= 1 else f"{1 / each:.1f} {unit}/s"

    def _has_lock(self) -> bool:
        with suppress(OSError):
            if self._lock is None:
                # Open the terminal again: all steps inherit the same open file, and would share its lock.
                self._lock = os.open(os.ttyname(self._stream.fileno()), os.O_WRONLY | os.O_NOCTTY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _rendered(self, content: Any, style: str = "") -> str:
        from rich.console import Console
        from rich.text import Text

        # The last column stays empty: a terminal may break the line there.
        width = (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1
        console = Console(file=self._stream, force_terminal=True, width=width, highlight=False)
        with console.capture() as captured:
            if isinstance(content, str):
                console.print(Text(content, style=style), soft_wrap=True)
            else:
                console.print(content)
        return captured.get().removesuffix("\n")

    def _write(self, text: str) -> None:
        print(f"{_CLEAR}{text}", end="", file=self._stream, flush=True)
