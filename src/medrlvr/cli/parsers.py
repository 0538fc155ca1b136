"""The parsers that all commands share."""

import argparse
from collections.abc import Callable, Sequence

from medrlvr.cli.commands import COMMANDS


class CommandParser(argparse.ArgumentParser):
    """The parser of one command. Options may be before, between and after the other arguments."""

    def __init__(self, command: str, start: Callable[[argparse.Namespace], None], details: str = "") -> None:
        """Take the help from `COMMANDS`.

        Args:
            command: name of the command.
            start: runs the command with the parsed options.
            details: further paragraphs of the help.
        """
        _, synopsis, purpose, example = COMMANDS[command]
        super().__init__(
            prog=f"medrlvr {command}",
            usage=f"medrlvr {command} {synopsis}".rstrip(),
            description=f"{purpose[0].upper()}{purpose[1:]}.\n{details}".rstrip(),
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.set_defaults(start=start)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the options of a command line; a wrong one ends the process with status 2."""
        return self.parse_intermixed_args(words)


class SnakemakeParser(CommandParser):
    """The parser of a command that passes the arguments after `--` on to Snakemake, as `snakemake`."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the options of a command line; a wrong one ends the process with status 2."""
        end = [*words, "--"].index("--")
        options = super().parse(words[:end])
        options.snakemake = [*words[end + 1 :]]
        return options


def parse_command(words: Sequence[str], version: str) -> str:
    """Return the command that the first word names. Help, the version or a wrong word ends the process."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{entry.purpose}" for name, entry in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="medrlvr",
        usage="medrlvr COMMAND ...",
        description=f"Reproduce Med-RLVR (arXiv 2502.19655).\n\ncommands:\n{commands}",
        epilog="`medrlvr COMMAND --help` prints the arguments of a command.\n\nexample:\n  medrlvr demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"medrlvr {version}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=argparse.SUPPRESS)
    return str(parser.parse_args(words).command)
