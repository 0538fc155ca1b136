"""What a check of the reasoning of one response finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from medrlvr.grading.grader import Grade


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether the steps of a response's reasoning are present and true.

    Attributes:
        cites: number of different findings that the reasoning cites.
        invented: number of these that the question does not have.
        condition: the condition with which the reasoning concludes, or None if it names none.
        fits: whether this condition has all findings of the question; False for None.
        fact_true: whether every stated fact is true; None if none is stated.
        reasons: whether all steps are present and true, and come before the answer.
    """

    cites: int
    invented: int
    condition: str | None
    fits: bool
    fact_true: bool | None
    reasons: bool

    def columns(self) -> dict[str, int | bool | None]:
        """Return the values of `COLUMNS`."""
        values = (self.cites, self.invented, self.fits, self.fact_true, self.reasons)
        return dict(zip(COLUMNS, values, strict=True))


COLUMNS = {
    "evidence_cites": "Int64",
    "evidence_invented": "Int64",
    "evidence_fits": "boolean",
    "evidence_fact": "boolean",
    "reasons": "boolean",
}
"""Columns of tables of responses, next to the grade -> type in pandas; a value may be missing."""


class Cited(Protocol):
    """What every check finds: how many statements it checked, and how many of them the question does not have."""

    @property
    def invented(self) -> int: ...

    def columns(self) -> dict[str, int | bool | None]:
        """Return values of `COLUMNS`; a column that the check does not know is missing."""
        ...


EvidenceCheck = Callable[[str, Sequence[str], str, Grade], Cited | None]
"""Returns the evidence for a question's stem and options, a response and its grade.

The result is None for a question that the check does not know.
"""
