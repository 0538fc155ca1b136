"""Grades as rows of a table, for questions of every kind."""

from dataclasses import fields

import pandas as pd

from medrlvr.grading.grader import Grade
from medrlvr.grading.kinds import KindGrade

_LETTER = [field.name for field in fields(Grade)]
_KIND = [field.name for field in fields(KindGrade)]


def grades_of(graded: pd.DataFrame) -> list[Grade]:
    """Return the grades of a table that has their fields as columns; those of numbers and texts are `KindGrade`."""
    # Parquet returns integer columns with missing values as floats.
    rows = graded[[name for name in _KIND if name in graded]].convert_dtypes().astype(object)
    rows = rows.mask(rows.isna(), None)
    return [_grade({str(name): value for name, value in row.items()}) for row in rows.to_dict("records")]


def _grade(row: dict[str, object]) -> Grade:
    if row.get("kind") in ("number", "text"):
        return KindGrade(**row)  # type: ignore[arg-type]
    return Grade(**{name: row[name] for name in _LETTER})  # type: ignore[arg-type]


def is_unread(graded: pd.DataFrame) -> "pd.Series[bool]":
    """Return which responses have no answer that could be read: no letter, number or text."""
    missing = graded["letter"].isna()
    return missing & graded["answer"].isna() if "answer" in graded else missing


def has_letters(graded: pd.DataFrame) -> bool:
    """Return whether any response is graded for a letter."""
    return "kind" not in graded or not graded["kind"].isin(["number", "text"]).all()
