"""From a configuration value to a Reward.

The value is one term, `paper`, or several terms with weights and parameters:
`{paper: 1, leak_penalty: {weight: 0.5, within_chars: 80}}`. A term is a function of `rewards` or of a Python file of
yours.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from medrlvr.grading.grader import Grade, grade
from medrlvr.grading.rewards import PENALTIES, REWARDS, Reward
from medrlvr.runtime.errors import UserError

Setting = str | Mapping[str, float | Mapping[str, float]]
"""One term's name, or for each term its weight or its weight and parameters."""


def load_reward(setting: Setting, key: str = "reward") -> Reward:
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


def reward_to_json(setting: Setting) -> str:
    """Return a setting as JSON for another process, which may be started elsewhere: files by their whole path."""
    terms = _terms(setting)
    return json.dumps({str(Path(name).resolve()) if _is_file(name) else name: terms[name] for name in terms})


@cache
def reward_from_json(text: str) -> Reward:
    """Return the reward of a setting that `to_text` wrote."""
    return load_reward(json.loads(text))


def reward_source(setting: Setting) -> str:
    """Return the code of a setting's terms: what a change of the reward changes, but for weights and parameters."""
    return "\n".join(
        Path(name).read_text(encoding="utf-8") if _is_file(name) else inspect.getsource(REWARDS[name])
        for name in _terms(setting)
    )


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
