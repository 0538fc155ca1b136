"""The typed question: every row of every data set becomes one, or is refused with its line.

A question's id is `dataset/split/line`, with the line (in .json and .parquet the row's number) counted from 1 in the
file whose hash the registry holds: the same question has the same id in every run, whatever is filtered or drawn.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.data.readers import read_rows
from medrlvr.data.registry import Source
from medrlvr.data.row_parsing import _ARROW, parse_row, plain_value
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_atomically


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
        stem, options, gold, problems = parse_row(row, source, none_of_the_above)
        problems += [source.faults[line]] if line in source.faults else []
        if problems and source.role == "train":
            rejected.append({**place, "reason": "; ".join(problems)})
            continue
        if gold is None or stem is None or len(options) > len(LETTERS):
            raise UserError(
                f"{path}, line {line}: {'; '.join(problems)}. A row that is scored needs text and a readable answer."
            )
        meta = {column: plain_value(row[column]) for column in source.meta} | ({"flags": problems} if problems else {})
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
