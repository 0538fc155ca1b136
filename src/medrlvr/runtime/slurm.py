"""The Slurm job that this process is in: the time that it has left, and its requeue."""

import os
import re
import subprocess
from contextlib import suppress

_LEFT = re.compile(r"(?:(?P<days>\d+)-)?(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+)")

_PATIENCE = 20.0
"""Seconds for a command of Slurm, which waits for minutes if the controller is down."""


def current_job() -> str | None:
    """Return the ID of the Slurm job that this process is in, or None."""
    return os.environ.get("SLURM_JOB_ID")


def parse_time_left(text: str) -> float | None:
    """Return the seconds in Slurm's format [[days-]hours:]minutes:seconds; None for UNLIMITED, INVALID and the like.

    With days, Slurm writes days-hours:minutes:seconds.
    """
    match = _LEFT.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(match[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def seconds_left(job: str) -> float | None:
    """Return the seconds until the job's time limit, or None if it has none or Slurm does not answer."""
    with suppress(OSError, subprocess.SubprocessError):
        return parse_time_left(_output("squeue", "--noheader", f"--jobs={job}", "--format=%L"))
    return None


def requeue(job: str) -> str | None:
    """Put a running job back into Slurm's queue, which ends its processes soon after.

    Returns:
        None, or the reason why Slurm refused.
    """
    try:
        _output("scontrol", "requeue", job)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        return " ".join(str(told).split())
    return None


def _output(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=True
    )
    return done.stdout
