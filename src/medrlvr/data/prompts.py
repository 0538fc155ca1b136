"""From a question to the text that a model reads (paper, section 3.2 and Table 1).

A prompt is made of two files in `prompts/`: `question.txt` lays out the stem and the options, and a mode's template
puts that text where it says `{input}`. The templates are plain text; nothing in a question is interpreted.
"""

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.runtime.errors import UserError


def load_template(path: str | Path, fields: Sequence[str]) -> str:
    """Read a template, without its last line break, and check that it holds each of `fields` exactly once, in braces.

    Raises:
        UserError: the file is missing, or a field is absent, repeated or unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"prompt template {path} does not exist. `prompts:` in the configuration names the files.")
    template = path.read_text(encoding="utf-8").removesuffix("\n")
    try:
        found = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UserError(f"{path}: {error}. Braces may only stand around a field name.") from None
    if sorted(found) != sorted(fields):
        expected = ", ".join(f"{{{name}}}" for name in fields)
        raise UserError(f"{path}: needs {expected}, each exactly once; found {found or 'none'}.")
    return template


def render_prompt(template: str, question_template: str, stem: str, options: Sequence[str]) -> str:
    """Return the whole prompt of one question; a response follows it directly, with a space of its own.

    Args:
        template: text with `{input}`, as `load_template` returns it.
        question_template: text with `{stem}` and `{options}`.
        options: 2 to 11 option texts, in order; they become lines such as "A. Ampicillin".

    Raises:
        ValueError: more options than there are letters.
    """
    if len(options) > len(LETTERS):
        raise ValueError(f"{len(options)} options, but only {len(LETTERS)} letters")
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    return template.format(input=question_template.format(stem=stem, options=lines))


class Renderer:
    """The templates of an experiment, loaded once; renders rows of a question table (paper, section 3.2)."""

    def __init__(self, question: str | Path, **templates: str | Path) -> None:
        """Load the file that lays out a question and those of the modes, by name; raises as `load_template` does.

        `direct` and `chain_of_thought` are what models are trained with.
        """
        self._question = load_template(question, ["stem", "options"])
        self._modes = {name: load_template(file, ["input"]) for name, file in templates.items()}
        self._versions = {name: f"{_version(file)}, {_version(question)}" for name, file in templates.items()}

    @property
    def modes(self) -> dict[str, str]:
        """Mode -> its template's version: files and hashes."""
        return self._versions

    def fixed_lines(self) -> list[str]:
        """Return the templates' lines that no question changes."""
        templates = [self._question, *self._modes.values()]
        return [line for template in templates for line in template.splitlines() if "{" not in line]

    def prompt(self, question: Mapping[Any, Any], mode: str) -> str:
        """Return the prompt of a question (keys stem, options) in a mode."""
        return render_prompt(self._modes[mode], self._question, question["stem"], list(question["options"]))

    def sft_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "output"}: the direct prompt and the gold letter."""
        prompt = self.prompt(question, "direct")
        return {"input": prompt, "output": letter_continuation(prompt, question["gold"])}

    def rlvr_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "label"}; the label is JSON text, all that the reward needs to grade a response."""
        facts = {
            "question_id": question["question_id"],
            "options": list(question["options"]),
            "gold": int(question["gold"]),
        }
        return {
            "input": self.prompt(question, "chain_of_thought"),
            "label": json.dumps(facts, sort_keys=True, ensure_ascii=False),
        }


def _version(file: str | Path) -> str:
    return f"{file} {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}"
