"""End a run before its Slurm job's time limit: after an update, with a checkpoint, and requeue the job.

Snakemake starts every job through `srun`, and Slurm's warning signal (`sbatch --signal`) does not reach the trainer
there: it ends Snakemake's own process, or is lost (docs/slurm.md). So the time that is left is read from Slurm instead.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medrlvr.runtime.errors import Interrupted
from medrlvr.runtime.progress import duration
from medrlvr.runtime.slurm import current_job, requeue, seconds_left
from medrlvr.runtime.step_log import Notify
from medrlvr.training.resume.stopping import request_stop

_MARGIN = 60.0
"""Seconds to end the processes and requeue the job."""

_UPDATES = 2.5
"""The time of the longest update so far, times this, is left for the update that runs and its checkpoint."""

_INTERVAL = 15.0
"""Seconds between two questions to Slurm."""

_PATIENCE = 300.0
"""Seconds that Slurm may need to end a requeued job."""


class OutOfTime(Interrupted):
    """The Slurm job's time limit is near, and the run can resume in the next job."""


def _time_left() -> float | None:
    job = current_job()
    return None if job is None else seconds_left(job)


@dataclass
class WalltimeGuard:
    """Call it often while a trainer runs. Near the job's time limit it requests a checkpoint, then raises `OutOfTime`.

    Attributes:
        name: start of its messages.
        notify: prints a line for the user.
        attempt: folder of the attempt, where a stop is requested. None: the trainer saves only at fixed steps, so it is
            ended without a request, if this attempt has saved at least one checkpoint.
        done: update of the checkpoint from which this attempt resumed.
        last_saved: returns the update of the last complete checkpoint.
        longest_update: returns the seconds of the longest update so far, 0 if none has finished.
        time_left: returns the seconds until the time limit, or None.
    """

    name: str
    notify: Notify
    attempt: Path | None
    done: int
    last_saved: Callable[[], int]
    longest_update: Callable[[], float]
    time_left: Callable[[], float | None] = _time_left
    _next: float = field(default=0.0, init=False)
    _saved_before: int | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Check the time, and whether a requested checkpoint is complete.

        Raises:
            OutOfTime: the checkpoint is complete.
        """
        # Only an attempt that has made progress ends for a requeue, so a job that is too short is not requeued forever.
        if self._saved_before is not None:
            saved = self.last_saved()
            if saved > self._saved_before:
                raise OutOfTime(f"The job's time is almost up. The checkpoint after update {saved} is complete.")
            return
        now, longest = time.monotonic(), self.longest_update()
        if now < self._next or longest == 0:
            return
        self._next = now + _INTERVAL
        left = self.time_left()
        if left is not None and left < _UPDATES * longest + _MARGIN + _INTERVAL:
            saved = self.last_saved()
            if self.attempt is not None:
                self.notify(f"{self.name}: {duration(left)} of the job's time are left; saving after this update")
                request_stop(self.attempt)
                self._saved_before = saved
            elif saved > self.done:
                self._saved_before = saved - 1


@contextmanager
def requeued_when_out_of_time(notify: Notify) -> Iterator[None]:
    """Requeue this Slurm job when `OutOfTime` is raised inside; the requeued job runs the same command.

    Slurm then ends this process. A requeue is not a failure, so it uses up no `retries` of the profile.

    Raises:
        OutOfTime: Slurm refused to requeue the job, or did not end this process.
    """
    try:
        yield
    except OutOfTime as error:
        job = current_job()
        refused = "this is not a Slurm job" if job is None else requeue(job)
        if refused is None:
            notify(f"{error} Slurm job {job} was requeued and will resume.")
            time.sleep(_PATIENCE)
            refused = "Slurm did not end the job"
        raise OutOfTime(
            f"{error} The job was not requeued ({refused}). Start the same command again to resume it."
        ) from None
