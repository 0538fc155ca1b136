"""Rewards as pure functions of a Grade (paper, section 2.2), and weighted sums of them.

A reward is named in the configuration by one term, `paper`, or by several with their weights and parameters:
`{paper: 1, leak_penalty: {weight: 0.5, within_chars: 80}}`. A term is a function of this module or of a Python file of
the user's. Penalties are -1 where they apply and else 0, so that a weight says what one costs.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from medrlvr.errors import UserError
from medrlvr.grading import Grade, grade

Setting = str | Mapping[str, float | Mapping[str, float]]
"""One term's name, or for each term its weight or its weight and parameters."""


def paper(grade: Grade) -> float:
    """-1 without a valid format, 0 for a wrong or unreadable answer, +1 for the gold letter (paper, section 2.2)."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else 0.0


def binary(grade: Grade) -> float:
    """+1 for the gold letter, else 0: a bad format costs no more than a wrong answer."""
    return 1.0 if grade.correct else 0.0


def wrong_penalty(grade: Grade, wrong: float = -0.5) -> float:
    """The paper's reward, but `wrong` for a wrong or unreadable answer (its ablation, section 2.2, without numbers)."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else wrong


def format_only(grade: Grade) -> float:
    """+1 for a valid format, else -1: a control that does not look at the answer."""
    return 1.0 if grade.valid_format else -1.0


def leak_penalty(grade: Grade, within_chars: float = 100) -> float:
    """-1 if the think block names the option answered within its first `within_chars` characters (paper, stage 4)."""
    return -1.0 if grade.answer_named_at is not None and grade.answer_named_at < within_chars else 0.0


def short_cot_penalty(grade: Grade, least_chars: float = 200) -> float:
    """-1 for a think block of less than `least_chars` characters, or none (the paper's suggestion, section 4.2.2)."""
    return -1.0 if grade.think_chars < least_chars else 0.0


def structure_penalty(grade: Grade, most_chars: float = 0) -> float:
    """-1 for more than `most_chars` characters before `<think>` (paper, stage 5); without one all characters count."""
    return -1.0 if grade.chars_before_think > most_chars else 0.0


REWARDS: dict[str, Callable[..., float]] = {
    "paper": paper,
    "binary": binary,
    "wrong_penalty": wrong_penalty,
    "format_only": format_only,
    "leak_penalty": leak_penalty,
    "short_cot_penalty": short_cot_penalty,
    "structure_penalty": structure_penalty,
}
PENALTIES = {"leak_penalty", "short_cot_penalty", "structure_penalty"}
"""Never more than 0: alone, a model would learn to answer nothing."""

LIMIT = 10.0
"""The largest reward either way. OpenRLHF clips what is beyond it: recorded would be what was not learnt from."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A weighted sum of terms; called with a grade it returns the reward.

    Attributes:
        terms: name, of a file without folder and suffix -> weight and function of a grade.
    """

    terms: Mapping[str, tuple[float, Callable[[Grade], float]]]

    def parts(self, grade: Grade) -> dict[str, float]:
        """Return what each term contributes, its weight counted."""
        return {name: weight * checked(term(grade)) for name, (weight, term) in self.terms.items()}

    def __call__(self, grade: Grade) -> float:
        """Return the sum of the parts.

        Raises:
            ValueError: it, or a term, is no number from -`LIMIT` to `LIMIT`.
        """
        return checked(sum(self.parts(grade).values()))


def find(setting: Setting, key: str = "reward") -> Reward:
    """Return the reward that a setting names.

    Args:
        setting: a term's name, or terms with weights and parameters.
        key: the setting's place, for messages.

    Raises:
        UserError: there is no term of that name, or it has no such parameter, or the terms are penalties only; or a
            file is missing, broken, without the function, or cannot reward the answers that it is tried on.
    """
    terms = _terms(setting)
    if not set(terms) - PENALTIES:
        named = " and ".join(terms) or "nothing"
        raise UserError(f"{key}: {named} alone rewards no answer; add a term such as paper: 1.")
    names = [Path(name).stem if _is_file(name) else name for name in terms]
    if len(set(names)) < len(names):
        raise UserError(f"{key}: two terms are called {max(names, key=names.count)}; rename one of the files.")
    reward = Reward({name: _weighted(*term, key) for name, term in zip(names, terms.items(), strict=True)})
    try:
        values = [reward(grade(response, ["x", "y"], 0)) for response in _TRIED]
    except Exception as error:
        raise UserError(f"{key}: reward(grade) of {' + '.join(terms)} fails: {type(error).__name__}: {error}") from None
    if not any(map(_is_file, terms)) and set(terms) - PENALTIES != {"format_only"} and values[0] <= values[1]:
        raise UserError(f"{key}: with these numbers a wrong answer earns {values[1]:g}, the right one {values[0]:g}.")
    return reward


def to_text(setting: Setting) -> str:
    """Return a setting as JSON for another process, which may be started elsewhere: files by their whole path."""
    terms = _terms(setting)
    return json.dumps({str(Path(name).resolve()) if _is_file(name) else name: terms[name] for name in terms})


@cache
def from_text(text: str) -> Reward:
    """Return the reward of a setting that `to_text` wrote."""
    return find(json.loads(text))


def source(setting: Setting) -> str:
    """Return the code of a setting's terms: what a change of the reward changes, but for weights and parameters."""
    return "\n".join(
        Path(name).read_text(encoding="utf-8") if _is_file(name) else inspect.getsource(REWARDS[name])
        for name in _terms(setting)
    )


def checked(value: float) -> float:
    """Return a reward as a float.

    Raises:
        ValueError: it is no number from -`LIMIT` to `LIMIT`.
    """
    if not isinstance(value, int | float) or not abs(value) <= LIMIT:
        raise ValueError(f"a reward must be a number from {-LIMIT:g} to {LIMIT:g}, and this is {value!r}")
    return float(value)


def _terms(setting: Setting) -> Mapping[str, float | Mapping[str, float]]:
    return {setting: 1.0} if isinstance(setting, str) else setting


def _weighted(name: str, facts: float | Mapping[str, float], key: str) -> tuple[float, Callable[[Grade], float]]:
    parameters = dict(facts) if isinstance(facts, Mapping) else {"weight": facts}
    weight = parameters.pop("weight", 1.0)
    function = _function(name, key)
    known = [*inspect.signature(function).parameters][1:]
    for parameter in parameters:
        if parameter not in known:
            raise UserError(f"{key}: {name} has no parameter {parameter!r}; it has: {', '.join(['weight', *known])}.")
    if not weight > 0 or not all(map(math.isfinite, [weight, *parameters.values()])):
        raise UserError(f"{key}: weights of {name} are positive numbers and parameters finite ones; this is {facts!r}.")
    return weight, partial(function, **parameters)


# Right, wrong, unread, nothing, and text alone or before <think>: what a reward is tried on before a run.
_TRIED = (
    "<think>a</think><answer>A</answer>",
    "<think>a</think><answer>B</answer>",
    "<think>a</think><answer>?</answer>",
    "",
    "text",
    "text <think>a</think><answer>A</answer>",
)


def _is_file(name: str) -> bool:
    return name.endswith(".py")


def _function(name: str, key: str) -> Callable[..., float]:
    if name in REWARDS:
        return REWARDS[name]
    if not _is_file(name):
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
    reward: Callable[..., float] = scope["reward"]
    return reward
