"""Parse one row of an upstream file: stem, options, key and problems."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medrlvr.data.registry import AnswerColumn, AnswerForm, Source, is_empty
from medrlvr.data.row_keys import parse_key
from medrlvr.grading.kinds import Key, LetterKey
from medrlvr.grading.letters import LETTERS

MANY_ROWS = 50
"""Rows in which the first of four options is right at least once, except with a probability below 10^-6."""

NONE_OF_THE_ABOVE = "None of the above"


def normalise_text(text: str) -> str:
    """Return a text in lower case with single spaces; marks stay, as some options differ only in arrows or signs."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """One row of an upstream file.

    Attributes:
        stem: None if it is not text.
        options: the option texts; empty for questions without options, or if they cannot be read.
        key: what the correct answer is; None if it cannot be read.
        problems: everything that is wrong with the row.
    """

    stem: str | None
    options: list[str]
    key: Key | None
    problems: list[str]


def parse_row(row: Mapping[str, Any], source: Source, none_of_the_above: bool) -> ParsedRow:
    """Return a row's stem, options and key, with all problems found in it."""
    texts = ["" if row[column] is None else _text(row[column]) for column in source.stem]
    stem = None if None in texts else "\n".join(text for text in texts if text is not None)
    try:
        answer = answer_column(row, source)
    except ValueError as error:
        return ParsedRow(stem, [], None, [str(error)])
    if answer.kind != "letter":
        key, problems = parse_key(row, answer, source.key)
        return ParsedRow(stem, [], key, _stem_problems(stem) + problems)
    options = row_options(row, source.options)
    if options is None:
        return ParsedRow(
            stem, [], None, ["options are neither a list of texts nor texts under the letters A, B, C ..."]
        )
    if none_of_the_above:
        options = [*options, NONE_OF_THE_ABOVE]
    problems = _stem_problems(stem) + _option_problems(options)
    gold = _gold(row, answer, options)
    if gold is None:
        problems.append(f"answer {row[answer.column]!r} is not among the options")
    elif source.check and not _agrees(row[source.check.column], source.check.form, options, gold):
        problems.append(f"{answer.column} and {source.check.column} disagree")
    return ParsedRow(stem, options, None if gold is None else LetterKey(tuple(options), gold), problems)


def answer_column(row: Mapping[str, Any], source: Source) -> AnswerColumn:
    """Return the column with a row's answer: the only one, or, in a file of several kinds, the only filled one.

    Raises:
        ValueError: not exactly one of several columns is filled.
    """
    if len(source.answer) == 1:
        return source.answer[0]
    filled = [answer for answer in source.answer if not is_empty(row[answer.column])]
    if len(filled) != 1:
        names = ", ".join(answer.column for answer in source.answer)
        raise ValueError(f"{len(filled)} of the answer columns {names} are filled; a row must have exactly one answer")
    return filled[0]


def _stem_problems(stem: str | None) -> list[str]:
    if stem is None:
        return ["the stem is not text"]
    return [] if stem.strip() else ["empty stem"]


def _option_problems(options: Sequence[str]) -> list[str]:
    problems = []
    if not 2 <= len(options) <= len(LETTERS):
        problems.append(f"{len(options)} options; 2 to {len(LETTERS)} are allowed")
    # Case and exponents can be the only difference: the genotypes AA and Aa, 10\u2074 and 104.
    texts = [" ".join(option.split()) for option in options]
    if "" in texts:
        problems.append("empty option")
    if len(set(texts)) < len(texts):
        problems.append("duplicate options")
    return problems


def row_options(row: Mapping[str, Any], columns: Sequence[str]) -> list[str] | None:
    """Return the option texts of a row, or None if they are not texts in order."""
    if len(columns) > 1:
        texts = [row[column] for column in columns]
        while texts and texts[-1] in (None, ""):
            texts.pop()
        return _texts(texts)
    cell = row[columns[0]]
    if isinstance(cell, Mapping):
        # In parquet, every row has the letters of all rows; missing options are null.
        present = {letter: text for letter, text in cell.items() if text is not None}
        if "".join(sorted(present)) != LETTERS[: len(present)]:
            return None
        cell = [present[letter] for letter in sorted(present)]
    return _texts(cell)


def _texts(cell: object) -> list[str] | None:
    return cell if isinstance(cell, list) and all(_text(text) is not None for text in cell) else None


def _text(cell: object) -> str | None:
    """Return a cell if it is text that UTF-8 can encode, else None: JSON may contain half a surrogate pair."""
    try:
        return cell if isinstance(cell, str) and cell.encode() is not None else None
    except UnicodeEncodeError:
        return None


def _gold(row: Mapping[str, Any], column: AnswerColumn, options: list[str]) -> int | None:
    """Return the first option index that agrees with the column's cell, or None."""
    cell = row[column.column]
    return next((index for index in range(len(options)) if _agrees(cell, column.form, options, index)), None)


def _agrees(cell: object, form: AnswerForm, options: list[str], index: int) -> bool:
    """Return whether a cell names the option at `index`. If two options have the same text, it names both."""
    match form:
        case "letter":
            return cell == LETTERS[index : index + 1]
        case "index":
            return _is_number(cell, index)
        case "index_from_1":
            return _is_number(cell, index + 1)
        case "text":
            return cell == options[index]
        case _:
            raise ValueError(f"{form} is no form of an option's column")


def _is_number(cell: object, number: int) -> bool:
    # In CSV every cell is text.
    return (type(cell) in (int, float) and cell == number) or cell == str(number)


def counts_from_1(cells: Sequence[object], options: Sequence[int]) -> bool:
    """Return whether a column of indices, read as counting from 0, in fact counts from 1.

    It does if a cell equals the number of options, or if 0 never occurs in many rows.

    Args:
        cells: the column.
        options: the number of options in each row; 0 if they cannot be read.
    """
    beyond = any(count and _is_number(cell, count) for cell, count in zip(cells, options, strict=True))
    return beyond or (len(cells) >= MANY_ROWS and not any(_is_number(cell, 0) for cell in cells))
