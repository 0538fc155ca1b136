"""Compare graders on MCQA-Grade, and write the tables of docs/mcqa_grade.md.

Runs in an environment of its own, which has the other graders without the packages that they need for models:

    python3.11 -m venv <folder>
    <folder>/bin/pip install math-verify==0.9.0 antlr4-python3-runtime==4.13.2 packaging==25.0
    <folder>/bin/pip install --no-deps trl==1.16.0 lm_eval==0.4.13
    PYTHONPATH=src <folder>/bin/python benchmarks/other_graders.py
"""

import json
import re
import string
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter
from math_verify import LatexExtractionConfig, parse, verify
from trl.rewards import accuracy_reward

from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.reference.markdown import fenced, splice, table
from medrlvr.runtime.errors import UserError

CASES = Path("data/mcqa_grade/mcqa_grade.jsonl")
DOCUMENT = Path("docs/mcqa_grade.md")
EXAMPLES = 3
"""Of each grader and outcome."""
OUTCOMES = ("right", "wrong letter", "missed", "false reading")
PINNED = ("lm_eval", "trl", "math-verify", "latex2sympy2_extended")

Case = dict[str, Any]


@dataclass(frozen=True)
class Grader:
    """A grader, the column of the data set that has its task, and the letters that it reads from the cases."""

    name: str
    column: str
    read: Callable[[list[Case]], list[str | None]]


def outcome(expected: str | None, read: str | None) -> str:
    """Return one of OUTCOMES."""
    if read == expected:
        return "right"
    if expected is None:
        return "false reading"
    return "missed" if read is None else "wrong letter"


def single_letter(text: str, case: Case) -> str | None:
    """Return the option letter of a text that has one character apart from punctuation, as exact match compares it."""
    bare = text.translate(str.maketrans("", "", string.punctuation)).strip().upper()
    return bare if len(bare) == 1 and bare in LETTERS[: len(case["options"])] else None


def each(read: Callable[[Case], str | None]) -> Callable[[list[Case]], list[str | None]]:
    return lambda cases: [read(case) for case in cases]


def filtered(kind: type[RegexFilter], **settings: Any) -> Callable[[list[Case]], list[str | None]]:
    """Return the reading of a filter of lm-evaluation-harness; one call for all cases, because each call is slow."""
    made = kind(**settings)

    def read(cases: list[Case]) -> list[str | None]:
        texts = made.apply([[case["response"]] for case in cases], [{"choices": case["options"]} for case in cases])
        return [single_letter(text, case) for (text,), case in zip(texts, cases, strict=True)]

    return read


def accepted(accepts: Callable[[str, str], bool]) -> Callable[[list[Case]], list[str | None]]:
    """Return the reading of an accuracy function: the only letter with which it calls the response correct."""

    def read(case: Case) -> str | None:
        letters = [letter for letter in LETTERS[: len(case["options"])] if accepts(case["response"], f"${letter}$")]
        return letters[0] if len(letters) == 1 else None

    return each(read)


def trl_accepts(response: str, solution: str) -> bool:
    return accuracy_reward([[{"role": "assistant", "content": response}]], [solution]) == [1.0]


def open_r1_accepts(response: str, solution: str) -> bool:
    """Call math-verify with the settings of open-r1's accuracy function; the registry does not have open-r1."""
    normal = NormalizationConfig(
        nits=False, malformed_operators=False, basic_latex=True, equations=True, boxed="all", units=True
    )
    boxed_first = LatexExtractionConfig(
        normalization_config=normal, boxed_match_priority=0, try_extract_without_anchor=False
    )
    gold = parse(solution, extraction_mode="first_match", extraction_config=[LatexExtractionConfig()])
    return verify(parse(response, extraction_mode="first_match", extraction_config=[boxed_first]), gold)


def found(pattern: str, which: int) -> Callable[[list[Case]], list[str | None]]:
    """Return the reading of one regular expression: its first (0) or last (-1) match."""

    def read(case: Case) -> str | None:
        letters = [letter.upper() for letter in re.findall(pattern, case["response"])]
        return letters[which] if letters and letters[which] in LETTERS[: len(case["options"])] else None

    return each(read)


GRADERS = [
    Grader("ours, strict", "strict", each(lambda case: grade(case["response"], case["options"], 0).letter)),
    Grader("regex: letter after the answer tag", "strict", found(r"<answer>\s*\(?([A-Ka-k])\b", 0)),
    Grader("ours, lenient", "lenient", each(lambda case: grade(case["response"], case["options"], 0).lenient_letter)),
    Grader("regex: last capital letter that is a word", "lenient", found(r"\b([A-K])\b", -1)),
    Grader("lm-eval: MMLU-Pro", "lenient", filtered(RegexFilter, regex_pattern=r"answer is \(?([ABCDEFGHIJ])\)?")),
    Grader(
        "lm-eval: MMLU, strict-match",
        "lenient",
        filtered(
            RegexFilter,
            regex_pattern="((?<=The answer is )(.*)(?=.)|(?<=answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
            "|(?<=The final answer: )(.*)(?=.))",
        ),
    ),
    Grader(
        "lm-eval: MMLU, flexible-extract",
        "lenient",
        filtered(
            MultiChoiceRegexFilter,
            regex_pattern=r"(\([A-Z]\))",
            group_select=-1,
            ignore_case=True,
            ignore_punctuation=True,
        ),
    ),
    Grader("TRL: accuracy_reward", "lenient", accepted(trl_accepts)),
    Grader("open-r1: accuracy, by math-verify", "lenient", accepted(open_r1_accepts)),
]


def counts(cases: list[Case], readings: list[str | None], column: str) -> list[str]:
    number = Counter(outcome(case[column], read) for case, read in zip(cases, readings, strict=True))
    return [f"{number[name]:,}" for name in OUTCOMES]


def comparison(cases: list[Case], readings: dict[str, list[str | None]]) -> str:
    rows = [["grader", "expected", *OUTCOMES]]
    for grader in GRADERS:
        for column in (grader.column, "meant"):
            rows.append([grader.name, column, *counts(cases, readings[grader.name], column)])
    return table(rows)


def by_kind(cases: list[Case], readings: dict[str, list[str | None]]) -> str:
    """Return the share of cases of each kind in which a grader reads what was meant, in percent."""
    rows = [["kind", "cases", *(grader.name for grader in GRADERS)]]
    for kind in dict.fromkeys(case["kind"] for case in cases):
        which = [index for index, case in enumerate(cases) if case["kind"] == kind]
        right = [sum(readings[grader.name][i] == cases[i]["meant"] for i in which) for grader in GRADERS]
        rows.append([kind, str(len(which)), *(f"{100 * number / len(which):.0f}" for number in right)])
    return table(rows)


def examples(cases: list[Case], readings: dict[str, list[str | None]]) -> str:
    """Return the first cases of each kind of error, from different kinds of response where they exist."""
    parts = []
    for grader in GRADERS:
        lines = []
        for name in OUTCOMES[1:]:
            shown: dict[str, str] = {}
            for case, read in zip(cases, readings[grader.name], strict=True):
                if outcome(case[grader.column], read) == name and case["kind"] not in shown:
                    text = json.dumps(case["response"][-90:])
                    shown[case["kind"]] = f"{case['id']}: {case[grader.column]} expected, {read} read: {text}"
            chosen = list(shown.values())[:EXAMPLES]
            lines += [f"{name}:", *(chosen or ["(no case)"])]
        parts.append(f"### {grader.name}\n\n{fenced(chr(10).join(lines))}")
    return "\n\n".join(parts)


def main() -> None:
    cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    readings = {grader.name: grader.read(cases) for grader in GRADERS}
    versions = ", ".join(f"{package} {version(package)}" for package in PINNED)
    for name, block in (
        ("graders", f"{comparison(cases, readings)}\n\nVersions: {versions}."),
        ("kinds", by_kind(cases, readings)),
        ("examples", examples(cases, readings)),
    ):
        DOCUMENT.write_text(splice(DOCUMENT, name, block), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
