"""Turn every row of a data set into a typed question, or reject it with its line.

A question's id is `dataset/split/line`. The line (for .json and .parquet, the row number) counts from 1 in the file
whose hash is in the registry. A question therefore has the same id in every run, whatever is filtered or drawn.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.data.keys import key_to_json
from medrlvr.data.readers import read_rows
from medrlvr.data.registry import Source, is_empty
from medrlvr.data.row_parsing import counts_from_1, parse_row, row_options
from medrlvr.grading.kinds import Key, Kind, LetterKey, NumberKey
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.atomic import write_atomically
from medrlvr.runtime.errors import UserError


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        question_id: dataset/split/line.
        dataset: name in the registry.
        split: name in the registry.
        stem: vignette and question, as in the upstream file.
        options: 2 to 11 option texts, in order; empty if the answer is no letter.
        gold: index of the correct option, from 0; None if the answer is no letter.
        source_file: path in the data set's home, or in its archive.
        source_line: line or row number, from 1.
        meta: JSON object with sorted keys: unchanged columns, and "flags", the problems of a row that is still scored.
        kind: what the answer is.
        key: JSON object with the fields of a `NumberKey` or `TextKey`; None if the answer is a letter.
    """

    question_id: str
    dataset: str
    split: str
    stem: str
    options: list[str]
    gold: int | None
    source_file: str
    source_line: int
    meta: str
    kind: Kind
    key: str | None


_ARROW: dict[Any, pa.DataType] = {
    **dict.fromkeys((str, str | None, Kind), pa.string()),
    **dict.fromkeys((int, int | None), pa.int64()),
    list[str]: pa.list_(pa.string()),
}
KINDS_SCHEMA = pa.schema({field.name: _ARROW[field.type] for field in fields(Question)})
"""Columns of a table with questions whose answers are not all letters."""
QUESTION_SCHEMA = pa.schema([field for field in KINDS_SCHEMA if field.name not in ("kind", "key")])
"""Columns of a table in which all answers are letters."""
REJECTED_SCHEMA = pa.schema(
    {
        name: QUESTION_SCHEMA.field(name).type
        for name in ("question_id", "dataset", "split", "source_file", "source_line")
    }
    | {"reason": pa.string()}
)


def read_questions(path: str | Path, source: Source, none_of_the_above: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the questions of one file, as described by its registry row.

    Args:
        path: a file that `read_rows` accepts.
        source: the registry row.
        none_of_the_above: whether to append that option to every question (paper, Table 1).

    Returns:
        Questions (QUESTION_SCHEMA, or KINDS_SCHEMA if not all answers of the data set are letters) and rejected rows
        (REJECTED_SCHEMA), in the file's order. Only rows with the role `train` are rejected; rows that are scored are
        kept and flagged, so that n is the published number.

    Raises:
        UserError: the file is malformed, a row to be scored has no readable answer, or the number of rows is not the
            registered one. The message contains file and line.
    """
    questions, rejected, lines = [], [], set()
    rows = [(line, row) for line, row in read_rows(Path(path), source.columns) if source.includes(row)]
    _check_counting(path, [row for _, row in rows], source)
    for line, row in rows:
        lines.add(line)
        place: dict[str, Any] = {
            "question_id": f"{source.name}/{line}",
            "dataset": source.dataset,
            "split": source.split,
            "source_file": source.member or source.file,
            "source_line": line,
        }
        found = parse_row(row, source, none_of_the_above)
        problems = found.problems + ([source.faults[line]] if line in source.faults else [])
        if problems and source.role == "train":
            rejected.append({**place, "reason": "; ".join(problems)})
            continue
        if found.key is None or found.stem is None or len(found.options) > len(LETTERS):
            raise UserError(
                f"{path}, line {line}: {'; '.join(problems)}. A row that is scored needs text and a readable answer."
                f" Correct the columns of {source.name} in config/datasets.tsv, or the file."
            )
        meta = {column: _plain_value(row[column]) for column in source.meta} | ({"flags": problems} if problems else {})
        text = json.dumps(meta, sort_keys=True, ensure_ascii=False, default=str)
        questions.append(Question(**place, stem=found.stem, **_answer_facts(found.key), meta=text))
    unmet = set(source.faults) - lines
    if unmet:
        raise UserError(
            f"{path}: config/datasets.tsv lists a fault in line {min(unmet)}, but no question is read from this line."
            f" Correct the column faults of {source.name}."
        )
    if rejected and not questions:
        raise UserError(
            f"{path}: none of the {len(rejected)} rows can be used. The first is line {rejected[0]['source_line']}:"
            f" {rejected[0]['reason']}. Check the columns of {source.name} in config/datasets.tsv."
        )
    if source.rows is not None and len(rows) != source.rows:
        raise UserError(
            f"{path}: the file has {len(rows)} rows, but config/datasets.tsv expects {source.rows} for {source.name}."
            " Correct the column rows, or the column filter, which selects the rows."
        )
    schema = QUESTION_SCHEMA if set(source.kinds) == {"letter"} else KINDS_SCHEMA
    table = pd.DataFrame(map(asdict, questions), columns=schema.names)
    return table, pd.DataFrame(rejected, columns=REJECTED_SCHEMA.names)


def _answer_facts(key: Key) -> dict[str, Any]:
    if isinstance(key, LetterKey):
        return {"options": list(key.options), "gold": key.gold, "kind": "letter", "key": None}
    kind = "number" if isinstance(key, NumberKey) else "text"
    return {"options": [], "gold": None, "kind": kind, "key": key_to_json(key)}


def _plain_value(cell: object) -> object:
    """Return a cell as a value that JSON allows: None for NaN and infinity."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _check_counting(path: str | Path, rows: Sequence[Mapping[str, Any]], source: Source) -> None:
    """Reject an index that counts from 1 but is registered as counting from 0: every answer would move by one."""
    column = next((answer.column for answer in source.answer if answer.form == "index"), None)
    if column is None:
        return
    with_options = [row for row in rows if len(source.answer) == 1 or not is_empty(row[column])]
    counts = [len(row_options(row, source.options) or ()) for row in with_options]
    if counts_from_1([row[column] for row in with_options], counts):
        raise UserError(
            f"{path}: the column {column} seems to count options from 1: it contains the number of options, or never 0."
            f" In config/datasets.tsv, write {column}:index_from_1 in the column answer of {source.name}."
        )


def question_schema(questions: pd.DataFrame) -> pa.Schema:
    """Return the schema of a question table: with kind and key if the table has them."""
    return KINDS_SCHEMA if "kind" in questions else QUESTION_SCHEMA


def write_table(path: str | Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a table, which may be empty, as parquet with exactly this schema; equal tables give equal bytes."""
    rows = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
    write_atomically(path, lambda temporary: pq.write_table(rows, temporary))


def sample(questions: pd.DataFrame, rows: int | None, seed: int) -> pd.DataFrame:
    """Draw `rows` questions at random, in the file's order; None draws all.

    A question's rank in the draw depends only on its id and the seed. A smaller draw is therefore part of a larger one,
    and removing a row does not change the order of the others.

    Raises:
        UserError: there are fewer questions than `rows`.
    """
    if rows is None:
        return questions
    if rows > len(questions):
        first = questions["question_id"].iloc[0] if len(questions) else "an empty table"
        raise UserError(
            f"{rows} rows are requested, but there are only {len(questions)} (first: {first}). Lower train_rows or"
            " development_rows under data, or rows under benchmarks; null uses all questions."
        )
    key = questions["question_id"].map(lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    return questions[key.rank(method="first") <= rows].reset_index(drop=True)
