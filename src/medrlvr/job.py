"""The frame around every workflow script: a complete log in a file, one line at a time on the console."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medrlvr.errors import UserError

Console = Callable[[str], None]
"""Prints one line for the person who waits."""


@contextmanager
def job(log: str | Path) -> Iterator[Console]:
    """Send all output of this process and its children to `log`, and hand back a way to speak to the console.

    A `UserError` is shown as its message alone; anything else is a fault of ours and is shown with the log's path.
    Either ends the process with status 1.
    """
    console = os.fdopen(os.dup(2), "w", buffering=1)

    def say(line: str) -> None:
        print(line, file=console)
        print(line, flush=True)

    with open(log, "w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield say
        except UserError as error:
            say(f"\n{error}\n(log: {log})\n")
            sys.exit(1)
        except Exception as error:
            traceback.print_exc()
            say(f"\n{type(error).__name__}: {error}\nThis is a fault of the pipeline; the whole story is in {log}\n")
            sys.exit(1)
