"""Read a configuration: merge overlays over config/config.yaml, resolve `extends` and validate the result."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medrlvr.config.consistency import inconsistencies
from medrlvr.config.experiment import Experiment
from medrlvr.config.messages import explain, key_lines, shown, source_of, value_at
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

YAML = Path("config/config.yaml")
"""The file with the paper's experiment. Overlays are merged over it."""


def load_config(
    values: Mapping[str, Any], files: Sequence[str | Path] = (), command_line: Mapping[str, Any] | None = None
) -> Experiment:
    """Validate merged configuration values and return them as typed settings.

    Args:
        values: nested mapping, as read from YAML.
        files: the YAML files of the values, in the order in which they were merged, for messages.
        command_line: values from the command line, which override the files, for messages.

    Raises:
        UserError: one line per problem: file, line, key, value, what is allowed, and the nearest known key.
    """
    positions = [(file, key_lines(Path(file))) for file in files]
    try:
        experiment = Experiment.model_validate({**values, **_extended(values)})
        problems = [(key, why + shown(value_at(values, key))) for key, why in inconsistencies(experiment)]
    except ValidationError as error:
        # pydantic also reports a list with an invalid entry as too short; and one problem per key is enough.
        problems = [explain(problem) for problem in error.errors()]
        wrong = {key[:-1] for key, _ in problems if key[-1].isdigit()}
        problems = list({key: (key, why) for key, why in reversed(problems) if key not in wrong}.values())[::-1]
    if problems:
        lines = [f"  {source_of(key, positions, command_line or {})}{'.'.join(key)}: {why}" for key, why in problems]
        raise UserError("the configuration cannot be used:\n" + "\n".join(lines)) from None
    return experiment


def read_overlays(overlays: Sequence[str | Path]) -> Experiment:
    """Read `YAML` with overlays merged over it key by key, as Snakemake does for the files after --configfile.

    Raises:
        UserError: as `load_config`, or a file is missing or does not contain YAML keys.
    """
    # Overlays are merged with each other first. If one removes an entry and a later one sets some of its keys, the
    # entry has config.yaml's other keys.
    changes: dict[str, Any] = {}
    for file in overlays:
        changes = _merged(changes, read_keys(Path(file)))
    return load_config(_merged(read_keys(YAML), changes), [YAML, *overlays])


def read_keys(file: Path) -> dict[str, Any]:
    """Return the keys of a YAML file.

    Raises:
        UserError: the errors of `parse_yaml`, or the file has no keys.
    """
    values = parse_yaml(file)
    if not isinstance(values, dict):
        raise UserError(f"{file} is not a configuration. It must contain keys, such as `experiment: mine`.")
    return values


def parse_yaml(file: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: the file is missing, is not UTF-8 or not YAML, or contains itself by an alias; the message contains
            the line where it is known.
    """
    try:
        values = yaml.safe_load(read_text(file))
        json.dumps(values, default=str, skipkeys=True)  # raises an error for a value that contains itself
        return values
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read as a configuration: {error.strerror}. Give the path of a YAML file."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{file}{line}: this is not YAML: {error.problem}. Correct the line. Indent with spaces, not tabs."
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: this is not YAML: {error}\nCorrect the file.") from None
    except ValueError as error:  # of a date or number that does not exist, such as 2024-02-30
        raise UserError(
            f"{file}: a value is not valid YAML: {error}. Correct it, or put it in quotes if it is text."
        ) from None
    except RecursionError:
        raise UserError(f"{file}: the values are nested too deeply. Correct the file.") from None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        nested = isinstance(value, Mapping)
        merged[key] = _merged(below if isinstance(below, Mapping) else {}, value) if nested else value
    return merged


def _extended(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"arms": ...} with every `extends` replaced by the settings of the arm that it names; {} without arms."""
    arms = values.get("arms")
    if not isinstance(arms, dict):
        return {}
    models = {name: arm for name, arm in arms.items() if isinstance(arm, dict) and "extends" not in arm}
    found = {}
    for name, arm in arms.items():
        named = arm.get("extends") if isinstance(arm, dict) else None
        model = models.get(named) if isinstance(named, str) else None
        found[name] = {**model, **{key: value for key, value in arm.items() if key != "extends"}} if model else arm
    return {"arms": found}
