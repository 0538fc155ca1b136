"""Generated patients and questions about them.

Rules of the world:

1. A question lists the values that its formula needs, and others, in random order, and one *old* value of a listed
   quantity. In OLD_NEEDED of the questions, this is a quantity that the formula needs. The old value never counts.
2. A fifth of the combinations of needed values of each formula is reserved: a question with one of them occurs only in
   development and test sets, and in no worked example and no direct answer of pre-training.
3. Training asks for the formulas that are not held out, with usual values.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from medrlvr.data.calculations.formulas import FORMULAS, QUANTITIES, Formula, Step, work_out

OLD_NEEDED = 0.6
"""Share of the questions whose old value is one that the formula needs."""
LISTED = (5, 6)
"""Numbers of listed quantities, without the old value."""

_PEOPLE = ("man", "woman", "patient", "teacher", "farmer", "nurse", "driver", "cook")


@dataclass(frozen=True, slots=True)
class Case:
    """A question with everything that an explanation of its answer needs.

    Attributes:
        values: quantity -> value, in the order of the stem.
        old: the quantity that also has an old value, and this value.
    """

    formula: Formula
    values: Mapping[str, int]
    old: tuple[str, int]
    stem: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps to the right answer."""
        return work_out(self.formula, self.values)

    @property
    def answer(self) -> int:
        return self.steps[-1].result


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """What the questions of one set have in common."""

    held_out: bool = False
    high: bool = False
    reserved: bool = True


QUESTION_SETS: Mapping[str, QuestionSet] = {
    "train": QuestionSet(reserved=False),
    "dev": QuestionSet(),
    "test": QuestionSet(),
    "formulas_test": QuestionSet(held_out=True),
    "ranges_test": QuestionSet(high=True),
}
"""The last two are out of distribution, each in one way: formulas and ranges that no training question has."""


def draw_case(formula: Formula, high: bool, reserved: bool, rng: random.Random) -> Case:
    """Draw a patient.

    Args:
        formula: what the question asks for.
        high: whether the values are from the held-out ranges.
        reserved: whether the needed values are a reserved combination.
    """
    reserved_ones, others = needed_values(formula, high)
    needed = dict(zip(formula.inputs, rng.choice(reserved_ones if reserved else others), strict=True))
    unneeded = rng.sample(sorted(QUANTITIES.keys() - needed), rng.choice(LISTED) - len(needed))
    values = needed | {name: rng.choice(_range(name, high)) for name in unneeded}
    names = formula.inputs if rng.random() < OLD_NEEDED else unneeded
    old = rng.choice([one for name in names for one in _former(formula, needed, values, name, high)])
    listed = [*values]
    rng.shuffle(listed)
    case = {name: values[name] for name in listed}
    return Case(formula, case, old, _stem(formula, case, old, rng))


@cache
def needed_values(formula: Formula, high: bool) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the combinations of needed values that have a result: the reserved fifth, and the others."""
    rng = random.Random(f"the world of calculations {formula.name} {high}")
    ranges = [_range(name, high) for name in formula.inputs]
    whole = [v for v in product(*ranges) if _has_result(formula, dict(zip(formula.inputs, v, strict=True)))]
    rng.shuffle(whole)
    count = math.ceil(len(whole) / 5)
    return whole[:count], whole[count:]


def _former(
    formula: Formula, needed: Mapping[str, int], values: Mapping[str, int], name: str, high: bool
) -> list[tuple[str, int]]:
    """Return the possible old values of a quantity: the formula must have a result with them too."""
    others = [value for value in _range(name, high) if value != values[name]]
    if name not in needed:
        return [(name, value) for value in others]
    return [(name, value) for value in others if _has_result(formula, {**needed, name: value})]


def _has_result(formula: Formula, values: Mapping[str, int]) -> bool:
    try:
        work_out(formula, values)
    except ValueError:
        return False
    return True


def _range(name: str, high: bool) -> range:
    return QUANTITIES[name].high if high else QUANTITIES[name].usual


def _stem(formula: Formula, values: Mapping[str, int], old: tuple[str, int], rng: random.Random) -> str:
    parts = [f"{name} {value}" for name, value in values.items()]
    parts.insert(rng.randint(0, len(parts)), f"old {old[0]} {old[1]}")
    return f"A {rng.choice(_PEOPLE)} has {', '.join(parts)}. What is the {formula.name}?"


def draw_from(questions: QuestionSet, rng: random.Random) -> Case:
    """Draw a question of a set."""
    formula = rng.choice([one for one in FORMULAS if one.held_out == questions.held_out])
    return draw_case(formula, questions.high, questions.reserved, rng)


def make_questions(sizes: Mapping[str, int], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return rows with question, answer, unit and meta_info; all stems differ, within and across the sets.

    Args:
        sizes: number of rows of each of QUESTION_SETS.
        seed: seed for the draw.
    """
    rng = random.Random(f"calculations {seed}")
    asked: set[str] = set()
    sets = {}
    for name, size in sizes.items():
        rows: list[dict[str, Any]] = []
        for case in _endless(QUESTION_SETS[name], rng):
            if len(rows) == size:
                break
            if case.stem not in asked:
                asked.add(case.stem)
                rows.append(_row(case))
        sets[name] = rows
    return sets


def _endless(questions: QuestionSet, rng: random.Random) -> Iterator[Case]:
    while True:
        yield draw_from(questions, rng)


def _row(case: Case) -> dict[str, Any]:
    return {
        "question": case.stem,
        "answer": case.answer,
        "unit": case.formula.unit,
        "meta_info": f"{case.formula.name}, {len(case.steps)} steps",
    }
