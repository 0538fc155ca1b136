"""A request to a running trainer to save a checkpoint after its current update, as a file in the attempt's folder."""

import os
from pathlib import Path

STOP_FILE = "stop"


def request_stop(attempt: Path) -> None:
    """Make the trainer save a checkpoint after the current update and after every later one."""
    (attempt / STOP_FILE).touch()


def stop_requested() -> bool:
    """Return whether a stop of this process's attempt was requested; called by the patched trainer."""
    return (Path(os.environ["MEDRLVR_ROLLOUTS"]) / STOP_FILE).exists()
