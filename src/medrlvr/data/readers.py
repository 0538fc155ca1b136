"""Read rows of upstream files of four formats; a malformed file raises an error with file and line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.runtime.errors import UserError

Rows = Iterator[tuple[int, Mapping[str, Any]]]


def read_rows(path: Path, columns: Sequence[str]) -> Rows:
    """Yield every row with its position, from 1: the line in .jsonl and .csv, the row number in .json and .parquet.

    Args:
        path: .jsonl, .json (a list of objects, or JSON lines), .csv (with a header) or .parquet.
        columns: names that every row must have.

    Raises:
        UserError: the file is malformed, is not UTF-8, or lacks a column; the message contains the line.
    """
    reader = {".jsonl": _json_lines, ".json": _json, ".csv": _csv, ".parquet": _parquet}[path.suffix]
    return reader(path, columns)


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                yield content.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {line}: this is not UTF-8: {error.reason} at byte {error.start}."
                    " Save the file as UTF-8."
                ) from None


def _json_lines(path: Path, columns: Sequence[str]) -> Rows:
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {line}: this is not JSON: {error.msg} at column {error.colno}. Each line must be a JSON"
                " object."
            ) from None
        except ValueError as error:  # of a number with more digits than Python reads
            raise UserError(f"{path}, line {line}: a value cannot be read: {error}. Write a shorter number.") from None
        except RecursionError:
            raise UserError(
                f"{path}, line {line}: the JSON is nested too deeply. Each line must be a JSON object with the columns."
            ) from None
        yield line, _complete(row, columns, f"{path}, line {line}")


def _json(path: Path, columns: Sequence[str]) -> Rows:
    text = "".join(_lines(path))
    if text.lstrip().startswith("{"):
        # Some data sets, such as MedMCQA, name files of JSON lines .json.
        yield from _json_lines(path, columns)
        return
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: this is not JSON: {error.msg} at column {error.colno}. The file must contain"
            " a list of JSON objects, or one object per line."
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: a value cannot be read: {error}. Write a shorter number.") from None
    except RecursionError:
        raise UserError(
            f"{path}: the JSON is nested too deeply. The file must contain a list of JSON objects, or one object per"
            " line."
        ) from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: the file must contain a list of JSON objects, or one object per line.")
    for number, row in enumerate(rows, start=1):
        yield number, _complete(row, columns, f"{path}, object {number}")


def _complete(row: Any, columns: Sequence[str], where: str) -> Mapping[str, Any]:
    missing = [column for column in columns if column not in row] if isinstance(row, dict) else columns
    if missing:
        raise UserError(
            f"{where}: this is not a JSON object that contains {', '.join(missing)}. Add what is missing; null is an"
            " empty value."
        )
    return dict(row)


def _no_column(missing: Sequence[str], existing: Sequence[str]) -> str:
    return (
        f"there is no column {', '.join(missing)}; existing columns: {', '.join(existing)}. Correct the columns in"
        " config/datasets.tsv, or the file."
    )


def _csv(path: Path, columns: Sequence[str]) -> Rows:
    reader = csv.reader(_lines(path), strict=True)
    line = 1
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise UserError(f"{path}, line 1: two columns have the same name: {', '.join(header)}. Rename one of them.")
        missing = [column for column in columns if column not in header]
        if missing:
            raise UserError(f"{path}, line 1: {_no_column(missing, header)}")
        line = reader.line_num + 1
        for cells in reader:
            if not cells:
                line = reader.line_num + 1
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {line}: this row has {len(cells)} cells, but there are {len(header)} columns."
                    " Correct the row; a cell that contains a comma needs quotes."
                )
            yield line, dict(zip(header, cells, strict=True))
            # A quoted cell may span several lines.
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: this is not CSV: {error}. Correct the row.") from None


def _parquet(path: Path, columns: Sequence[str]) -> Rows:
    try:
        names = pq.read_schema(path).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise UserError(f"{path}: {_no_column(missing, names)}")
        rows = pq.read_table(path, columns=list(columns)).to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: this is not a readable parquet file: {error}\nWrite the file again, or correct its name in"
            " config/datasets.tsv."
        ) from None
    yield from enumerate(rows, start=1)
