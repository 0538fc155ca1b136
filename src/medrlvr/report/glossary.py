"""The terms of docs/glossary.md, which the report shows next to its own words."""

import re
from pathlib import Path


def read_glossary(path: Path) -> dict[str, str]:
    """Return term -> meaning as plain text. Terms that share a row of the table share its meaning.

    Args:
        path: docs/glossary.md; only the section "Terms" is read.
    """
    terms = path.read_text(encoding="utf-8").partition("\n## Terms\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!term |---)([^|]+) \| ([^|]+) \|$", terms, re.MULTILINE)
    return {_plain(term.strip()): _plain(meaning) for names, meaning in rows for term in names.split(",")}


def _plain(text: str) -> str:
    """Return a text without the marks of Markdown: links keep their text, code loses its quotes."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("`", "")
