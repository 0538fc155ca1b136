"""Write text, JSON and parquet atomically; read JSON and parquet."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from medrlvr.runtime.atomic import write_atomically
from medrlvr.runtime.errors import UserError


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with sorted keys.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not define.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object that medrlvr wrote.

    Raises:
        UserError: the file contains no JSON object; the message names the file.
    """
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} contains no JSON object. Restore it, or delete it and start the same command again.")
    return value


def read_json_value(path: str | Path) -> Any:
    """Read a JSON object or list that medrlvr wrote.

    Raises:
        UserError: the file is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not JSON: {error}. Restore it, or delete it and start the same command again."
        ) from None


def write_json_lines(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object per line, with sorted keys."""
    write_text(path, "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows))


def write_parquet(path: str | Path, table: pd.DataFrame, types: Mapping[str, pa.DataType] | None = None) -> None:
    """Write a table without its index.

    Args:
        path: parquet file.
        table: the table.
        types: column -> type, for columns without any value, from which pyarrow cannot derive a type.
    """
    schema = _schema(table, types) if types else None
    write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False, schema=schema))


def _schema(table: pd.DataFrame, types: Mapping[str, pa.DataType]) -> pa.Schema:
    derived = pa.Schema.from_pandas(table, preserve_index=False)
    fields = [
        field.with_type(types[field.name]) if pa.types.is_null(field.type) and field.name in types else field
        for field in derived
    ]
    return pa.schema(fields, derived.metadata)


def empty_table(types: Mapping[str, pa.DataType]) -> pd.DataFrame:
    """Return a table without rows, with these columns."""
    table: pd.DataFrame = pa.schema([*types.items()]).empty_table().to_pandas()
    return table


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table.

    It calls pyarrow with the path. pandas would give pyarrow an open file; its threads then abort the interpreter at
    exit, 4 times in 10 (arrow issues 34314, 50482).

    Args:
        path: parquet file.
        columns: names of the columns to read; None for all.

    Raises:
        UserError: the file is missing or damaged; the message names it.
    """
    try:
        table: pd.DataFrame = pyarrow.parquet.read_table(path, columns=columns, partitioning=None).to_pandas()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Run the step that writes it again.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} cannot be read as a parquet file: {error}. Restore it, or delete it and start the same command"
            " again."
        ) from None
    return table
