"""`medrlvr index`: write the index of all experiments."""

import os
from argparse import Namespace
from collections import Counter
from pathlib import Path

from medrlvr.cli.parsers import CommandParser


def _parser() -> CommandParser:
    details = "Every report rebuilds it. A folder that cannot be read is a row with the reason."
    return CommandParser("index", _index, details)


PARSERS = {"index": _parser}


def _index(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.report.folder_state import STATES
    from medrlvr.report.index import NAME, write_index

    here = Path.cwd()
    enter_root()
    root = Path("results")
    states = Counter(row.state.name for row in write_index(root))
    counts = ", ".join(f"{states[name]} {name}" for name in STATES if states[name])
    print(f"The index: {os.path.relpath(root / NAME, here)} ({counts or 'no experiment'})")
