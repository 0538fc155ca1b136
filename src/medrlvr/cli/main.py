"""The entry point: find the command, run it, and turn its errors into an exit status.

Exit status: 0; 1 for an error that the user can correct; 2 for wrong usage; 129, 130 and 143 after SIGHUP, Ctrl-C and
SIGTERM; 141 if the reader of the output has stopped reading.
"""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module

from medrlvr import __version__
from medrlvr.cli.commands import COMMANDS
from medrlvr.cli.parsers import parse_command
from medrlvr.runtime.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        arguments: the words after `medrlvr`; None for those of this process.
    """
    _open_closed_streams()
    if arguments is None:
        _exit_on_signals()
    words = sys.argv[1:] if arguments is None else [*arguments]
    try:
        command = parse_command(words[:1], __version__)
        status = _run(command, words[1:])
        sys.stdout.flush()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes stdout again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:
            print(f"{error.filename}: {error.strerror}. Check the path and its permissions.", file=sys.stderr)
            return 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"the output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    return status


def _open_closed_streams() -> None:
    """Read and write the null device instead of standard streams that are closed, as in `medrlvr grade FILE >&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as an exception does: without them, unfinished files would remain."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _exit)


def _exit(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the removal of files
    sys.exit(128 + number)


def _run(command: str, words: list[str]) -> int:
    module = import_module(f"medrlvr.cli.{COMMANDS[command].module}")
    options: Namespace = module.PARSERS[command]().parse(words)
    try:
        options.start(options)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "medrlvr":
            raise
        raise UserError(
            f"`medrlvr {command}` needs the package {error.name}, which {sys.executable} does not have."
            "\nRun `make setup` and use .venv/bin/medrlvr. Only `medrlvr grade` needs no packages."
        ) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
