"""`python -I guard.py COMMAND...`: run a command, and end all its processes if the caller is killed.

A killed caller cannot end the processes that it started. This process can: its standard input is a pipe from the
caller, which the kernel closes when the caller ends. Ray's processes leave their session and their parents, so this
process adopts them and finds them as its descendants.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(command: Sequence[str]) -> int:
    """Run the command and return its exit status; a signal that ended it also ends this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the caller ends the command
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_prepare)
    ending = threading.Event()
    thread = threading.Thread(target=_end_with_caller, args=(ending,), daemon=True)
    thread.start()
    code = process.wait()
    if ending.is_set():
        thread.join()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _prepare() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_caller(ending: threading.Event) -> None:
    while os.read(0, 1):
        pass
    ending.set()
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(0.05)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
