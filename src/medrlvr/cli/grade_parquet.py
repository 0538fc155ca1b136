"""Graded rows as a parquet table. It needs pyarrow, which the rest of `medrlvr grade` does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from medrlvr.grading.grader import Grade
from medrlvr.runtime.errors import UserError

_TYPES = {int: pa.int64(), bool: pa.bool_(), float: pa.float64()}


def _type(annotation: Any) -> pa.DataType:
    """Return the type of a column for a field of `Grade`: every type that is not listed is text."""
    return next((_TYPES[part] for part in (annotation, *get_args(annotation)) if part in _TYPES), pa.string())


_GRADE = {name: _type(field.type) for name, field in Grade.__dataclass_fields__.items()} | {"reward": pa.float64()}


def to_table(rows: Sequence[dict[str, Any]], place: str) -> pa.Table:
    """Return rows as a table; a key that a row lacks is a missing value.

    Args:
        rows: the rows.
        place: file and lines of the rows, for messages.

    Raises:
        UserError: a key has values that do not fit into one column.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in rows], _GRADE.get(name))
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(
                f"{place}: the values of {name} do not fit into one parquet column: {error}. Write JSON lines"
                " instead: --out FILE.jsonl."
            ) from None
    return pa.table(columns)


def write_tables(tables: Sequence[pa.Table], path: Path) -> None:
    """Write tables as one file; columns that a table lacks are missing values.

    Raises:
        UserError: a column has different types in two tables.
    """
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"the values of a key do not fit into one parquet column: {error}. Write JSON lines instead:"
            " --out FILE.jsonl."
        ) from None
    pq.write_table(table, path)
