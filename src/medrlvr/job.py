"""The frame around every workflow script: a complete log in a file, one line at a time on the console."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from medrlvr.errors import UserError
from medrlvr.progress import duration

Console = Callable[[str], None]
"""Prints one line for the person who waits."""


@contextmanager
def job(step: Any) -> Iterator[Console]:
    """Send all output of this process and its children to the step's log, and hand back a way to speak to the console.

    At the end the console gets one line: the rule, what it was for, and how long it took.

    Args:
        step: what Snakemake gives to a script, with `rule`, `wildcards` and `log`.

    A `UserError` is shown as its message alone; anything else is a fault of ours and is shown with the log's path.
    Either ends the process with status 1.
    """
    console = os.fdopen(os.dup(2), "w", buffering=1)

    def say(line: str) -> None:
        print(line, file=console)
        print(line, flush=True)

    (log,), began = step.log, time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield say
            say(f"{' '.join([step.rule, *step.wildcards])}: done in {duration(time.monotonic() - began)}")
        except UserError as error:
            say(f"\n{error}\n(log: {log})\n")
            sys.exit(1)
        except Exception as error:
            traceback.print_exc()
            say(f"\n{type(error).__name__}: {error}\nThis is a fault of the pipeline; the whole story is in {log}\n")
            sys.exit(1)
