"""What a person who waits is told: the stage, which update of how many, the reward, and the time left."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Turns reported updates into lines.

    Attributes:
        stage: what runs, such as "rlvr, seed 1".
        total: number of updates in all.
        done: updates finished before this process began.
        clock: seconds; monotonic.
    """

    stage: str
    total: int
    done: int = 0
    clock: Callable[[], float] = time.monotonic
    _first: float | None = field(default=None, init=False)
    _start: int = field(default=0, init=False)

    def line(self, update: int, facts: str) -> str:
        """Return the line for `update` (from 1), just finished; the time left is known from the second one on."""
        now = self.clock()
        if self._first is None:
            self._first, self._start = now, update
            left = ""
        else:
            seconds = (now - self._first) / max(1, update - self._start) * (self.total - update)
            left = f", about {_duration(seconds)} left"
        return f"{self.stage}: update {update} of {self.total}, {facts}{left}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
