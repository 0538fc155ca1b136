"""Graded rows as a parquet table. It needs pyarrow, which the rest of `medrlvr grade` does not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


_GRADE = {name: _type(field.type) for name, field in Grade.__dataclass_fields__.items()}
_EMPTY = pa.table({name: pa.array([], kind) for name, kind in _GRADE.items()})


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
        with _reported(f"{place}: the values of {name}"):
            columns[name] = pa.array([row.get(name) for row in rows], _GRADE.get(name))
    with _reported(f"{place}: the keys"):
        return pa.table(columns)


def write_tables(tables: Sequence[pa.Table], path: Path) -> None:
    """Write tables as one file; columns that a table lacks are missing values.

    A file without rows has the columns of `Grade`.

    Raises:
        UserError: a column has different types in two tables, or a type that parquet does not have.
    """
    with _reported("the values of a key"):
        pq.write_table(pa.concat_tables([*tables, _EMPTY], promote_options="permissive"), path)


@contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"{what} do not fit into one parquet column: {error}. Write JSON lines instead: --out FILE.jsonl."
        ) from None
