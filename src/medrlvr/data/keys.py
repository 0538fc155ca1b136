"""The key of a question in a table and in a label: options and gold of a letter, or JSON of a number or text."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from medrlvr.grading.kinds import Key, Kind, LetterKey, NumberKey, TextKey


def kind_of(question: Mapping[Any, Any]) -> Kind:
    """Return the kind of a question's answer; a table without the column kind has only letters."""
    kind = question.get("kind")
    return "number" if kind == "number" else "text" if kind == "text" else "letter"


def key_of(question: Mapping[Any, Any]) -> Key:
    """Return the key of a question: a row of a question table, or a label of a training row.

    Args:
        question: options and gold, or kind and key (from `key_to_json`).
    """
    kind = kind_of(question)
    if kind == "letter":
        return LetterKey(tuple(question["options"]), int(question["gold"]))
    found: dict[str, Any] = json.loads(question["key"])
    if "accepted" in found:
        found["accepted"] = tuple(found["accepted"])
    return NumberKey(**found) if kind == "number" else TextKey(**found)


def key_to_json(key: NumberKey | TextKey) -> str:
    """Return a key as a JSON object with sorted names; fields with their default value are left out."""
    named = {field.name: (getattr(key, field.name), field.default) for field in fields(key) if field.init}
    kept = {name: value for name, (value, default) in named.items() if value != default}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)


def correct_answer(key: NumberKey | TextKey) -> str:
    """Return the correct answer as a model should write it: a number in the key's unit, or the first accepted text."""
    return repr(float(key.value)).removesuffix(".0") if isinstance(key, NumberKey) else key.accepted[0]
