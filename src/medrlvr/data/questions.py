"""The typed question: every row of every data set becomes one, or is refused with its line.

A question's id is `dataset/split/line`, with the line (or parquet row) counted from 1 in the file whose hash the
registry holds: the same question has the same id in every run, whatever is filtered or drawn.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.data.registry import AnswerColumn, AnswerForm, Source
from medrlvr.errors import UserError
from medrlvr.files import write_atomically
from medrlvr.prompts import LETTERS

NONE_OF_THE_ABOVE = "None of the above"

QUESTION_SCHEMA = pa.schema(
    {
        "question_id": pa.string(),
        "dataset": pa.string(),
        "split": pa.string(),
        "stem": pa.string(),
        "options": pa.list_(pa.string()),  # 2 to 11, in order
        "gold": pa.int64(),  # index into options, from 0
        "source_file": pa.string(),  # in the data set's home
        "source_line": pa.int64(),  # from 1
        "meta": pa.string(),  # JSON object, keys sorted; "flags" lists what is odd about a row that had to be kept
    }
)
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
        path: .jsonl or .parquet.
        none_of_the_above: append that option to every question (paper, Table 1).

    Returns:
        Questions (QUESTION_SCHEMA) and rejected rows (REJECTED_SCHEMA), in the file's order. Only rows of the role
        `train` are ever rejected; rows that are scored are kept, with flags, so that n stays the published one.

    Raises:
        UserError: a malformed file, a row to be scored without a readable answer, another number of rows than
            registered; with file and line.
    """
    questions, rejected = [], []
    for line, row in _rows(Path(path), source):
        place = {
            "question_id": f"{source.name}/{line}",
            "dataset": source.dataset,
            "split": source.split,
            "source_file": source.member or source.file,
            "source_line": line,
        }
        options, gold, problems = _parse(row, source, none_of_the_above)
        if problems and source.role == "train":
            rejected.append({**place, "reason": "; ".join(problems)})
            continue
        if gold is None:
            raise UserError(
                f"{path}, line {line}: {'; '.join(problems)}. A row that is scored needs a readable answer."
            )
        meta = {column: row[column] for column in source.meta} | ({"flags": problems} if problems else {})
        questions.append(
            {
                **place,
                "stem": row[source.stem] or "",
                "options": options,
                "gold": gold,
                "meta": json.dumps(meta, sort_keys=True, ensure_ascii=False),
            }
        )
    rows = len(questions) + len(rejected)
    if source.rows is not None and rows != source.rows:
        raise UserError(f"{path}: {rows} rows where config/datasets.tsv has {source.rows} for {source.name}.")
    return pd.DataFrame(questions, columns=QUESTION_SCHEMA.names), pd.DataFrame(rejected, columns=REJECTED_SCHEMA.names)


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


def normalise_option(text: str) -> str:
    """Lower case, one space between words; marks stay, as arrows and signs are all that tells some options apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _rows(path: Path, source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield line number and row, of the rows that pass the filter."""
    rows = _parquet_rows(path, source.columns) if path.suffix == ".parquet" else _json_rows(path, source.columns)
    for line, row in rows:
        if source.filter is None or str(row[source.filter[0]]) == source.filter[1]:
            yield line, row


def _json_rows(path: Path, columns: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                row = json.loads(content.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(f"{path}, line {line}: not UTF-8: {error.reason} at byte {error.start}.") from None
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {line}: not JSON: {error.msg} at column {error.colno}.") from None
            missing = [column for column in columns if column not in row] if isinstance(row, dict) else columns
            if missing:
                raise UserError(f"{path}, line {line}: no {', '.join(missing)} in this JSON object.")
            yield line, row


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        names = pq.read_schema(path).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(names)}.")
        rows = pq.read_table(path, columns=columns).to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a parquet file that can be read: {error}") from None
    yield from enumerate(rows, start=1)


def _parse(row: Mapping[str, Any], source: Source, none_of_the_above: bool) -> tuple[list[str], int | None, list[str]]:
    """Return options, gold index (None: unreadable) and everything that is wrong with a row."""
    options = _options(row[source.options])
    if options is None:
        return [], None, ["options are neither a list of texts nor texts under the letters A, B, C ..."]
    if none_of_the_above:
        options = [*options, NONE_OF_THE_ABOVE]
    problems = []
    if not isinstance(row[source.stem], str) or not row[source.stem].strip():
        problems.append("empty stem")
    if not 2 <= len(options) <= len(LETTERS):
        problems.append(f"{len(options)} options; 2 to {len(LETTERS)} can be asked")
    normalised = [normalise_option(option) for option in options]
    if "" in normalised:
        problems.append("empty option")
    if len(set(normalised)) < len(normalised):
        problems.append("duplicate options")
    gold = _answer(row, source.answer, options)
    if gold is None:
        problems.append(f"answer {row[source.answer.column]!r} is not among the options")
    elif source.check and not _agrees(row[source.check.column], source.check.form, options, gold):
        problems.append(f"{source.answer.column} and {source.check.column} disagree")
    return options, gold, problems


def _options(cell: object) -> list[str] | None:
    if isinstance(cell, Mapping):
        # Parquet gives every row every letter that any row has; those it lacks are null.
        present = {letter: text for letter, text in cell.items() if text is not None}
        if "".join(sorted(present)) != LETTERS[: len(present)]:
            return None
        cell = [present[letter] for letter in sorted(present)]
    if not isinstance(cell, list) or not all(isinstance(text, str) for text in cell):
        return None
    return cell


def _answer(row: Mapping[str, Any], column: AnswerColumn, options: list[str]) -> int | None:
    """Return the first index that the column's cell agrees with, or None."""
    cell = row[column.column]
    return next((index for index in range(len(options)) if _agrees(cell, column.form, options, index)), None)


def _agrees(cell: object, form: AnswerForm, options: list[str], index: int) -> bool:
    """Return whether a cell names the option at `index`; of two options with the same text, either."""
    names = {"letter": LETTERS[index : index + 1], "index": index, "text": options[index]}
    return type(cell) is type(names[form]) and cell == names[form]
