"""What a person who waits is told: the display_name, how much of how much is done, and the time left."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

ALARM_PREFIX = "reward hacking: "
"""Start of an alarm, after the name of the run."""


@dataclass
class Progress:
    """Turns reports into lines.

    Attributes:
        display_name: what runs, such as "rlvr, seed 1".
        total: how many there are in all.
        unit: what is counted.
        clock: seconds; monotonic.
    """

    display_name: str
    total: int
    unit: str = "update"
    clock: Callable[[], float] = time.monotonic
    _first: float | None = field(default=None, init=False)
    _start: int = field(default=0, init=False)

    def line(self, done: int, facts: str = "") -> str:
        """Return the line for number `done` (from 1), just finished; the time left is known from the second line on."""
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
    """Return display name, position with facts, and time left (or "") of a line of `Progress.line`; else None.

    The last two put together are the line again: "update 9 of 110, mean reward +0.20", ", about 3 min 22 s left".
    """
    match = _LINE.fullmatch(line)
    return (match["display_name"], match["at"], match["left"] or "") if match else None


def run_display_name(arm: str, seed: int, learning_rate: float | None = None) -> str:
    """Return what a training run is called: "rlvr, seed 1"; of several learning rates each has a run of its own."""
    rate = "" if learning_rate is None else f", learning rate {learning_rate:g}"
    return f"{arm}{rate}, seed {seed}"


def duration(seconds: float) -> str:
    """Return seconds in words: 2 h 05 min, 3 min 07 s, 9 s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
