"""Error messages for the configuration: file, line, key, allowed values and the nearest known key."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.base import Settings
from medrlvr.config.data import Benchmark
from medrlvr.config.evaluation import ExternalModel, Mode
from medrlvr.config.experiment import Experiment
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

RENAMED_KEYS = {
    "estimator": "advantage_estimator",
    "clip": "clip_range",
    "value_clip": "value_clip_range",
    "like": "extends",
    "answer": "answer_format",
    "checkpoints": "external_models",
    "characters": "char_overlap",
    "words": "word_overlap",
}
RENAMED_VALUES = {"constrained": "loglikelihood", "characters": "char_overlap", "words": "word_overlap"}
"""Names before version 0.2.0 -> current names (docs/glossary.md)."""


def explain(problem: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return the key of a problem that pydantic reports, and what is wrong with its value."""
    location = problem["loc"]
    # After an arm's name, pydantic's location contains the arm's trainer, which is not a key of the file.
    key = tuple(str(part) for i, part in enumerate(location) if not (location[0] == "arms" and i == 2))
    match problem["type"]:
        case "extra_forbidden":
            if location[0] == "arms" and key[-1] in {**SftArm.model_fields, **RlvrArm.model_fields}:
                why = (
                    f"does not allow {key[-1]}, a key of another trainer; remove {key[-1]}, or, if you want to change"
                    " the trainer, give the arm a new name"
                )
                return (*key[:2], "trainer"), f"{why} (value: {location[2]!r})"
            known = list(_settings_at(location).model_fields)
            if RENAMED_KEYS.get(key[-1]) in known:
                return key, f"was renamed to {RENAMED_KEYS[key[-1]]} in 0.2.0"
            nearest = difflib.get_close_matches(key[-1], known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known keys: {', '.join(sorted(known))}"
            return key, f"unknown key; {hint}"
        case "boolean":
            name = problem["ctx"]["key"]
            return (*key, name), problem["msg"] + shown(problem["input"][name])
        case "missing":
            explanation = _settings_at(location).model_fields[key[-1]].description or ""
            return key, f"is missing. {' '.join(explanation.split())}"
        case "tuple_type":
            return key, f"must be a list, such as [{problem['input']}] (value: {problem['input']!r})"
        case "union_tag_not_found" if "like" in problem["input"]:
            return (*key, "like"), "was renamed to extends in 0.2.0"
        case "literal_error" if isinstance(problem["input"], str) and problem["input"] in RENAMED_VALUES:
            return key, f"{problem['input']} was renamed to {RENAMED_VALUES[problem['input']]} in 0.2.0"
        case "union_tag_not_found" if "extends" in problem["input"]:
            return (*key, "extends"), "must name an existing arm that does not use extends itself" + shown(
                problem["input"]["extends"]
            )
        case "union_tag_not_found":
            return key, "must contain trainer: sft, trainer: rlvr, or extends: with the name of another arm"
    if location[0] == "arms" and key[2:3] == ("reward",):
        # pydantic reports one problem for each form that the value could have.
        why = "must be a reward, or several rewards with weights, such as paper or {paper: 1, leak_penalty: 0.5}"
        return key[:3], why + shown(problem["input"])
    return key, problem["msg"].removeprefix("Value error, ") + shown(problem["input"])


def shown(value: object) -> str:
    """Return a value in parentheses for the end of a message; "" for None and mappings."""
    return "" if value is None or isinstance(value, Mapping) else f" (value: {value!r})"


def _settings_at(location: tuple[Any, ...]) -> type[Settings]:
    """Return the settings class that contains the last key of pydantic's `location`."""
    match location:
        case ("arms", _, trainer, _):
            return SftArm if trainer == "sft" else RlvrArm
        case (group, _, _) if group in _ENTRIES:
            return _ENTRIES[group]
        case (group, _):
            return type(getattr(_DEFAULTS, group))
    return Experiment


_DEFAULTS = Experiment()
_ENTRIES: dict[str, type[Settings]] = {"benchmarks": Benchmark, "modes": Mode, "external_models": ExternalModel}


def value_at(values: Any, key: Sequence[str]) -> Any:
    """Return the value at nested keys; None if a key does not exist."""
    for part in key:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def source_of(
    key: tuple[str, ...], positions: Sequence[tuple[str | Path, Mapping[tuple[str, ...], int]]], command_line: Any
) -> str:
    """Return the file and line of a value for a message; if the value is absent, those of the group for it."""
    for length in range(len(key), 0, -1):
        if value_at(command_line, key[:length]) is not None:
            return "command line: "
        for file, lines in reversed(positions):
            if key[:length] in lines:
                return f"{file}, line {lines[key[:length]]}: "
    return ""


def key_lines(file: Path) -> dict[tuple[str, ...], int]:
    """Return the path of every key in a YAML file -> its line, from 1.

    Raises:
        UserError: a key is defined twice; YAML would silently use the second value.
    """
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, path: tuple[str, ...]) -> None:
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            key, line = (*path, str(name.value)), name.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{file}, line {line}: {'.'.join(key)} is already defined in line {lines[key]}, and YAML would"
                    " use only one of the two. Remove or rename one of them."
                )
            lines[key] = line
            walk(value, key)

    walk(yaml.compose(read_text(file), Loader=yaml.SafeLoader), ())
    return lines
