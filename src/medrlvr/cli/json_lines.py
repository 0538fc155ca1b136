"""Responses as JSON lines, graded one by one. It imports the standard library and `medrlvr.grading` only."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from medrlvr.grading.grader import AnswerFormat, Grade, grade
from medrlvr.grading.letters import LETTERS, gold_values, option_index
from medrlvr.grading.reward_config import load_reward
from medrlvr.grading.rewards import Reward
from medrlvr.runtime.errors import UserError

_FIELDS = tuple(Grade.__dataclass_fields__)
_values = attrgetter(*_FIELDS)


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of the keys of a line.

    Attributes:
        response: the generated text.
        options: list of the option texts, or their number.
        gold: the correct option, by letter or by index from 0.
        truncated: whether the response ended at the token limit; a line may lack this key.
    """

    response: str = "response"
    options: str = "options"
    gold: str = "gold"
    truncated: str = "truncated"


def grade_lines(
    lines: Iterable[bytes],
    name: str,
    answer_format: AnswerFormat,
    reward: Reward | None,
    keys: Keys = Keys(),
    first: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield for each line its other keys, the fields of its `Grade`, and `reward` if one is given.

    Args:
        lines: JSON objects; blank lines are skipped.
        name: name of the file, for messages.
        answer_format: where the grader looks for the answer, as in `grade`.
        reward: the reward to compute; None for none.
        keys: the keys of each object.
        first: number of the first line, for messages.

    Raises:
        UserError: a line is malformed, or the reward fails on it. The message names the file and the line.
    """
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        row = _object(line, place, keys)
        response, options, gold, truncated = _read(row, keys, place)
        found = grade(response, options, gold, answer_format, truncated=truncated)
        row.update(zip(_FIELDS, _values(found), strict=True))
        if reward:
            row["reward"] = _rewarded(reward, found, place)
        yield row


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


def _object(line: bytes, place: str, keys: Keys) -> dict[str, Any]:
    needed = f"Each line must be a JSON object with {keys.response}, {keys.options} and {keys.gold}."
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}: this is not JSON: byte {error.start + 1} is not UTF-8. Convert the file to UTF-8. {needed}"
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: this is not JSON: {error.msg} at column {error.colno}. {needed}") from None
    except ValueError:
        digits = sys.get_int_max_str_digits()
        raise UserError(f"{place}: a whole number has more than {digits:,} digits. Write it as a string.") from None
    except RecursionError:
        raise UserError(f"{place}: lists and objects are nested too deeply to read. {needed}") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: this is not a JSON object. {needed}")
    return row


def _read(row: dict[str, Any], keys: Keys, place: str) -> tuple[str, list[str], int, bool]:
    """Return response, options, index of the gold option and whether it was truncated; remove their keys."""
    present = _cut(", ".join(row))
    for option, key in (("--response", keys.response), ("--options", keys.options), ("--gold", keys.gold)):
        if key not in row:
            raise UserError(
                f"{place}: the key {key} is missing; the keys of this line are: {present or 'none'}. A line needs"
                f" {keys.response}, {keys.options} and {keys.gold}. If your key has another name, give it with"
                f" {option}."
            )
    response, truncated = row.pop(keys.response), row.pop(keys.truncated, False)
    if not isinstance(response, str):
        raise UserError(f"{place}: {keys.response} must be a string, not {_shown(response)}.")
    if not isinstance(truncated, bool):
        raise UserError(f"{place}: {keys.truncated} must be true or false, not {_shown(truncated)}.")
    options = _options(row.pop(keys.options), keys.options, place)
    return response, options, _index(row.pop(keys.gold), len(options), keys.gold, place), truncated


def _options(value: Any, key: str, place: str) -> list[str]:
    # Without texts, a response can name an option only by its letter.
    options = [""] * min(value, len(LETTERS) + 1) if type(value) is int else value
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise UserError(f"{place}: {key} must be a list of strings, or the number of options, not {_shown(value)}.")
    if not 2 <= len(options) <= len(LETTERS):
        number = value if type(value) is int else len(options)
        raise UserError(f"{place}: there must be 2 to {len(LETTERS)} options, not {number}.")
    return options


def _index(gold: Any, options: int, key: str, place: str) -> int:
    try:
        return option_index(gold, options)
    except ValueError:
        raise UserError(f"{place}: {key} must be {gold_values(options)}, not {_shown(gold)}.") from None


def _shown(value: Any) -> str:
    """Return a value as JSON, cut to a length that a message can contain."""
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _rewarded(reward: Reward, found: Grade, place: str) -> float:
    try:
        return float(reward(found))
    except Exception as error:
        raise UserError(
            f"{place}: the reward fails on this response: {type(error).__name__}: {error}. Correct the reward."
        ) from None
