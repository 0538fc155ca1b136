"""Grade answers of every kind: an option letter, a number with a unit, or a short text (docs/grading_kinds.md).

The grader of letters reads tags, blocks and formats for all kinds, so that they cannot differ.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Literal

from medrlvr.grading.grader import AnswerFormat, Grade, grade, think_text
from medrlvr.grading.numbers import NumberRule, numbers_in, read_number
from medrlvr.grading.patterns import NEXT_TURN
from medrlvr.grading.search import find_words
from medrlvr.grading.texts import TextRule, normalised, plural_of, read_text, searchable
from medrlvr.grading.units import known_unit

Kind = Literal["letter", "number", "text"]
"""What a question's answer is."""

KindRule = NumberRule | TextRule | Literal["no_answer_block", "several_answer_blocks", "too_long"]
"""How an answer was read, or why it was not."""

LONGEST_ANSWER = 300
"""Largest number of characters of an answer that is read: a longer one is an explanation."""


@dataclass(frozen=True, slots=True)
class LetterKey:
    """The key of a multiple-choice question.

    Attributes:
        options: the option texts.
        gold: index of the correct option, from 0.
    """

    options: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class NumberKey:
    """The key of a question whose answer is a number.

    Attributes:
        value: the correct number, in `unit`.
        unit: a unit of the table, such as "mg/kg/day"; "" for a number without unit.
        absolute, relative: tolerances, in `unit` and as a share of `value`; the larger one counts.
        accepted: the lowest and the highest correct value, instead of tolerances.

    Raises:
        ValueError: a number is not finite or too large, a tolerance is negative, the unit is unknown, the range does
            not contain the value, or both tolerances and a range are given.
    """

    value: float
    unit: str = ""
    absolute: float = 0.0
    relative: float = 0.0
    accepted: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        known_unit(self.unit)
        numbers = [self.value, self.absolute, self.relative, *(self.accepted or ())]
        if not all(abs(number) < 1e300 for number in numbers):
            raise ValueError(f"a number's value, tolerances and range must be finite and below 1e300: {self}")
        if self.absolute < 0 or self.relative < 0:
            raise ValueError(f"a tolerance must be 0 or positive: {self}")
        if self.accepted and (self.absolute or self.relative):
            raise ValueError(f"give either tolerances or an accepted range, not both: {self}")
        if self.accepted and not self.accepted[0] <= self.value <= self.accepted[1]:
            raise ValueError(f"the accepted range must contain the value: {self}")

    def accepts(self, value: Fraction) -> bool:
        """Return whether a value in the key's unit is correct."""
        if self.accepted:
            return _exact(self.accepted[0]) <= value <= _exact(self.accepted[1])
        gold = _exact(self.value)
        return abs(value - gold) <= max(_exact(self.absolute), _exact(self.relative) * abs(gold))

    def relative_error(self, value: Fraction) -> float | None:
        """Return the difference as a share of the key's value, or None if only the key's value is 0."""
        gold = _exact(self.value)
        if gold:
            return float(min(abs(value - gold) / abs(gold), _LARGEST))
        return None if value else 0.0


@dataclass(frozen=True, slots=True)
class TextKey:
    """The key of a question whose answer is a short text.

    Attributes:
        accepted: one or more texts.
        plural: whether the regular plural of each is accepted too.

    Raises:
        ValueError: no text is given, or one is empty after normalisation.
    """

    accepted: tuple[str, ...]
    plural: bool = False
    plain: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain = [normalised(text) for text in self.accepted]
        if not plain or not all(plain):
            raise ValueError(f"a text key needs accepted texts, and each must contain a letter or digit: {self}")
        plurals = map(plural_of, plain) if self.plural else ()
        object.__setattr__(self, "plain", tuple(dict.fromkeys([*plain, *plurals])))


Key = LetterKey | NumberKey | TextKey


@dataclass(frozen=True, slots=True)
class KindGrade(Grade):
    """What the grader found in one response to a question for a number or a text.

    The letter, its position and `option_named_at` are None. `rule` is "no_letter" if there is one answer block.

    Attributes:
        kind: what the question's answer is.
        answer: the answer as written, or None if it could not be read.
        answer_rule: how the answer was found, or why it was not.
        answer_at: position of `answer`.
        value: the number in the key's unit; None if there is none.
        relative_error: difference from the key's number as a share of it; None if it is not defined.
        lenient_answer: the answer that a reader would also find in untagged text, or None.
        answer_named_at, gold_named_at: position in the think block, as for letters, of the first number equal to the
            one answered or the correct one, or of the answered or an accepted text.
    """

    kind: Literal["number", "text"]
    answer: str | None
    answer_rule: KindRule
    answer_at: int | None
    value: float | None
    relative_error: float | None
    lenient_answer: str | None


def grade_answer(
    response: str, key: Key, answer_format: AnswerFormat = "tagged", *, truncated: bool = False
) -> Grade | KindGrade:
    """Grade one response to one question of any kind in time linear in its length; no text raises an error.

    Args:
        response: the generated text without the prompt, as for `grade`.
        key: what the correct answer is.
        answer_format: "tagged" by default; "bare" reads the first line of the response and expects no tags.
        truncated: whether the response ended at the token limit.
    """
    if isinstance(key, LetterKey):
        return grade(response, key.options, key.gold, answer_format, truncated=truncated)
    frame = grade(response, (), 0, answer_format, truncated=truncated)
    text, start = _answer_text(response, frame, answer_format)
    read = _reader(key)
    found = _Found(_unread_rule(frame)) if text is None else read(text)
    lenient = found
    if text is None or (answer_format == "bare" and found.rule != "accepted" and found.value is None):
        stated = _stated_text(response)
        stated = text if stated is None else stated
        lenient = read(stated) if stated is not None else _Found("no_answer_block")
    thought = think_text(response, frame)
    places = _places(thought, key, found)
    return KindGrade(
        **{
            **asdict(frame),
            "rule": frame.rule if frame.rule in ("no_answer_block", "several_answer_blocks") else "no_letter",
            "correct": found.correct,
            "lenient_correct": lenient.correct,
            "option_named_at": None,
            "answer_named_at": places[0],
            "gold_named_at": places[1],
        },
        kind="number" if isinstance(key, NumberKey) else "text",
        answer=found.answer,
        answer_rule=found.rule,
        answer_at=start + text.index(found.answer) if text and found.answer else None,
        value=found.value,
        relative_error=found.relative_error,
        lenient_answer=lenient.answer,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """One text read as an answer."""

    rule: KindRule
    correct: bool = False
    answer: str | None = None
    value: float | None = None
    relative_error: float | None = None
    written: Fraction | None = None


_LARGEST = Fraction(10) ** 300


def _exact(number: float) -> Fraction:
    """Return the decimal number that a float is written as."""
    return Fraction(repr(number))


def _unread_rule(frame: Grade) -> KindRule:
    return "several_answer_blocks" if frame.rule == "several_answer_blocks" else "no_answer_block"


def _answer_text(response: str, frame: Grade, answer_format: AnswerFormat) -> tuple[str | None, int]:
    """Return the text in which the answer must be, or None, and its position."""
    if answer_format == "bare":
        start = len(response) - len(response.lstrip())
        return response[start:].partition("\n")[0], start
    if frame.answer_start is None or frame.answer_end is None or frame.rule == "several_answer_blocks":
        return None, 0
    return response[frame.answer_start : frame.answer_end], frame.answer_start


def _reader(key: NumberKey | TextKey) -> Callable[[str], _Found]:
    """Return the function that reads a text as an answer."""

    def read(text: str) -> _Found:
        answer = text.strip()
        if len(answer) > LONGEST_ANSWER:
            return _Found("too_long")
        return _read_number(answer, key) if isinstance(key, NumberKey) else _read_text(answer, key)

    return read


def _read_number(answer: str, key: NumberKey) -> _Found:
    found = read_number(answer, known_unit(key.unit))
    if found.value is None:
        return _Found(found.rule)
    value = max(-_LARGEST, min(found.value, _LARGEST))
    return _Found(
        found.rule, key.accepts(found.value), answer, float(value), key.relative_error(found.value), found.written
    )


def _read_text(answer: str, key: TextKey) -> _Found:
    rule = read_text(answer, key.plain)
    return _Found(rule, rule == "accepted", answer if rule in ("accepted", "other_text") else None)


_STATED = re.compile(
    r"\b(?:answer|result)\b[* ]*(?:is\b|[:=\uff1a])[:* ]*|\\boxed\{(?=([^{}\n]{1,300})\})", re.IGNORECASE
)
# A question mark belongs to the statement, because it makes the statement a question.
_STATEMENT_ENDS = re.compile(r"[.!]?[\r\n]|[.!]\s+(?=[A-Z])|(?<=\?)\s+(?=[A-Z])|[.!]\s*\Z")


def _stated_text(response: str) -> str | None:
    """Return the text in which a reader would find the answer of a response without the format, or None."""
    turn = NEXT_TURN.search(response)
    text = response[: turn.start()] if turn else response
    parts = text.split("<answer>")
    if len(parts) == 2:
        return parts[1].partition("</answer>")[0]
    statements = deque(_STATED.finditer(text), maxlen=1)
    if statements:
        last = statements[0]
        end = _STATEMENT_ENDS.search(text, last.end())
        return last[1] or text[last.end() : end.start() if end else len(text)]
    return text if len(parts) == 1 and len(text.strip().splitlines()) == 1 else None


def _places(thought: str, key: NumberKey | TextKey, found: _Found) -> tuple[int | None, int | None]:
    """Return where a think block first names the answer, and the correct answer."""
    if isinstance(key, NumberKey):
        numbers = list(numbers_in(thought))
        return _first(numbers, found.written), _first(numbers, _exact(key.value))
    folded = searchable(thought)
    gold = [place for text in key.plain if (place := find_words(text, folded, folded)) is not None]
    answer = find_words(normalised(found.answer), folded, folded) if found.answer else None
    return answer, min(gold, default=None)


def _first(numbers: list[tuple[int, Fraction]], value: Fraction | None) -> int | None:
    return next((place for place, number in numbers if number == value), None)
