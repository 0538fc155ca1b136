"""The golden cases, what an integration must find, and examples and counts of docs/grader_in_your_trainer.md."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medrlvr.grading import grade, load_reward
from medrlvr.integrations.responses import SCORES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/grader_in_your_trainer.md").read_text(encoding="utf-8")
CASES = [json.loads(line) for line in (ROOT / "tests/golden/grades.jsonl").read_text(encoding="utf-8").splitlines()]
TAGGED = [case for case in CASES if case["form"] == "tagged"]
BARE = [case for case in CASES if case["form"] == "bare"]
PAPER = load_reward("paper")


def expected(case: dict[str, Any], truncated: bool | None = None) -> dict[str, Any]:
    """What the grader itself finds: reward, letter, rule, truncated and the scores."""
    known = case["truncated"] if truncated is None else truncated
    found = grade(case["response"], case["options"], case["gold"], case["form"], truncated=known)
    assert {name: getattr(found, name) for name in case["expected"] if name != "truncated"} == {
        name: value for name, value in case["expected"].items() if name != "truncated"
    }
    named = {"reward": PAPER(found), "letter": found.letter, "rule": found.rule, "truncated": found.truncated}
    return named | {name: float(getattr(found, name)) for name in SCORES}


def differing(cases: Iterable[dict[str, Any]], found: Iterable[dict[str, Any]]) -> list[str]:
    """The reasons of the cases in which an integration finds anything else, of what it reports."""
    return [
        case["reason"]
        for case, one in zip(cases, found, strict=True)
        if one != {name: value for name, value in expected(case).items() if name in one}
    ]


def stated(row: str) -> int:
    """The number of cases that the document's table states in the row that begins with `row`."""
    (number,) = re.findall(rf"^\| {re.escape(row)} \|.*\| (\d+) \|$", DOCUMENT, re.MULTILINE)
    return int(number)


def example(heading: str) -> str:
    """The Python block under a heading of the document."""
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return block


def write_questions(path: Path) -> list[dict[str, Any]]:
    """Two questions in our own words, as a file for the examples."""
    rows = [
        {"question_id": "q1", "stem": "Which drug ends a migraine?", "options": ["insulin", "sumatriptan"], "gold": 1},
        {"question_id": "q2", "stem": "Which vitamin prevents scurvy?", "options": ["C", "D", "K"], "gold": 0},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows
