"""Callbacks for each line that a trainer prints: progress lines, metrics on disk, reward-hacking alarms."""

import json
import math
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from medrlvr.dynamics.hack_monitor import HackMonitor
from medrlvr.runtime.progress import Progress
from medrlvr.runtime.step_log import Notify
from medrlvr.training import health
from medrlvr.training.trainer_metrics import parse_line, read_lines

_PROGRESS_BAR = re.compile(r"Train step of epoch (\d+):.*?(\d+)/(\d+) \[.*gpt_loss=([^,\]]+)")


class RlvrWatch:
    """Handles the output of `train_ppo_ray`: call the object with each printed line, inside a `with` block.

    Attributes:
        longest_update: seconds of this attempt's longest update after its first, 0 without one.
    """

    def __init__(
        self, display_name: str, updates: int, printed: Path, done: int, checkpoints: Path, notify: Notify
    ) -> None:
        """Read the metrics of earlier attempts.

        Args:
            display_name: the run's name in progress lines.
            updates: number of updates in the whole run.
            printed: JSON lines file to which the metrics of every update are appended.
            done: number of updates before the checkpoint from which the run resumes.
            checkpoints: folder of the trainer's checkpoints, for the message if the training diverges.
            notify: prints a progress line.
        """
        self._name, self._printed, self._notify = display_name, printed, notify
        self._updates, self._checkpoints, self._last_time = updates, checkpoints, math.nan
        self.longest_update = 0.0
        self._progress, self._monitor = Progress(display_name, updates), HackMonitor()
        self._file: TextIO | None = None
        alarms: list[str] = []
        earlier = read_lines(printed, done)
        self._first, self._warned = health.first_update(earlier), False
        for row in earlier:
            alarms = self._add(row) or alarms
        # They were reported before, but this attempt has a new log, from which `medrlvr status` reads them.
        for alarm in alarms:
            print(f"{display_name}: {alarm}", flush=True)

    def __enter__(self) -> Self:
        self._file = self._printed.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()

    def __call__(self, line: str) -> None:
        """Print the line; if it reports an update, save its metrics and notify.

        Raises:
            UserError: `health.check_update` raises it.
        """
        print(line, flush=True)
        row = parse_line(line)
        if row is None:
            return
        print(json.dumps(row), file=self._file, flush=True)
        self._first = self._first or health.first_update([row])
        warning = health.check_update(row, self._first, self._updates, self._checkpoints)
        now = time.monotonic()
        self.longest_update = max(self.longest_update, 0.0 if math.isnan(self._last_time) else now - self._last_time)
        self._last_time = now
        self._notify(self._progress.line(int(row["update"]), f"mean reward {row['rollout/reward_mean']:+.2f}"))
        if warning and not self._warned:
            self._warned = True
            self._notify(f"{self._name}: warning: {warning}")
        for alarm in self._add(row):
            self._notify(f"{self._name}: {alarm}")

    def _add(self, row: dict[str, float]) -> list[str]:
        return self._monitor.add(int(row["update"]), row["rollout/num_samples"], row["rollout/reward_mean"], row)


class SftWatch:
    """Handles the output of `train_sft`: call the object with each printed line."""

    def __init__(self, display_name: str, epochs: int, source: Path, notify: Notify, interval: float = 5.0) -> None:
        """Start the clock.

        Args:
            display_name: the run's name in progress lines.
            epochs: number of epochs in the whole run.
            source: the run's state folder, for the message if the training diverges.
            notify: prints a progress line.
            interval: minimum seconds between two progress lines of one epoch.
        """
        self._name, self._epochs, self._notify, self._interval = display_name, epochs, notify, interval
        self._source = source
        self._last_time, self._last_batch, self._drawn = time.monotonic(), 0, ("", "")
        self._progress: Progress | None = None

    def __call__(self, line: str) -> None:
        """Print the line; if it shows progress, notify.

        Raises:
            UserError: the loss is not finite.
        """
        print(line, flush=True)
        match = _PROGRESS_BAR.search(line)
        if match is None:
            return
        epoch, batch, batches, loss = match.groups()
        health.check_loss(float(loss), f"batch {batch} of epoch {int(epoch) + 1}", self._source)
        # A step is drawn first with the loss of the previous step, then with its own; an epoch's last step again.
        before, self._drawn = self._drawn, (epoch, batch)
        done = int(epoch) * int(batches) + int(batch)
        due = batch == batches or time.monotonic() - self._last_time > self._interval
        if self._drawn == before and done != self._last_batch and due:
            self._progress = self._progress or Progress(self._name, self._epochs * int(batches), unit="batch")
            self._last_time, self._last_batch = time.monotonic(), done
            self._notify(self._progress.line(done, f"epoch {int(epoch) + 1} of {self._epochs}, loss {loss}"))
