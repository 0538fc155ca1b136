"""Convert a configuration value to a Reward.

The value is one term, such as `paper`, or several terms with weights and parameters:
`{paper: 1, leak_penalty: {weight: 0.5, within_chars: 80}}`. A term is a function in `rewards` or in your own Python
file.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from medrlvr.grading.grader import Grade
from medrlvr.grading.kinds import Key, Kind, LetterKey, NumberKey, TextKey, grade_answer
from medrlvr.grading.rewards import (
    DRAWN_REWARDS,
    NEEDED_KIND,
    NUMBER_REWARDS,
    PENALTIES,
    REWARDS,
    WITHOUT_SIGNAL,
    Reward,
)
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

Setting = str | Mapping[str, float | Mapping[str, float]]
"""The name of one term, or a mapping from each term to its weight, or to its weight and parameters."""


_TERMS = REWARDS | NUMBER_REWARDS | DRAWN_REWARDS


def load_reward(setting: Setting, key: str = "reward", kind: Kind = "letter", *, drawn: bool = False) -> Reward:
    """Return the reward that a setting describes.

    Args:
        setting: the name of a term, or terms with weights and parameters.
        key: the configuration key of the setting, for messages.
        kind: what the answers of the questions are.
        drawn: whether the caller has a draw for each response, which the terms of DRAWN_REWARDS need.

    Raises:
        UserError: a term does not exist for this kind, or needs draws; a term or parameter is unknown; a weight or
            parameter is not allowed; all terms are penalties; a wrong answer would earn as much as the correct one; two
            terms have one name; a file has the name of a term; or a file is missing, broken, has no reward function, or
            fails on the sample responses.
    """
    terms = _terms(setting)
    if not set(terms) - PENALTIES:
        named = " and ".join(terms) or "an empty setting"
        raise UserError(f"{key}: {named} alone cannot reward an answer; add a term such as paper: 1.")
    _check_kind(terms, key, kind)
    if not drawn and not DRAWN_REWARDS.keys().isdisjoint(terms):
        raise UserError(
            f"{key}: random needs an independent draw for each response, which exists only in training with medrlvr."
            " Choose another reward."
        )
    names = [Path(name).stem if _is_file(name) else name for name in terms]
    if len(set(names)) < len(names):
        raise UserError(f"{key}: two terms are called {max(names, key=names.count)}; rename one of the files.")
    for file in filter(_is_file, terms):
        if Path(file).stem in _TERMS:
            raise UserError(f"{key}: {file} has the name of a term of medrlvr, {Path(file).stem}; rename the file.")
    reward = Reward({name: _weighted(*term, key, kind) for name, term in zip(names, terms.items(), strict=True)})
    try:
        values = [reward(grade, 0.0) for grade in _tried(kind)]
    except Exception as error:
        raise UserError(
            f"{key}: reward(grade) of {' + '.join(terms)} fails: {type(error).__name__}: {error}. Correct the function,"
            " or its weight or parameters."
        ) from None
    if not any(map(_is_file, terms)) and set(terms) - PENALTIES - WITHOUT_SIGNAL and values[0] <= values[1]:
        raise UserError(
            f"{key}: a wrong answer would earn {values[1]:g} and the correct one {values[0]:g}; the correct one must"
            " earn more. Change the weights or parameters."
        )
    return reward


def reward_to_json(setting: Setting) -> str:
    """Return a setting as JSON for another process, which may start in another folder: paths of files are absolute."""
    terms = _terms(setting)
    return json.dumps({str(Path(name).resolve()) if _is_file(name) else name: terms[name] for name in terms})


@cache
def reward_from_json(text: str, kind: Kind = "letter", *, drawn: bool = False) -> Reward:
    """Return the reward of a setting that `reward_to_json` wrote; `kind` and `drawn` as for `load_reward`."""
    return load_reward(json.loads(text), kind=kind, drawn=drawn)


def reward_source(setting: Setting) -> str:
    """Return the source code of a setting's terms, without weights and parameters."""
    return "\n".join(read_text(name) if _is_file(name) else inspect.getsource(_TERMS[name]) for name in _terms(setting))


def _terms(setting: Setting) -> Mapping[str, float | Mapping[str, float]]:
    return {setting: 1.0} if isinstance(setting, str) else setting


def _weighted(
    name: str, facts: float | Mapping[str, float], key: str, kind: Kind
) -> tuple[float, Callable[..., float]]:
    parameters = dict(facts) if isinstance(facts, Mapping) else {"weight": facts}
    weight = parameters.pop("weight", 1.0)
    function = _function(name, key, kind)
    known = [*inspect.signature(function).parameters][2 if name in DRAWN_REWARDS else 1 :]
    for parameter in parameters:
        if parameter not in known:
            raise UserError(f"{key}: {name} has no parameter {parameter!r}; it has: {', '.join(['weight', *known])}.")
    if not weight > 0 or not all(map(math.isfinite, [weight, *parameters.values()])):
        raise UserError(f"{key}: {name} is {facts!r}; its weight must be positive and its parameters finite.")
    return weight, partial(function, **parameters)


# Kind -> a key, its correct answer and a wrong one.
_SAMPLES: dict[Kind, tuple[Key, str, str]] = {
    "letter": (LetterKey(("x", "y"), 0), "A", "B"),
    "number": (NumberKey(1), "1", "2"),
    "text": (TextKey(("iron",)), "iron", "zinc"),
}


def _tried(kind: Kind) -> list[Grade]:
    """Return grades on which every reward is tested before a run.

    They are those of a correct, a wrong and an unreadable answer, of an empty response, and of text without tags or
    before `<think>`.
    """
    key, right, wrong = _SAMPLES[kind]
    block = "<think>a</think><answer>{}</answer>".format
    responses = [block(right), block(wrong), block("?"), "", "text", f"text {block(right)}"]
    return [grade_answer(response, key) for response in responses]


def _check_kind(terms: Mapping[str, object], key: str, kind: Kind) -> None:
    """Raise a UserError if a term does not exist for questions of this kind."""
    for name in terms:
        needed = NEEDED_KIND.get(name, kind)
        if needed != kind:
            raise UserError(
                f"{key}: {name} exists only for questions whose answer is a {needed}, and the answers of these"
                f" questions are of the kind {kind}. Remove this term; docs/grading_kinds.md lists the terms of each"
                " kind."
            )


def _is_file(name: str) -> bool:
    return name.endswith(".py")


def _function(name: str, key: str, kind: Kind) -> Callable[..., float]:
    if name in _TERMS:
        return _TERMS[name]
    if not _is_file(name):
        known = sorted(term for term in _TERMS if NEEDED_KIND.get(term, kind) == kind)
        raise UserError(
            f"{key}: there is no reward called {name!r}; choose one of {', '.join(known)},"
            " or give the path of a Python file with a function reward(grade)."
        )
    file = Path(name)
    if not file.is_file():
        raise UserError(
            f"{key}: the file {file} does not exist. A path in a configuration is relative to the repository's root,"
            " and the path of --reward to the working directory."
        )
    scope: dict[str, Any] = {"__name__": file.stem, "__file__": str(file)}
    try:
        exec(compile(read_text(file), str(file), "exec"), scope)
    except Exception as error:
        raise UserError(
            f"{key}: {file} cannot be loaded: {type(error).__name__}: {error}. Correct this Python file."
        ) from None
    if not callable(scope.get("reward")):
        raise UserError(f"{key}: {file} has no function reward(grade). Define one (docs/rewards.md).")
    reward: Callable[..., float] = scope["reward"]
    return reward
