"""Compare the labels of responses with those of a reader, for the tables of docs/stages.md.

make stages
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.dynamics.stages import LABELS, label
from medrlvr.grading.grader import grade
from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text

DOCUMENT = Path("docs/stages.md")
GOLDEN = Path("tests/golden/stages.jsonl")
HALVES = {1: "Development half", 0: "Held-out half"}
"""The rules were developed on responses with odd ids. Those with even ids were scored once, with the final rules."""


@dataclass(frozen=True)
class Case:
    """A response with both labels."""

    id: str
    reader: str
    rules: str

    @property
    def half(self) -> int:
        return int(self.id[1:]) % 2


def cases(halves: Sequence[int] = (1, 0)) -> list[Case]:
    """Return the responses of these halves, with their labels."""
    found = []
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        graded = grade(row["response"], row["options"], row["gold"], truncated=row["truncated"])
        found.append(Case(row["id"], row["stage"], label(row["response"], graded)))
    return [case for case in found if case.half in halves]


def agreement(found: Sequence[Case]) -> tuple[float, float]:
    """Return the fraction of equal labels, and Cohen's kappa, which corrects for agreement by chance."""
    n = len(found)
    equal = sum(case.reader == case.rules for case in found) / n
    reader, rules = Counter(case.reader for case in found), Counter(case.rules for case in found)
    chance = sum(reader[name] * rules[name] for name in LABELS) / n**2
    return equal, (equal - chance) / (1 - chance)


def table(halves: Sequence[int] = (1, 0)) -> str:
    """Return the Markdown: for each half, the confusion table and the responses with different labels."""
    parts = []
    for half in halves:
        found = cases([half])
        equal, kappa = agreement(found)
        right = round(equal * len(found))
        parts += [f"{HALVES[half]}: {right} of {len(found)} labels agree, {100 * equal:.1f} %, kappa {kappa:.2f}.", ""]
        parts += ["| reader \\ rules | " + " | ".join(LABELS) + " |", "|---|" + "---:|" * len(LABELS)]
        pairs = Counter((case.reader, case.rules) for case in found)
        parts += [f"| {row} | " + " | ".join(str(pairs[row, column]) for column in LABELS) + " |" for row in LABELS]
        unlike = [f"{case.id} ({case.reader}, rules: {case.rules})" for case in found if case.reader != case.rules]
        parts += ["", f"Different labels: {'; '.join(unlike) or 'none'}.", ""]
    return "\n".join(parts).rstrip()


if __name__ == "__main__":
    try:
        write_text(DOCUMENT, splice(DOCUMENT, "results", table()))
    except UserError as error:
        sys.exit(str(error))
