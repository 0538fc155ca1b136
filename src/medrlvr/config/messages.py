"""Error messages of the configuration: file, line, key, what is allowed, and the nearest known key."""

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
"""Names before 0.2.0 -> names now (docs/glossary.md)."""


def explain(problem: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    location = problem["loc"]
    # Behind an arm's own name pydantic puts the trainer that chose its model; that is no key of the file.
    key = tuple(str(part) for i, part in enumerate(location) if not (location[0] == "arms" and i == 2))
    match problem["type"]:
        case "extra_forbidden":
            if location[0] == "arms" and key[-1] in {**SftArm.model_fields, **RlvrArm.model_fields}:
                why = f"{key[-1]} and other keys of the arm are another trainer's: an arm of its own has another name"
                return (*key[:2], "trainer"), f"{why} (value: {location[2]!r})"
            known = list(_settings_at(location).model_fields)
            if RENAMED_KEYS.get(key[-1]) in known:
                return key, f"was renamed to {RENAMED_KEYS[key[-1]]} in 0.2.0"
            nearest = difflib.get_close_matches(key[-1], known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(sorted(known))}"
            return key, f"unknown key; {hint}"
        case "missing":
            explanation = _settings_at(location).model_fields[key[-1]].description or ""
            return key, f"is missing. {' '.join(explanation.split())}"
        case "tuple_type":
            return key, f"should be a list, such as [{problem['input']}] (value: {problem['input']!r})"
        case "union_tag_not_found" if "like" in problem["input"]:
            return (*key, "like"), "was renamed to extends in 0.2.0"
        case "literal_error" if problem["input"] in RENAMED_VALUES:
            return key, f"{problem['input']} was renamed to {RENAMED_VALUES[problem['input']]} in 0.2.0"
        case "union_tag_not_found" if "extends" in problem["input"]:
            return (*key, "extends"), "names an arm that has settings of its own" + shown(problem["input"]["extends"])
        case "union_tag_not_found":
            return key, "needs trainer: sft or trainer: rlvr, or extends: and the name of another arm"
    if location[0] == "arms" and key[2:3] == ("reward",):
        # pydantic tells of every form that it might have been.
        why = "names a reward, or several with their weights, such as paper or {paper: 1, leak_penalty: 0.5}"
        return key[:3], why + shown(problem["input"])
    return key, problem["msg"] + shown(problem["input"])


def shown(value: object) -> str:
    return "" if value is None or isinstance(value, Mapping) else f" (value: {value!r})"


def _settings_at(location: tuple[Any, ...]) -> type[Settings]:
    """Return the settings in which the last key of pydantic's `location` stands."""
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
    """Return the value under nested keys, None where they end before."""
    for part in key:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def source_of(
    key: tuple[str, ...], positions: Sequence[tuple[str | Path, Mapping[tuple[str, ...], int]]], command_line: Any
) -> str:
    """Say which file and line a value came from, or for a value that is nowhere, the group that it belongs in."""
    for length in range(len(key), 0, -1):
        if value_at(command_line, key[:length]) is not None:
            return "command line: "
        for file, lines in reversed(positions):
            if key[:length] in lines:
                return f"{file}, line {lines[key[:length]]}: "
    return ""


def key_lines(file: Path) -> dict[tuple[str, ...], int]:
    """Return the line of every key of a YAML file, by the keys that lead to it.

    Raises:
        UserError: a key stands there twice; YAML would silently take the second.
    """
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, path: tuple[str, ...]) -> None:
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            key, line = (*path, str(name.value)), name.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{file}, line {line}: {'.'.join(key)} stands here a second time, after line {lines[key]};"
                    " only one of them would count. Remove or rename one."
                )
            lines[key] = line
            walk(value, key)

    walk(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), ())
    return lines
