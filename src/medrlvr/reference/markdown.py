"""Parts of a Markdown document: tables, verbatim text, and blocks between two markers."""

import re
from collections.abc import Sequence
from pathlib import Path

from medrlvr.runtime.errors import UserError


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its header."""
    header, *body = rows
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *body])


def fenced(text: str) -> str:
    """Return a text as a block of code, with a fence that does not occur in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.strip()}\n{fence}"


def splice(document: Path, name: str, block: str) -> str:
    """Return the document's text with `block` between the two markers of this name.

    Raises:
        UserError: a marker is missing.
    """
    text = document.read_text(encoding="utf-8")
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(
            f"{document} must contain the lines {begin} and {end} exactly once each, around the {name}. Restore them."
        )
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"
