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
                raise UserError(f"{path}, line {line}: not UTF-8: {error.reason} at byte {error.start}.") from None


def _json_lines(path: Path, columns: Sequence[str]) -> Rows:
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {line}: not JSON: {error.msg} at column {error.colno}.") from None
        except RecursionError:
            raise UserError(f"{path}, line {line}: the JSON is nested too deeply.") from None
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
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg} at column {error.colno}.") from None
    except RecursionError:
        raise UserError(f"{path}: the JSON is nested too deeply.") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: must be a list of JSON objects, or one object per line.")
    for number, row in enumerate(rows, start=1):
        yield number, _complete(row, columns, f"{path}, object {number}")


def _complete(row: Any, columns: Sequence[str], where: str) -> Mapping[str, Any]:
    missing = [column for column in columns if column not in row] if isinstance(row, dict) else columns
    if missing:
        raise UserError(f"{where}: this JSON object does not contain {', '.join(missing)}.")
    return dict(row)


def _csv(path: Path, columns: Sequence[str]) -> Rows:
    reader = csv.reader(_lines(path), strict=True)
    line = 1
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise UserError(f"{path}, line 1: two columns have the same name: {', '.join(header)}.")
        missing = [column for column in columns if column not in header]
        if missing:
            raise UserError(f"{path}, line 1: no column {', '.join(missing)}; existing columns: {', '.join(header)}.")
        line = reader.line_num + 1
        for cells in reader:
            if not cells:
                line = reader.line_num + 1
                continue
            if len(cells) != len(header):
                raise UserError(f"{path}, line {line}: has {len(cells)} cells, but there are {len(header)} columns.")
            yield line, dict(zip(header, cells, strict=True))
            # A quoted cell may span several lines.
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: not CSV: {error}.") from None


def _parquet(path: Path, columns: Sequence[str]) -> Rows:
    try:
        names = pq.read_schema(path).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; existing columns: {', '.join(names)}.")
        rows = pq.read_table(path, columns=list(columns)).to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable parquet file: {error}") from None
    yield from enumerate(rows, start=1)
