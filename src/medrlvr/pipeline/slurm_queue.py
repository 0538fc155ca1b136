"""The user's jobs as Slurm's `squeue` lists them."""

import os
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job in Slurm's queue, or one that has ended recently."""

    number: str
    state: str
    reason: str
    folder: str
    comment: str


def ask_slurm() -> list[SlurmJob] | None:
    """Return this user's jobs; None if Slurm is not installed or does not answer within 5 seconds."""
    form = "%A|%T|%r|%Z|%k"
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", form]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_queue(answer.stdout)


def parse_queue(text: str) -> list[SlurmJob]:
    """Parse the output of `squeue --format "%A|%T|%r|%Z|%k"`: number, state, reason, folder and comment."""
    return [SlurmJob(*line.split("|", 4)) for line in text.splitlines() if line.count("|") >= 4]
