"""Progress lines: display name, position, facts, and the time left."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

ALARM_PREFIX = "reward hacking: "
"""Start of an alarm, after the name of the run."""


@dataclass
class Progress:
    """Formats progress lines.

    Attributes:
        display_name: name of the run, such as "rlvr, seed 1".
        total: total number of units.
        unit: name of the unit.
        clock: returns monotonic time in seconds.
    """

    display_name: str
    total: int
    unit: str = "update"
    clock: Callable[[], float] = time.monotonic
    _first: float | None = field(default=None, init=False)
    _start: int = field(default=0, init=False)

    def line(self, done: int, facts: str = "") -> str:
        """Return the line for unit number `done` (from 1), which has just finished. The first line has no time left."""
        now = self.clock()
        if self._first is None:
            self._first, self._start = now, done
            left = ""
        else:
            seconds = (now - self._first) / max(1, done - self._start) * (self.total - done)
            left = f", about {duration(seconds)} left"
        return f"{self.display_name}: {self.unit} {done:,} of {self.total:,}{', ' if facts else ''}{facts}{left}"


_LINE = re.compile(r"(?P<display_name>.+): (?P<at>\w+ [\d,]*\d of [\d,]*\d(?:, .+?)??)(?P<left>, about [^,]+ left)?")


def parse(line: str) -> tuple[str, str, str] | None:
    """Return display name, position with facts, and time left (or "") of a line of `Progress.line`; None for others.

    The last two parts, joined, are the rest of the line, such as "update 9 of 110, mean reward +0.20" and
    ", about 3 min 22 s left".
    """
    match = _LINE.fullmatch(line)
    return (match["display_name"], match["at"], match["left"] or "") if match else None


def run_display_name(arm: str, seed: int, learning_rate: float | None = None) -> str:
    """Return the display name of a training run: "rlvr, seed 1". SFT has one run for each learning rate."""
    rate = "" if learning_rate is None else f", learning rate {learning_rate:g}"
    return f"{arm}{rate}, seed {seed}"


def duration(seconds: float) -> str:
    """Format seconds: 2 h 05 min, 3 min 07 s, 9 s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
