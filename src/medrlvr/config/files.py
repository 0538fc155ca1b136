"""Write config/config.yaml and config/schema.json from the settings (`medrlvr config write`)."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from medrlvr.config.experiment import GROUPS, Experiment
from medrlvr.config.load import YAML
from medrlvr.runtime.files import write_text

SCHEMA = Path("config/schema.json")
_WIDTH = 118
_HEADER = """\
# yaml-language-server: $schema=schema.json
# All settings of the paper's experiment. `medrlvr config write` generates this file from src/medrlvr/config/.
# Do not edit it. Write an overlay such as miniature.yaml (docs/configuration.md), then: medrlvr run config/yours.yaml
# "Paper" marks a value stated in arXiv 2502.19655, "Ours" our choice where the paper states none.
"""


def render_yaml() -> str:
    """Return the paper's experiment as YAML, with a comment on every key."""
    return _HEADER + "\n".join(_settings(Experiment(), "", set())) + "\n"


def _settings(settings: BaseModel, pad: str, explained: set[type[BaseModel]]) -> Iterator[str]:
    kind = type(settings)
    for name, field in kind.model_fields.items():
        value = getattr(settings, name)
        explanation = field.description or (value.__doc__ if isinstance(value, BaseModel) else None)
        if not pad:
            yield ""
        if explanation and kind not in explained:
            yield from textwrap.wrap(explanation, _WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _settings(value, pad + "  ", explained)
        elif isinstance(value, dict) and value:
            yield f"{pad}{name}:"
            for entry, content in value.items():
                yield f"{pad}  {entry}:"
                yield from _settings(content, pad + "    ", explained)
        else:
            yield f"{pad}{name}: {_scalar(value)}"
    explained.add(kind)


def _scalar(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def schema() -> dict[str, Any]:
    """Return the JSON schema of an overlay: every key is optional, and null removes an entry."""
    whole = Experiment.model_json_schema()
    for definition in [whole, *whole["$defs"].values()]:
        definition.pop("required", None)
    for arm in ("SftArm", "RlvrArm"):
        extends = {
            "description": "Name of another arm, whose settings this arm has, except those that it sets itself.",
            "type": "string",
        }
        whole["$defs"][arm]["properties"]["extends"] = extends
    for group in GROUPS:
        entry = whole["properties"][group]["additionalProperties"]
        # An overlay may change one number of an arm without its trainer, so the discriminator cannot be required.
        kinds = entry.get("oneOf", [entry])
        whole["properties"][group]["additionalProperties"] = {"anyOf": [*kinds, {"type": "null"}]}
    return whole


def write_files() -> tuple[Path, Path]:
    """Write config/config.yaml and config/schema.json, and return their paths."""
    write_text(YAML, render_yaml())
    write_text(SCHEMA, json.dumps(schema(), indent=2) + "\n")
    return YAML, SCHEMA
