"""Questions as rows with a stem, options and gold, and their prompts. The tasks for evaluation use this module."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS, option_index
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text

TEMPLATES = Path(__file__).parent / "templates"
"""The repository's folder `prompts`: a link in a clone, a copy in an installed package."""


def prompt(question: Mapping[str, Any]) -> str:
    """Return a question's `prompt` if it has one, else the paper's prompt (section 3.2) of its stem and options."""
    return question["prompt"] if "prompt" in question else _paper().prompt(question, "chain_of_thought")


def gold_letter(question: Mapping[str, Any]) -> str:
    """Return the letter of a question's `gold`, which is an index from 0 or a letter."""
    return LETTERS[option_index(question["gold"], len(question["options"]))]


def read_questions(path: str | Path) -> list[dict[str, Any]]:
    """Read questions from JSON lines: options, gold (index from 0, or letter), and stem or prompt; other keys are kept.

    Raises:
        UserError: the file is missing or empty, or a line is not such a question. The message names the line.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UserError(f"{path} {problem}. Give a file with one question a line, as JSON.")
    questions = [
        _question(line, f"{path}, line {number}")
        for number, line in enumerate(read_text(path).split("\n"), 1)
        if line.strip()
    ]
    if not questions:
        raise UserError(f"{path} has no questions. Give a file with one question a line, as JSON.")
    return questions


def _question(line: str, place: str) -> dict[str, Any]:
    try:
        question = json.loads(line)
        if not isinstance(question, dict):
            raise ValueError("it is not an object")
        options = question["options"]
        texts = isinstance(options, list) and all(isinstance(option, str) for option in options)
        if not texts or not 2 <= len(options) <= len(LETTERS):
            raise ValueError(f"options must be a list of 2 to {len(LETTERS)} texts")
        if not isinstance(question["prompt" if "prompt" in question else "stem"], str):
            raise ValueError("stem and prompt must be texts")
        gold_letter(question)
    except KeyError as error:
        raise UserError(
            f"{place}: the key {error} is missing. A question needs options, gold, and stem or prompt."
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{place}: this is not a question: {error}. Write a JSON object with options, gold, and stem or prompt."
        ) from None
    return dict(question)


@cache
def _paper() -> Renderer:
    return Renderer(TEMPLATES / "question.txt", chain_of_thought=TEMPLATES / "med_rlvr.txt")
