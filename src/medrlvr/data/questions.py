"""The typed question: every row of every data set becomes one, or is refused with its line.

A question's id is `dataset/split/line`, with the line (in .json and .parquet the row's number) counted from 1 in the
file whose hash the registry holds: the same question has the same id in every run, whatever is filtered or drawn.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.data.registry import AnswerColumn, AnswerForm, Source
from medrlvr.data.rows import read_rows
from medrlvr.errors import UserError
from medrlvr.files import write_atomically
from medrlvr.prompts import LETTERS

NONE_OF_THE_ABOVE = "None of the above"


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question.

    Attributes:
        question_id: dataset/split/line.
        dataset: as in the registry.
        split: as in the registry.
        stem: vignette and question, as upstream has them.
        options: 2 to 11, in order.
        gold: index of the right one, from 0.
        source_file: path in the data set's home.
        source_line: from 1.
        meta: JSON object, keys sorted: columns kept as they were; "flags" lists what is odd about a row that is scored.
    """

    question_id: str
    dataset: str
    split: str
    stem: str
    options: list[str]
    gold: int
    source_file: str
    source_line: int
    meta: str


_ARROW: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), list[str]: pa.list_(pa.string())}
QUESTION_SCHEMA = pa.schema({field.name: _ARROW[field.type] for field in fields(Question)})
REJECTED_SCHEMA = pa.schema(
    {
        name: QUESTION_SCHEMA.field(name).type
        for name in ("question_id", "dataset", "split", "source_file", "source_line")
    }
    | {"reason": pa.string()}
)


def read_questions(path: str | Path, source: Source, none_of_the_above: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read one file by its registry row.

    Args:
        path: a file as `read_rows` takes it.
        none_of_the_above: append that option to every question (paper, Table 1).

    Returns:
        Questions (QUESTION_SCHEMA) and rejected rows (REJECTED_SCHEMA), in the file's order. Only rows of the role
        `train` are ever rejected; rows that are scored are kept, with flags, so that n stays the published one.

    Raises:
        UserError: a malformed file, a row to be scored without a readable answer, another number of rows than
            registered; with file and line.
    """
    questions, rejected, lines = [], [], set()
    for line, row in read_rows(Path(path), source.columns):
        if source.filter is not None and str(row[source.filter[0]]) != source.filter[1]:
            continue
        lines.add(line)
        place: dict[str, Any] = {
            "question_id": f"{source.name}/{line}",
            "dataset": source.dataset,
            "split": source.split,
            "source_file": source.member or source.file,
            "source_line": line,
        }
        stem, options, gold, problems = _parse(row, source, none_of_the_above)
        problems += [source.faults[line]] if line in source.faults else []
        if problems and source.role == "train":
            rejected.append({**place, "reason": "; ".join(problems)})
            continue
        if gold is None or stem is None or len(options) > len(LETTERS):
            raise UserError(
                f"{path}, line {line}: {'; '.join(problems)}. A row that is scored needs text and a readable answer."
            )
        meta = {column: _plain(row[column]) for column in source.meta} | ({"flags": problems} if problems else {})
        text = json.dumps(meta, sort_keys=True, ensure_ascii=False, default=str)
        questions.append(Question(**place, stem=stem, options=options, gold=gold, meta=text))
    unmet = set(source.faults) - lines
    if unmet:
        raise UserError(f"{path}: the registry names a fault of line {min(unmet)}, but no row is read from there.")
    if rejected and not questions:
        raise UserError(
            f"{path}: not one of {len(rejected)} rows can be used; the first, line {rejected[0]['source_line']}:"
            f" {rejected[0]['reason']}. Are the columns of {source.name} in the registry the right ones?"
        )
    rows = len(questions) + len(rejected)
    if source.rows is not None and rows != source.rows:
        raise UserError(f"{path}: {rows} rows where config/datasets.tsv has {source.rows} for {source.name}.")
    table = pd.DataFrame(map(asdict, questions), columns=QUESTION_SCHEMA.names)
    return table, pd.DataFrame(rejected, columns=REJECTED_SCHEMA.names)


def write_table(path: str | Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a table as parquet with exactly this schema, empty or not; the same table gives the same bytes."""
    rows = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
    write_atomically(path, lambda temporary: pq.write_table(rows, temporary))


def sample(questions: pd.DataFrame, rows: int | None, seed: int) -> pd.DataFrame:
    """Draw `rows` questions at random, in the file's order; all of them for None.

    A question's place in the draw depends on its id and the seed alone: a smaller draw is part of a larger one, and a
    row removed elsewhere moves no other.

    Raises:
        UserError: there are not that many.
    """
    if rows is None:
        return questions
    if rows > len(questions):
        first = questions["question_id"].iloc[0] if len(questions) else "an empty table"
        raise UserError(f"{rows} rows were asked for, but there are only {len(questions)} (first: {first}).")
    key = questions["question_id"].map(lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    return questions[key.rank(method="first") <= rows].reset_index(drop=True)


def normalise_text(text: str) -> str:
    """Lower case, one space between words; marks stay, as arrows and signs are all that tells some options apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _parse(
    row: Mapping[str, Any], source: Source, none_of_the_above: bool
) -> tuple[str | None, list[str], int | None, list[str]]:
    """Return stem (None: no text), options, gold index (None: unreadable) and everything that is wrong with a row."""
    stem = "" if row[source.stem] is None else _text(row[source.stem])
    options = _options(row, source.options)
    if options is None:
        return stem, [], None, ["options are neither a list of texts nor texts under the letters A, B, C ..."]
    if none_of_the_above:
        options = [*options, NONE_OF_THE_ABOVE]
    problems = []
    if stem is None:
        problems.append("the stem is no text")
    elif not stem.strip():
        problems.append("empty stem")
    if not 2 <= len(options) <= len(LETTERS):
        problems.append(f"{len(options)} options; 2 to {len(LETTERS)} can be asked")
    normalised = [normalise_text(option) for option in options]
    if "" in normalised:
        problems.append("empty option")
    if len(set(normalised)) < len(normalised):
        problems.append("duplicate options")
    gold = _answer(row, source.answer, options)
    if gold is None:
        problems.append(f"answer {row[source.answer.column]!r} is not among the options")
    elif source.check and not _agrees(row[source.check.column], source.check.form, options, gold):
        problems.append(f"{source.answer.column} and {source.check.column} disagree")
    return stem, options, gold, problems


def _options(row: Mapping[str, Any], columns: Sequence[str]) -> list[str] | None:
    if len(columns) > 1:
        texts = [row[column] for column in columns]
        while texts and texts[-1] in (None, ""):
            texts.pop()
        return _texts(texts)
    cell = row[columns[0]]
    if isinstance(cell, Mapping):
        # Parquet gives every row every letter that any row has; those it lacks are null.
        present = {letter: text for letter, text in cell.items() if text is not None}
        if "".join(sorted(present)) != LETTERS[: len(present)]:
            return None
        cell = [present[letter] for letter in sorted(present)]
    return _texts(cell)


def _texts(cell: object) -> list[str] | None:
    return cell if isinstance(cell, list) and all(_text(text) is not None for text in cell) else None


def _text(cell: object) -> str | None:
    """Return a cell that is text and can be written down as such: JSON may hold half a character."""
    try:
        return cell if isinstance(cell, str) and cell.encode() is not None else None
    except UnicodeEncodeError:
        return None


def _plain(cell: object) -> object:
    """Return a cell as JSON can hold it."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _answer(row: Mapping[str, Any], column: AnswerColumn, options: list[str]) -> int | None:
    """Return the first index that the column's cell agrees with, or None."""
    cell = row[column.column]
    return next((index for index in range(len(options)) if _agrees(cell, column.form, options, index)), None)


def _agrees(cell: object, form: AnswerForm, options: list[str], index: int) -> bool:
    """Return whether a cell names the option at `index`; of two options with the same text, either."""
    match form:
        case "letter":
            return cell == LETTERS[index : index + 1]
        case "index":
            # In CSV everything is text.
            return (type(cell) in (int, float) and cell == index) or cell == str(index)
        case "text":
            return cell == options[index]
