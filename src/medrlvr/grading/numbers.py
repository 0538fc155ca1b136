"""Read one number and its unit from a short text; docs/grading_kinds.md gives the reason for each rule."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from medrlvr.grading.units import Unit, convert, read_unit

NumberRule = Literal[
    "number",
    "number_and_unit",
    "working",
    "no_number",
    "malformed_number",
    "ambiguous_separator",
    "out_of_range",
    "approximate",
    "range",
    "several_numbers",
    "date_or_ratio",
    "unknown_unit",
    "other_unit",
]
"""How the number was found (the first three values), or why there is none."""

MOST_DIGITS = 40
"""Largest number of digits that are read."""

LARGEST_EXPONENT = 300
"""Numbers from 10 to this power upwards, and not zero but below its inverse, are unread."""

_MINUS = "-\u2212\u2013\u2010\u2011\ufe63\uff0d"
_SPACES = "\u00a0\u2009\u202f"
_APOSTROPHES = "'\u2019"
_VULGAR = {
    **{"\u00bd": Fraction(1, 2), "\u00bc": Fraction(1, 4), "\u00be": Fraction(3, 4), "\u2153": Fraction(1, 3)},
    **{"\u2154": Fraction(2, 3), "\u215b": Fraction(1, 8), "\u215c": Fraction(3, 8), "\u215d": Fraction(5, 8)},
    "\u215e": Fraction(7, 8),
}
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b" + _MINUS, "0123456789+-" + "-" * 7
)
_SIGN = rf"[{_MINUS}+]"
# Digits with any separators; what they mean is decided in `_decimal`.
_DIGITS = rf"[0-9]+(?:[{_SPACES}{_APOSTROPHES}.,]+[0-9]+)*|\.[0-9]+"
_POWER = r"(?:(?:\^|\*\*)({sign}?[0-9]+)|([\u207a\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+))"
_TEN = "10" + _POWER.format(sign=_SIGN)
_EXPONENT = rf"(?:[eE]({_SIGN}?[0-9]+)|\s*[xX*\u00d7\u00b7\u22c5]\s*{_TEN})"
_VULGAR_SIGN = f"[{''.join(_VULGAR)}]"
_FRACTION = re.compile(rf"({_SIGN}?)(?:([0-9]+) )?([0-9]+)/([0-9]+)(?![0-9.,/])")
_WITH_SIGN = re.compile(rf"({_SIGN}?)([0-9]*) ?({_VULGAR_SIGN})")
_TEN_ALONE = re.compile(rf"({_SIGN}?){_TEN}")
_DECIMAL = re.compile(rf"({_SIGN}?)({_DIGITS}){_EXPONENT}?")
_GROUPED = {
    mark: re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+") for mark in [*",.", *_SPACES, *_APOSTROPHES]
}
_AMBIGUOUS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_PLAIN = re.compile(r"0|[1-9][0-9]*")

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    r"(?<![0-9])[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}(?![0-9])|[0-9]\s*:\s*[0-9]"
    rf"|\b{_MONTH}\.?\s+[0-9]|[0-9](?:st|nd|rd|th)?\s+{_MONTH}\b",
    re.IGNORECASE,
)
_APPROXIMATE = re.compile(
    r"\b(?:about|approx(?:imately)?|around|roughly|circa|ca|nearly|almost|at\s+least|at\s+most|up\s+to|less\s+than"
    r"|more\s+than|over|under)\b|[~\u223c\u2248\u2245\u2243<>\u2264\u2265\u00b1]|\+/-",
    re.IGNORECASE,
)
_RANGE = re.compile(
    rf"^\s*between\b|[0-9]\s*[{_MINUS}\u2014]\s*[0-9]|[0-9][^0-9]{{0,20}}\bto\s+{_SIGN}?[0-9]", re.IGNORECASE
)
_NEXT_STEP = re.compile(r"[;\r\n\u2028\u2029]|,\s|[.!?]\s|\b(?:and|or)\b", re.IGNORECASE)
_IN_TEXT = re.compile(rf"(?<![0-9A-Za-z.,])({_SIGN}?)({_DIGITS}){_EXPONENT}?")


@dataclass(frozen=True, slots=True)
class ReadNumber:
    """A number read from a text, or the reason why there is none.

    Attributes:
        rule: how it was found, or why it was not.
        value: the number in the unit of the key; None if none was read.
        written: the number in the unit of the text; None if none was read.
    """

    rule: NumberRule
    value: Fraction | None = None
    written: Fraction | None = None


def read_number(text: str, target: Unit) -> ReadNumber:
    """Return the number that a text consists of, in a unit. A number without a unit is in this unit.

    Args:
        text: an answer of at most a few hundred characters.
        target: the unit of the value.
    """
    working, equals, result = text.rpartition("=")
    if equals and _NEXT_STEP.search(working):
        return ReadNumber("several_numbers")
    quantity = _without_marks(result)
    for rule, pattern in _REFUSED:
        if pattern.search(quantity):
            return ReadNumber(rule)
    found, end = _leading_number(quantity)
    if not isinstance(found, Fraction):
        return ReadNumber(found)
    spelled = quantity[end:].strip()
    if not spelled:
        return ReadNumber("working" if equals else "number", found, found)
    unit = read_unit(spelled)
    if unit is None:
        return ReadNumber("several_numbers" if re.search("[0-9]", spelled) else "unknown_unit")
    value = convert(found, unit, target)
    if value is None:
        return ReadNumber("other_unit")
    return ReadNumber("working" if equals else "number_and_unit", value, found)


def numbers_in(text: str) -> Iterator[tuple[int, Fraction]]:
    """Yield position and value of every number in running text; a number that cannot be read is left out."""
    for match in _IN_TEXT.finditer(text):
        found = _decimal(match)
        if isinstance(found, Fraction):
            yield match.start(), found


_REFUSED: tuple[tuple[NumberRule, re.Pattern[str]], ...] = (
    ("date_or_ratio", _DATE),
    ("approximate", _APPROXIMATE),
    ("range", _RANGE),
)


def _without_marks(text: str) -> str:
    """Return a text without bold marks, outer white space and the full stop that ends it."""
    # Two asterisks before digits are a power: 10**3.
    text = re.sub(r"\*\*(?!\s*[0-9+-])|^\s*\*{1,3}|\*{1,3}\s*$", "", text).strip()
    return text[:-1].rstrip() if text.endswith(".") else text


def _leading_number(text: str) -> tuple[Fraction | NumberRule, int]:
    """Return the number with which a text starts, or why there is none, and where it ends."""
    if match := _FRACTION.match(text):
        return _fraction(match), match.end()
    if match := _WITH_SIGN.match(text):
        whole = match[2] or "0"
        found = _signed(match[1], int(whole) + _VULGAR[match[3]]) if _PLAIN.fullmatch(whole) else None
        return found if found is not None and len(whole) <= MOST_DIGITS else "malformed_number", match.end()
    if match := _TEN_ALONE.match(text):
        return _scaled(match[1], "1", match[2] or match[3]), match.end()
    if match := _DECIMAL.match(text):
        return _decimal(match), match.end()
    return "no_number", 0


def _fraction(match: re.Match[str]) -> Fraction | NumberRule:
    sign, whole, above, below = match.groups()
    parts = [part for part in (whole, above, below) if part is not None]
    if max(map(len, parts)) > MOST_DIGITS:
        return "out_of_range"
    if not all(map(_PLAIN.fullmatch, parts)) or int(above) >= int(below):
        return "malformed_number"
    return _signed(sign, int(whole or 0) + Fraction(int(above), int(below)))


def _decimal(match: re.Match[str]) -> Fraction | NumberRule:
    """Return the number of a match of `_DECIMAL`, or why it is none."""
    if _AMBIGUOUS.fullmatch(match[2]):
        return "ambiguous_separator"
    digits = _plain_digits(match[2])
    return "malformed_number" if digits is None else _scaled(match[1], digits, match[3] or match[4] or match[5])


def _plain_digits(text: str) -> str | None:
    """Return digits with separators as digits with at most one point, or None if no convention writes them so."""
    marks = [character for character in text if not character.isdigit()]
    if not marks:
        return text if _PLAIN.fullmatch(text) else None
    last = marks[-1]
    if last not in ",." or marks.count(last) > 1:
        return text.replace(last, "") if _GROUPED[last].fullmatch(text) else None
    whole, _, decimals = text.rpartition(last)
    if len(marks) > 1:
        return f"{whole.replace(marks[0], '')}.{decimals}" if _GROUPED[marks[0]].fullmatch(whole) else None
    return f"{whole}.{decimals}" if not whole or _PLAIN.fullmatch(whole) else None


def _scaled(sign: str, digits: str, exponent: str | None) -> Fraction | NumberRule:
    """Return digits with at most one point times a power of ten, or why the number is unread."""
    if len(digits) > MOST_DIGITS + ("." in digits):
        return "out_of_range"
    value = Fraction(digits if digits[0] != "." else f"0{digits}")
    if not value:
        return value
    power = (exponent or "0").translate(_SUPERSCRIPTS)
    if len(power) > MOST_DIGITS or abs(int(power)) > LARGEST_EXPONENT + MOST_DIGITS:
        return "out_of_range"
    value *= Fraction(10) ** int(power)
    limit = Fraction(10) ** LARGEST_EXPONENT
    return _signed(sign, value) if 1 / limit <= value < limit else "out_of_range"


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign and sign in _MINUS else value
