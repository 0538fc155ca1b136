"""`medrlvr grade`: grade responses from JSON lines. Needs only the standard library and `medrlvr.grading`."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from medrlvr.cli.json_lines import grade_lines, read_reward
from medrlvr.cli.parsers import CommandParser
from medrlvr.runtime.errors import UserError


def _parser() -> CommandParser:
    details = (
        "Each input line is an object with response, options (a list) and gold (index from 0, or letter). truncated is"
        "\noptional. Other keys, such as id, are copied to the output. docs/grading.md explains the output."
    )
    parser = CommandParser("grade", _grade, details)
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="JSON lines; default: -, standard input")
    parser.add_argument("--format", choices=["tagged", "bare"], default="tagged", help="default: tagged")
    parser.add_argument("--reward", metavar="SPEC", help='term, or JSON such as \'{"paper": 1, "leak_penalty": 0.5}\'')
    return parser


PARSERS = {"grade": _parser}


def _grade(options: Namespace) -> None:
    reward = read_reward(options.reward) if options.reward is not None else None
    name = "standard input" if options.file == "-" else options.file
    for row in grade_lines(_lines(options.file, name), name, options.format, reward):
        print(json.dumps(row))


def _lines(file: str, name: str) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as lines:
            yield from lines
    except OSError as error:
        raise UserError(
            f"{name} cannot be read: {error.strerror}. Give the path of a JSON lines file, or - for standard input."
        ) from None
