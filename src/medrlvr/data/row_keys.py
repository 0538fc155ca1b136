"""Parse the key of a row whose answer is a number or a short text."""

import re
from collections.abc import Mapping
from typing import Any

from medrlvr.data.registry import AnswerColumn, KeyCell, KeyField, is_empty
from medrlvr.grading.kinds import NumberKey, TextKey

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")


def parse_key(
    row: Mapping[str, Any], answer: AnswerColumn, fields: Mapping[KeyField, KeyCell]
) -> tuple[NumberKey | TextKey | None, list[str]]:
    """Return the key of a row, or None if it cannot be read, and what is wrong with it."""
    cell = row[answer.column]
    if is_empty(cell):
        return None, [f"{answer.column} is empty, so the row has no answer"]
    found = {field: one.of(row) for field, one in fields.items()}
    try:
        if answer.kind == "number":
            return _number_key(_number(cell, answer.column), found), []
        return TextKey(_texts(cell, answer.column), _yes(found.get("plural"))), []
    except ValueError as error:
        return None, [str(error)]


def _number_key(value: float, found: Mapping[KeyField, object]) -> NumberKey:
    numbers = {
        str(field): _number(cell, field)
        for field, cell in found.items()
        if field != "unit" and field != "plural" and cell is not None
    }
    limits = [numbers.pop(field) for field in ("lowest", "highest") if field in numbers]
    if len(limits) == 1:
        raise ValueError("the accepted range has only one limit; it needs both lowest and highest")
    # Some data sets compute the limits as shares of the value, so that they are reversed for a negative one.
    accepted = (min(limits), max(limits)) if limits else None
    unit = found.get("unit")
    return NumberKey(value, "" if unit is None else str(unit), **numbers, accepted=accepted)


def _number(cell: object, name: str) -> float:
    # In CSV every cell is text.
    if isinstance(cell, str) and _NUMBER.fullmatch(cell):
        return float(cell)
    if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 1e300:
        return float(cell)
    raise ValueError(f"{name} is {cell!r}, which is no number in digits below 1e300")


def _texts(cell: object, name: str) -> tuple[str, ...]:
    texts = cell.split("|") if isinstance(cell, str) else cell
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} is {cell!r}; it must be a text, or a list of accepted texts")
    return tuple(text.strip() for text in texts)


def _yes(cell: object) -> bool:
    # In CSV every cell is text.
    allowed = {True: True, False: False, "true": True, "false": False, None: False}
    if not isinstance(cell, str | bool | None) or cell not in allowed:
        raise ValueError(f"plural is {cell!r}; it must be true or false")
    return allowed[cell]
