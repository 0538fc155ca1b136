"""Read and check training rows, and repeat rows until every optimiser step is full."""

import json
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

from medrlvr.data.readers import read_rows
from medrlvr.runtime.errors import UserError

Row = dict[str, str]
"""Maps column names to text."""

Item = TypeVar("Item")


def end_of_text(base: Path) -> str:
    """Return the text of the tokenizer's end-of-text token.

    Raises:
        UserError: the tokenizer has none.
    """
    file = base / "tokenizer_config.json"
    token = json.loads(file.read_text(encoding="utf-8")).get("eos_token")
    token = token["content"] if isinstance(token, dict) else token
    if not isinstance(token, str) or not token:
        raise UserError(f"{file} has no eos_token, so a response could never end. Set base.name to another model.")
    return token


def read_training_rows(path: Path, keys: Sequence[str]) -> list[Row]:
    """Read JSON lines: objects with text under each of `keys`.

    Raises:
        UserError: a line is not such an object (the message names the first one), or the file has none.
    """
    rows = []
    for line, row in read_rows(path, keys):
        if not all(isinstance(row[key], str) for key in keys):
            raise UserError(
                f"{path}, line {line}: a training row must be an object with text under {' and '.join(keys)}."
            )
        rows.append(dict(row))
    if not rows:
        raise UserError(f"{path} contains no training rows. Check the settings data.train and contamination.remove.")
    return rows


def fill_steps(rows: Sequence[Item], prompts_per_step: int) -> list[Item]:
    """Return the rows, with the first ones repeated at the end until their number is a multiple of `prompts_per_step`.

    OpenRLHF keeps the gradients of an incomplete optimiser step and adds them to the first step of the next update,
    with that step's normalisation.
    """
    missing = -len(rows) % prompts_per_step
    return list(islice(cycle(rows), len(rows) + missing))
