"""Rewards as pure functions of a Grade (paper, section 2.2)."""

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from medrlvr.errors import UserError
from medrlvr.grading import Grade, grade

Reward = Callable[[Grade], float]


def paper(grade: Grade) -> float:
    """-1 without a valid format, 0 for a wrong or unreadable answer, +1 for the gold letter."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else 0.0


REWARDS: dict[str, Reward] = {"paper": paper}

LIMIT = 10.0
"""The largest reward either way. OpenRLHF clips what is beyond it: recorded would be what was not learnt from."""


@cache
def find(name: str, key: str = "reward") -> Reward:
    """Return a reward of this module by its name, or the function `reward` of a Python file by its path.

    Args:
        key: the setting that holds the name, for messages.

    Raises:
        UserError: there is no reward of that name, or the file is missing, broken or without the function, or that
            cannot reward the answer that it is tried on.
    """
    if name in REWARDS:
        return REWARDS[name]
    if not name.endswith(".py"):
        raise UserError(
            f"{key}: there is no reward called {name!r}; there are: {', '.join(sorted(REWARDS))},"
            " or the path of a Python file with a function reward(grade)."
        )
    file = Path(name)
    if not file.is_file():
        raise UserError(f"{key}: {file} is no file. Paths are taken from the folder that snakemake is started in.")
    scope: dict[str, Any] = {"__name__": file.stem, "__file__": str(file)}
    try:
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
    except Exception as error:
        raise UserError(f"{key}: {file} cannot be loaded: {type(error).__name__}: {error}") from None
    if not callable(scope.get("reward")):
        raise UserError(f"{key}: {file} has no function reward(grade).")
    reward = cast(Reward, scope["reward"])
    for response in ("<think>a</think><answer>A</answer>", ""):
        try:
            checked(reward(grade(response, ["x", "y"], 0)))
        except Exception as error:
            raise UserError(f"{key}: reward(grade) of {file} fails: {type(error).__name__}: {error}") from None
    return reward


def checked(value: float) -> float:
    """Return a reward as a float.

    Raises:
        ValueError: it is no number from -`LIMIT` to `LIMIT`.
    """
    if not isinstance(value, int | float) or not abs(value) <= LIMIT:
        raise ValueError(f"a reward must be a number from {-LIMIT:g} to {LIMIT:g}, and this is {value!r}")
    return float(value)


def source(name: str) -> str:
    """Return the code of the reward called `name`: what a change of the reward changes."""
    return inspect.getsource(REWARDS[name]) if name in REWARDS else Path(name).read_text(encoding="utf-8")
