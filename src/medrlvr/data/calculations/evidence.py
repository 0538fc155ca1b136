"""Check the reasoning of a response against the formulas and the values of the question.

The steps of a derivation are those of the formula, in order, with the present values and right results.
docs/calculations.md gives the definition.
"""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medrlvr.data.calculations.formulas import FORMULAS, QUANTITIES, Formula, Operation, compute, work_out
from medrlvr.grading.evidence import Evidence
from medrlvr.grading.grader import Grade, think_text
from medrlvr.grading.patterns import TAGS

# Only the letters A to Z, so that positions in the text stay the same.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_NUMBER = r"(?<![\d.,])\d{1,6}(?![\d]|[.,]\d)"
_NAMES = "|".join(sorted(QUANTITIES))
_OPERATIONS: Mapping[str, Operation] = {
    **dict.fromkeys(("plus", "+"), "plus"),
    **dict.fromkeys(("minus", "-", "\u2212"), "minus"),
    **dict.fromkeys(("times", "multiplied by", "*", "\u00d7", "x"), "times"),
}
_OPERATION = rf"({'|'.join(map(re.escape, _OPERATIONS))})"
_OPERAND = rf"(?:(?:old )?(?:{_NAMES}) )?({_NUMBER})"
# A number after an operator is not the first of a step: "140 - 101 - 24 = 15" is not "101 - 24 = 15".
_FIRST = r"(?<![-+*\u2212\u00d7x/])(?<![-+*\u2212\u00d7x/] )(?<!minus )(?<!plus )(?<!times )"

_CITED = re.compile(rf"\b(old )?({_NAMES})(?: is| was| of|:| =)? ({_NUMBER})")
_STEP = re.compile(
    rf"(?:\bhalf of {_OPERAND}|{_FIRST}\b{_OPERAND} ?(?:{_OPERATION} ?{_OPERAND}|(?:/|divided by) ?2))"
    rf" ?(?:is|=|equals) ?({_NUMBER})"
)
_QUESTION = re.compile(r"\bhas ([^?]*)\. what is the ([a-z ]+)\?")


@dataclass(frozen=True, slots=True)
class _Stated:
    """A step that a text states, and where it begins."""

    at: int
    operation: Operation
    left: int
    right: int | None
    result: int

    @property
    def true(self) -> bool:
        try:
            return compute(self.operation, self.left, self.right) == self.result
        except ValueError:
            return False

    def numbers(self) -> tuple[Operation, tuple[int, ...], int]:
        """Return the step's numbers; the order of a sum's and of a product's operands does not count."""
        operands = (self.left,) if self.right is None else (self.left, self.right)
        return self.operation, operands if self.operation == "minus" else tuple(sorted(operands)), self.result


def check_evidence(question: str, response: str, grade: Grade) -> Evidence | None:
    """Return whether the steps of a response's reasoning are present and true; None for a question of another world.

    The reasoning is the grader's think block. Without one, it is the text before the answer block.

    Args:
        question: the stem, or a prompt that ends with the question.
        response: the generated text, without the prompt.
        grade: its grade.
    """
    asked = _read_question(question)
    if asked is None:
        return None
    formula, values, given = asked
    has_block = grade.think_start is not None
    text = (think_text(response, grade) if has_block else response.partition(TAGS[2])[0]).translate(_LOWER)
    cited = {(bool(old), name, int(value)) for old, name, value in _CITED.findall(text)}
    stated = [*_steps(text)]
    fits = _is_derivation(text, stated, formula, values)
    true = all(step.true for step in stated)
    return Evidence(
        cites=len(cited),
        invented=len(cited - given),
        condition=formula.name if fits else None,
        fits=fits,
        fact_true=true if stated else None,
        reasons=fits and true and cited <= given and not any(old for old, _, _ in cited),
    )


Given = set[tuple[bool, str, int]]
"""Values of a patient: whether old, name of the quantity, value."""


def _read_question(question: str) -> tuple[Formula, dict[str, int], Given] | None:
    """Return the formula of the last question in a text, its present values, and all values."""
    found = [*_QUESTION.finditer(question.translate(_LOWER))]
    formulas = {formula.name: formula for formula in FORMULAS}
    if not found or found[-1][2] not in formulas:
        return None
    given = {(bool(old), name, int(value)) for old, name, value in _CITED.findall(found[-1][1])}
    values = {name: value for old, name, value in given if not old}
    formula = formulas[found[-1][2]]
    return (formula, values, given) if values.keys() >= {*formula.inputs} else None


def _steps(text: str) -> Iterator[_Stated]:
    """Yield the steps that a text in small letters states, in order."""
    for found in _STEP.finditer(text):
        halved, left, sign, right, result = found.groups()
        if sign is None:
            yield _Stated(found.start(), "half", int(halved or left), None, int(result))
        else:
            yield _Stated(found.start(), _OPERATIONS[sign], int(left), int(right), int(result))


def _is_derivation(text: str, stated: Sequence[_Stated], formula: Formula, values: Mapping[str, int]) -> bool:
    """Return whether all steps of the formula are stated in order, and the answer is not given away before them."""
    steps = work_out(formula, values)
    expected = [_Stated(0, step.operation, step.left, step.right, step.result).numbers() for step in steps]
    remaining = iter(stated)
    matched = [next((one for one in remaining if one.numbers() == numbers), None) for numbers in expected]
    first = matched[0]
    if first is None or None in matched:
        return False
    before = _CITED.sub("", text[: first.at])
    return not re.search(rf"(?<!\d){steps[-1].result}(?!\d)", before)
