"""`medrlvr grade`: grade responses from JSON lines. It needs only the standard library, and pyarrow for parquet."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medrlvr.cli.grade_chunks import Graded, Task, grade_chunks, split_lines, task_reward
from medrlvr.cli.grade_progress import GradingProgress, count_lines
from medrlvr.cli.grade_summary import Summary
from medrlvr.cli.json_lines import Keys
from medrlvr.cli.parsers import CommandParser
from medrlvr.runtime.atomic import write_atomically
from medrlvr.runtime.errors import UserError


def _parser() -> CommandParser:
    details = (
        "Each input line is an object with response, options (a list, or their number) and gold (letter, or index from"
        "\n0). truncated is optional. Other keys, such as id, are copied to the output. docs/grading.md explains the"
        "\noutput. The summary is printed on standard error, or with --out on standard output."
    )
    parser = CommandParser("grade", _grade, details)
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="JSON lines; default: -, standard input")
    parser.add_argument("--format", choices=["tagged", "bare"], default="tagged", help="default: tagged")
    parser.add_argument("--reward", metavar="SPEC", help='term, or JSON such as \'{"paper": 1, "leak_penalty": 0.5}\'')
    parser.add_argument("--out", metavar="FILE", help=".jsonl, or .parquet (needs pyarrow); default: standard output")
    parser.add_argument("--processes", metavar="N", type=_positive, default=1, help="default: 1")
    for key, name in asdict(Keys()).items():
        parser.add_argument(f"--{key}", metavar="KEY", default=name, help=f"the line's key for it; default: {name}")
    return parser


PARSERS = {"grade": _parser}
PROCESSES = 256
"""Largest number of processes."""


def _positive(text: str) -> int:
    # Every process starts at once, also where the input has few lines.
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= PROCESSES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes; write 1 to {PROCESSES}")
    return int(text)


def _grade(given: Namespace) -> None:
    name = "standard input" if given.file == "-" else given.file
    out = _output(given.out, given.file)
    keys = _keys(given)
    task = Task(name, keys, given.format, given.reward, as_tables=out is not None and out.suffix == ".parquet")
    task_reward(task.reward)  # A wrong reward is reported before any work.
    progress = GradingProgress(count_lines(Path(given.file)), sys.stderr)
    try:
        graded = grade_chunks(task, split_lines(_lines(given.file, name)), given.processes)
        summary = _write(graded, progress, out)
    finally:
        progress.clear()
    print(summary.text(given.format), file=sys.stdout if out else sys.stderr)


def _keys(given: Namespace) -> Keys:
    keys = Keys(given.response, given.options, given.gold, given.truncated)
    option_of: dict[str, str] = {}
    for option, key in asdict(keys).items():
        if key in option_of:
            raise UserError(f"--{option_of[key]} and --{option} both name the key {key}. Give each its own key.")
        option_of[key] = option
    return keys


def _output(out: str | None, file: str) -> Path | None:
    """Return the path of `--out` if a file can be written there."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"--out {out}: the name must end with .jsonl for JSON lines, or with .parquet.")
    try:
        is_folder = path.is_dir()
        is_input = file != "-" and path.exists() and Path(file).exists() and path.samefile(file)
    except OSError as error:
        raise _not_writable(out, error) from None
    if is_folder:
        raise UserError(f"--out {out} is a folder. Give the path of a file.")
    if is_input:
        raise UserError(f"--out {out} is also the input, whose responses would be lost. Give another name.")
    if path.suffix == ".parquet":
        _require_parquet(out)
    return path


def _require_parquet(out: str) -> None:
    try:
        import medrlvr.cli.grade_parquet  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"--out {out}: a parquet file needs the package {error.name}, which {sys.executable} does not have. Install"
            " pyarrow (it is part of medrlvr[pipeline]), or write JSON lines: --out FILE.jsonl."
        ) from None


def _lines(file: str, name: str) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as lines:
            yield from lines
    except OSError as error:
        raise UserError(
            f"{name} cannot be read: {error.strerror}. Give the path of a JSON lines file, or - for standard input."
        ) from None


def _write(graded: Iterable[Graded], progress: GradingProgress, out: Path | None) -> Summary:
    """Write all rows, a file only if no line is malformed, and return their summary."""
    total = Summary()

    def rows() -> Iterator[Any]:
        for part in graded:
            yield part.rows
            total.add(part.summary)
            progress.add(part.lines)

    def write(temporary: Path) -> None:
        if out is not None and out.suffix == ".parquet":
            from medrlvr.cli.grade_parquet import write_tables

            write_tables([*rows()], temporary)
            return
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(rows())

    if out is None:
        sys.stdout.writelines(rows())
        sys.stdout.flush()
        return total
    try:
        write_atomically(out, write)
    except OSError as error:
        raise _not_writable(out, error) from None
    return total


def _not_writable(out: str | Path, error: OSError) -> UserError:
    return UserError(
        f"--out {out} cannot be written: {error.strerror}. Give a path in a folder that you can write to and that has"
        " space."
    )
