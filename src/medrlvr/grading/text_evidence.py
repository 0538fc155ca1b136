"""Find what free-text reasoning states about a question although the question does not have it; see docs/stages.md.

The rule is conservative: it reports numbers, quotations and named findings only where the sentence states them about
the patient or the question. It leaves out what is negated, conditional, general knowledge or calculated.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medrlvr.grading.grader import Grade, think_text
from medrlvr.runtime.fingerprint import fingerprint

FINDINGS, TESTS = (Path(__file__).with_name(name) for name in ("findings.tsv", "tests.tsv"))
"""Named findings and medical tests, and the beginnings of the words that mention each of them or imply it."""

_CLAUSE_END = re.compile(
    r"(?<=[.!?;:])\s+|\s*\n+\s*|,?\s+(?=(?:so|because|although|though|but|while|whereas|suggesting|predicting|confirming"
    r"|consistent with|therefore|thus)\b)|,\s+(?=(?:which|since|as)\b)",
    re.IGNORECASE,
)
_ABOUT_PATIENT = re.compile(
    r"\b(?:patient|he|she|his|her|man|woman|boy|girl|child|infant|newborn|baby|mother|vignette|stem)\b"
    r"|\bin this case\b|\bthe (?:question|case) (?:say|state|mention|describe|give|report)s\b|-year-old\b",
    re.IGNORECASE,
)
_GENERAL = re.compile(
    r"\b(?:normal(?:ly)?|range|ranges|reference|typical(?:ly)?|usual(?:ly)?|general(?:ly)?|common(?:ly)?|often|most"
    r"|patients|percent|dose|dosage|threshold|cutoff|cut-off|above|below|between|less than|greater than|more than"
    r"|at least|over|under|about|approximately|around|roughly|near|nearly|almost|per)\b|[%<>\u2264\u2265~\u2248]",
    re.IGNORECASE,
)
_CALCULATED = re.compile(
    r"[=+*\u00d7\u00f7\u2212]|\s-\s|\b(?:minus|plus|times|divided|gap|sum|total|totals|difference|calculat\w*|comput\w*"
    r"|converts?|equals?|equivalent|score|scores|index|ratio|pack-years?|older|younger|later|earlier|ago)\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:if|unless|would|could|might|may|should|can|suppose|imagine|expect\w*|suggest\w*|likely|possib\w*|perhaps"
    r"|consistent|indicat\w*|risk|unlike|instead of|rule[sd]? out|ruling out|look for|check for)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:no|not|without|denies|denied|absent|absence|lacks?|lacking|never|neither|nor|free of|negative|none)\b"
    r"|n['\u2019]t\b",
    re.IGNORECASE,
)
_SHOWS = re.compile(
    r"\b(?:patient|he|she|man|woman|boy|girl|child|infant|newborn|baby)\b[^.;:,]{0,30}?\b(?:has|had|presents? with"
    r"|presented with|presenting with|reports?|reported|shows?|showed|exhibits?|complains? of|complained of"
    r"|is experiencing|is|was|developed|suffers? from)\b|\b(?:his|her|the patient['\u2019]s)\b",
    re.IGNORECASE,
)
_TESTED = re.compile(
    r"\b(?:showed|revealed|demonstrated|identified|documented|detected|confirmed"
    r"|(?:was|were|came back|returned) (?:positive|abnormal)"
    r"|grew|has grown|have grown|(?:has|have) (?:shown|revealed)|already (?:shows|revealed|showed))\b",
    re.IGNORECASE,
)
_MEASURED = re.compile(
    r"\b(?:sodium|potassium|chloride|bicarb\w*|calcium|glucose|creatinine|bun|urea|ha?emoglobin|ha?ematocrit|platelets?"
    r"|wbc|white cells?|leukocytes?|troponin|lactate|tsh|ferritin|bilirubin|alt|ast|albumin|pao2|paco2|ph|temperature"
    r"|heart rate|pulse|blood pressure|bp|respiratory rate|saturation|ejection fraction|inr|psa|crp|esr|lipase"
    r"|amylase)\b[^.;:,]{0,25}?\b(?:of|was|is|at)\s+(?=\d)",
    re.IGNORECASE,
)
_YEARS_OLD = re.compile(r"\b(\d{1,3})-year-old\b", re.IGNORECASE)
_QUOTE = re.compile('"([^"\n]{8,200})"|\u201c([^\u201d\n]{8,200})\u201d')
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\d])")
_WORD = re.compile(r"[a-z0-9]+")
_SMALL = 12
"""Whole numbers up to this one count things, name types and number lists; they are not checked."""
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_FEW = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_UNITS = {word: value for value, word in enumerate((*_FEW, *_TEENS))}
_IN_WORDS = re.compile(rf"\b({'|'.join(_TENS)})(?:[\s-]({'|'.join(_FEW[1:10])}))?\b|\b({'|'.join(_UNITS)})\b")
_CONVERSIONS = (
    (re.compile(""), (10.0, 100.0, 1000.0, 1_000_000.0)),
    (re.compile("minute|hour|day|week|month|year"), (7.0, 12.0, 24.0, 60.0)),
    (re.compile(r"kg|kilo|lbs?\b|pound"), (0.4536,)),
    (re.compile(r"cm|centi|\bin\b|inch|feet|foot"), (2.54, 30.48)),
)
"""Units of a question, and the factors by which its numbers may be converted."""


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """What free-text reasoning cites.

    Attributes:
        cites: number of numbers, quotations and findings that the rule checked.
        absent: those of them that the question does not have, as (start, end) positions in the reasoning.
    """

    cites: int
    absent: tuple[tuple[int, int], ...]

    @property
    def invented(self) -> int:
        """Number of checked statements that the question does not have."""
        return len(self.absent)

    def columns(self) -> dict[str, int | bool | None]:
        """Return the columns of `evidence.COLUMNS` that this rule knows."""
        return {"evidence_cites": self.cites, "evidence_invented": self.invented}


def text_evidence_version() -> str:
    """Return the fingerprint of the rule and its tables. It does not change with comments."""
    tables = [table.read_text(encoding="utf-8") for table in (FINDINGS, TESTS)]
    return fingerprint(inspect.getsource(sys.modules[__name__]), repr(tables))


def check_response(stem: str, options: Sequence[str], response: str, grade: Grade) -> TextEvidence:
    """Return what the think block of a response cites; without a think block, the text before `<answer>` is used."""
    reasoning = think_text(response, grade) if grade.think_start is not None else response.partition("<answer>")[0]
    return check_text("\n".join((stem, *options)), reasoning)


def check_text(question: str, reasoning: str) -> TextEvidence:
    """Return which numbers, quotations and named findings of a reasoning the question does not have.

    Args:
        question: stem and options, as plain text.
        reasoning: the text between the think tags, as plain text.
    """
    given = _Given.of(question)
    checked = [
        (start + at, start + end, present)
        for start, clause in _clauses(reasoning)
        for at, end, present in _statements(clause, given)
    ]
    return TextEvidence(len(checked), tuple((start, end) for start, end, present in checked if not present))


@dataclass(frozen=True, slots=True)
class _Given:
    """What a question has.

    Attributes:
        words: in small letters.
        exact: its numbers.
        numbers: the same, and in other units.
    """

    words: frozenset[str]
    exact: frozenset[float]
    numbers: frozenset[float]

    @classmethod
    def of(cls, question: str) -> "_Given":
        text = question.lower()
        numbers = {value for match in _NUMBER.finditer(text) for value in _readings(match[0])}
        numbers |= set(_numbers_in_words(text))
        return cls(
            words=frozenset(_WORD.findall(text)),
            exact=frozenset(numbers),
            numbers=_converted(numbers, text),
        )

    def has_number(self, digits: str) -> bool:
        """Return whether a number, as it is written, is a given one, rounded or in another unit."""
        half = 0.5 * 10.0 ** -len(digits.partition(".")[2])
        return any(abs(value - known) <= half for value in _readings(digits) for known in self.numbers)

    def has_finding(self, beginnings: tuple[str, ...]) -> bool:
        """Return whether a word of the question begins like a mention of the finding."""
        return any(word.startswith(beginnings) for word in self.words)


def _converted(numbers: set[float], question: str) -> frozenset[float]:
    factors = [factor for units, factors in _CONVERSIONS if units.search(question) for factor in factors]
    scaled = {change for value in numbers for factor in factors for change in (value * factor, value / factor)}
    degrees = {change for value in numbers for change in ((value - 32) / 1.8, value * 1.8 + 32)}
    return frozenset(numbers | scaled | degrees)


def _readings(digits: str) -> set[float]:
    """Return the values of a number under both meanings of the comma."""
    without = digits.replace(",", "")
    decimal = digits.replace(",", ".")
    return {float(text) for text in (without, decimal) if text.count(".") <= 1}


def _numbers_in_words(text: str) -> Iterator[float]:
    for match in _IN_WORDS.finditer(text):
        yield float(_UNITS[match[3]] if match[3] else _TENS[match[1]] + _UNITS.get(match[2] or "zero", 0))


def _clauses(text: str) -> Iterator[tuple[int, str]]:
    """Yield the position of each clause and the clause."""
    start = 0
    for match in _CLAUSE_END.finditer(text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


def _statements(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    """Yield start and end of each checked statement of a clause, and whether the question has it."""
    if _HEDGED.search(clause):
        return
    yield from _quotations(clause, given)
    if not _GENERAL.search(clause) and not _CALCULATED.search(clause):
        yield from _numbers(clause, given)
    if not _GENERAL.search(clause):
        yield from _ages(clause, given)
    if not _NEGATED.search(clause):
        yield from _findings(clause, given)
        yield from _tests(clause, given)


def _quotations(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    for match in _QUOTE.finditer(clause):
        words = [word for word in _WORD.findall(match[0].lower()) if len(word) > 3]
        if len(words) >= (3 if _ABOUT_PATIENT.search(clause) else 4):
            yield match.start(), match.end(), sum(word in given.words for word in words) > len(words) / 2


def _numbers(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    """Yield numbers after the words that are about the patient, and measured values."""
    ages = {match.start() for match in _YEARS_OLD.finditer(clause)}
    if about := _ABOUT_PATIENT.search(clause) or _MEASURED.search(clause):
        for match in _NUMBER.finditer(clause, about.end()):
            if match.start() not in ages and any(
                value != round(value) or value > _SMALL for value in _readings(match[0])
            ):
                yield match.start(), match.end(), given.has_number(match[0])


def _ages(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    for match in _YEARS_OLD.finditer(clause):
        yield match.start(), match.end(), float(match[1]) in given.exact


def _findings(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    if shown := _SHOWS.search(clause):
        yield from _named(clause, shown.end(), FINDINGS, given)


def _tests(clause: str, given: _Given) -> Iterator[tuple[int, int, bool]]:
    if not _GENERAL.search(clause) and (result := _TESTED.search(clause)):
        yield from _named(clause[: result.start()], 0, TESTS, given)


def _named(text: str, start: int, table: Path, given: _Given) -> Iterator[tuple[int, int, bool]]:
    """Yield the first mention of each row of a table."""
    for pattern, beginnings in _mentions(table):
        if match := pattern.search(text, start):
            yield match.start(), match.end(), given.has_finding(beginnings)


@cache
def _mentions(table: Path) -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return tuple((re.compile(rf"\b{name}\b", re.IGNORECASE), tuple(words.split())) for name, words in rows)
