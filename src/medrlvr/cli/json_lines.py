"""Responses as JSON lines, graded one by one. It imports the standard library and `medrlvr.grading` only."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from medrlvr.grading.grader import AnswerFormat, grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import load_reward
from medrlvr.grading.rewards import Reward
from medrlvr.runtime.errors import UserError


def grade_lines(
    lines: Iterable[bytes], name: str, answer_format: AnswerFormat, reward: Reward | None
) -> Iterator[dict[str, Any]]:
    """Yield for each line its other keys, the fields of its `Grade`, and `reward` if one is given.

    Args:
        lines: JSON objects with response, options and gold, and possibly truncated; blank lines are skipped.
        name: name of the file, for messages.
        answer_format: where the grader looks for the answer, as in `grade`.
        reward: the reward to compute; None for none.

    Raises:
        UserError: a line is malformed, or the reward fails on it. The message names the file and the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        row = _object(line, place)
        response, options, gold = (_required(row, key, place) for key in ("response", "options", "gold"))
        truncated = row.get("truncated", False)
        if not isinstance(response, str):
            raise UserError(f"{place}: response must be a string, not {json.dumps(response)}.")
        if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
            raise UserError(f"{place}: options must be a list of strings, not {json.dumps(options)}.")
        if not 2 <= len(options) <= len(LETTERS):
            raise UserError(f"{place}: there must be 2 to {len(LETTERS)} options, not {len(options)}.")
        if not isinstance(truncated, bool):
            raise UserError(f"{place}: truncated must be true or false, not {json.dumps(truncated)}.")
        found = grade(response, options, _index(gold, len(options), place), answer_format, truncated=truncated)
        yield row | asdict(found) | ({"reward": _rewarded(reward, found, place)} if reward else {})


def read_reward(text: str) -> Reward:
    """Return the reward of a command line: the name of a term or a .py file, or JSON that maps terms to weights.

    Raises:
        UserError: the reward does not exist, or the text is not a JSON object of numbers.
    """
    if not text.lstrip().startswith("{"):
        return load_reward(text, "--reward")
    try:
        setting = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f'--reward: {text!r} is not JSON: {error}. Write, for example, {{"paper": 1, "leak_penalty": 0.5}}.'
        ) from None
    for name, weight in setting.items():
        numbers = weight.values() if isinstance(weight, dict) else [weight]
        if not all(isinstance(number, int | float) for number in numbers):
            raise UserError(
                f"--reward: {name} needs a weight, or an object of numbers, not {json.dumps(weight)}. Write, for"
                f' example, {{"{name}": 1}} or {{"{name}": {{"weight": 1}}}}.'
            )
    return load_reward(setting, "--reward")


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{place}: this is not JSON: {error}. Each line must be a JSON object with response, options and gold."
        ) from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: a line must be a JSON object with response, options and gold.")
    return row


def _required(row: dict[str, Any], key: str, place: str) -> Any:
    try:
        return row.pop(key)
    except KeyError:
        raise UserError(f"{place}: the key {key} is missing. A line needs response, options and gold.") from None


def _index(gold: Any, options: int, place: str) -> int:
    allowed = LETTERS[:options]
    if isinstance(gold, str) and len(gold) == 1 and gold in allowed:
        return allowed.index(gold)
    if isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < options:
        return gold
    raise UserError(
        f"{place}: gold must be a letter from A to {allowed[-1]} or an index from 0 to {options - 1},"
        f" not {json.dumps(gold)}."
    )


def _rewarded(reward: Reward, found: Any, place: str) -> float:
    try:
        return reward(found)
    except Exception as error:
        raise UserError(
            f"{place}: the reward fails on this response: {type(error).__name__}: {error}. Correct the reward."
        ) from None
