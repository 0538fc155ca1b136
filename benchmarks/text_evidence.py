"""Measure the rule for evidence in free text on responses that readers labelled, for the table of docs/stages.md.

make text-evidence
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.evaluation.statistics import wilson_interval
from medrlvr.grading.text_evidence import check_text
from medrlvr.reference import markdown
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text

DOCUMENT = Path("docs/stages.md")
GOLDEN = Path("tests/golden/text_evidence.jsonl")
SETS = {"first": "first set, development", "second": "second set, development", "third": "third set"}


@dataclass(frozen=True)
class Case:
    """A response: the reader's label, and what the rule reported."""

    id: str
    part: str
    fabricated: bool
    reported: bool


def cases() -> list[Case]:
    """Return all labelled responses."""
    rows = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    return [
        Case(
            row["id"],
            row["set"],
            row["fabricated"],
            check_text("\n".join((row["stem"], *row["options"])), row["think"]).invented > 0,
        )
        for row in rows
    ]


def table(found: Sequence[Case]) -> str:
    """Return the Markdown: counts, precision and recall of each set, and the ids of false reports."""
    rows = [["responses", "n", "fabricated", "reported", "reported and fabricated", "precision", "recall"]]
    for part, name in SETS.items():
        here = [case for case in found if case.part == part]
        fabricated, reported = [case for case in here if case.fabricated], [case for case in here if case.reported]
        both = sum(case.reported for case in fabricated)
        shares = [_share(both, len(reported)), _share(both, len(fabricated))]
        rows.append([name, *map(str, (len(here), len(fabricated), len(reported), both)), *shares])
    wrong = [case.id for case in found if case.reported and not case.fabricated]
    return (
        f"{markdown.table(rows)}\n\nReported, and not fabricated by the reader's label: {', '.join(wrong) or 'none'}."
    )


def _share(part: int, whole: int) -> str:
    low, high = wilson_interval(part, whole)
    return f"{100 * part / whole:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


if __name__ == "__main__":
    try:
        write_text(DOCUMENT, markdown.splice(DOCUMENT, "text evidence", table(cases())))
    except UserError as error:
        sys.exit(str(error))
