"""Make the sheet for a second reader of MCQA-Grade, and store the reader's labels in the data set.

    PYTHONPATH=src python3 benchmarks/mcqa_reader.py sheet <file>   # write 200 cases without our labels
    PYTHONPATH=src python3 benchmarks/mcqa_reader.py store <file>   # read JSON lines with id and reader

A label is an option letter or "none". data/mcqa_grade/instruction.md is all that the reader may know.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medrlvr.grading.letters import LETTERS
from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError

CASES = Path("data/mcqa_grade/mcqa_grade.jsonl")
CARD = CASES.with_name("README.md")
SAMPLE = 200
LONG = 600
"""Characters. The cases of this length or more were written after the reader had labelled the sample."""
SHOWN = ("id", "question", "options", "response")

Case = dict[str, Any]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample(cases: list[Case]) -> list[Case]:
    """Return SAMPLE cases, equally many of each kind (or one more), in an order that hides the kinds.

    Long responses are left out.
    """
    kinds: dict[str, list[Case]] = {}
    short = [case for case in cases if len(case["response"]) < LONG]
    for case in sorted(short, key=lambda case: digest(case["id"])):
        kinds.setdefault(case["kind"], []).append(case)
    turns = [(place, digest(kind), case) for kind, of_kind in kinds.items() for place, case in enumerate(of_kind)]
    chosen = [case for _, _, case in sorted(turns, key=lambda turn: turn[:2])[:SAMPLE]]
    return sorted(chosen, key=lambda case: digest(case["id"]))


def sheet(cases: list[Case]) -> list[Case]:
    """Return what the reader is shown; a number replaces the id, because the id contains the kind."""
    return [
        {"id": digest(case["id"])[:12], **{name: case[name] for name in SHOWN if name != "id"}}
        for case in sample(cases)
    ]


def agreement(ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, float]:
    """Return the share of equal labels and Cohen's kappa.

    Raises:
        UserError: both have one and the same label throughout, so that kappa is not defined.
    """
    total = len(ours)
    observed = sum(one == other for one, other in zip(ours, theirs, strict=True)) / total
    mine, others = Counter(ours), Counter(theirs)
    expected = sum(mine[label] * others[label] for label in mine) / total**2
    if expected == 1:
        raise UserError("Every label is the same, so kappa is not defined. Label cases with different answers.")
    return observed, (observed - expected) / (1 - expected)


def labels(path: Path, cases: list[Case]) -> dict[str, str]:
    """Return the labels of a file by the id of the case.

    Raises:
        UserError: a line is no label, a case of the sheet has none, or a label is neither "none" nor a letter of its
            question.
    """
    read = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        try:
            row = json.loads(line or "{}")
            read |= {row["id"]: row["reader"]} if row else {}
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f'{path}, line {number}: is no label. Write one JSON object: {{"id": "...", "reader": "..."}}.'
            ) from None
    found = {}
    for case in sample(cases):
        label = read.get(digest(case["id"])[:12])
        allowed = ["none", *LETTERS[: len(case["options"])]]
        if label not in allowed:
            raise UserError(
                f"{path}: the label of {digest(case['id'])[:12]} is {label!r}. Write one of {', '.join(allowed)}."
            )
        found[case["id"]] = label
    return found


def summary(cases: list[Case]) -> str:
    """Return the card's lines on the reader."""
    labelled = [case for case in cases if case["reader"]]
    theirs = [case["reader"] for case in labelled]
    lines = ["| compared column | cases | equal labels | Cohen's kappa |", "|---|---:|---:|---:|"]
    for column in ("meant", "lenient"):
        share, kappa = agreement([case[column] or "none" for case in labelled], theirs)
        lines.append(f"| `{column}` | {len(labelled)} | {100 * share:.1f} % | {kappa:.3f} |")
    differ = [case for case in labelled if case["reader"] != (case["meant"] or "none")]
    named = "; ".join(f"{case['id']} ({case['reader']}, {case['meant'] or 'none'})" for case in differ)
    lines += ["", f"The reader differs from `meant` in these cases (reader, `meant`): {named or 'none'}."]
    return "\n".join(lines)


def write_lines(path: Path, rows: list[Case]) -> None:
    """Write JSON lines in ASCII, so that no editor or reader of lines changes a response."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(words: list[str]) -> None:
    if len(words) != 2 or words[0] not in ("sheet", "store"):
        raise UserError(f"This command was not understood.\n{__doc__}")
    cases, path = [json.loads(line) for line in CASES.read_text(encoding="utf-8").split("\n") if line], Path(words[1])
    if words[0] == "sheet":
        write_lines(path, sheet(cases))
        return
    found = labels(path, cases)
    stored = [{**case, "reader": found.get(case["id"])} for case in cases]
    write_lines(CASES, stored)
    CARD.write_text(splice(CARD, "reader", summary(stored)), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError, UnicodeDecodeError) as error:
        sys.exit(str(error))
