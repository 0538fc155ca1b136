"""Rewards as pure functions of a Grade (paper, section 2.2)."""

from collections.abc import Callable

from medrlvr.errors import UserError
from medrlvr.grading import Grade


def paper(grade: Grade) -> float:
    """-1 without a valid format, 0 for a wrong or unreadable answer, +1 for the gold letter."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else 0.0


REWARDS: dict[str, Callable[[Grade], float]] = {"paper": paper}


def find(name: str) -> Callable[[Grade], float]:
    """Return the reward called `name`.

    Raises:
        UserError: there is no reward of that name.
    """
    if name not in REWARDS:
        raise UserError(f"there is no reward called {name!r}; there are: {', '.join(sorted(REWARDS))}.")
    return REWARDS[name]
