"""Turn a question into a prompt (paper, section 3.2 and Table 1).

A prompt is built from two files in `prompts/`: `question.txt` lays out the stem and the options, and the template of a
mode contains `{input}` where that text goes. The templates are plain text; braces in a question are not interpreted.
"""

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.text import read_text


def load_template(path: str | Path, fields: Sequence[str]) -> str:
    """Read a template without its last line break, and check that it contains each of `fields` exactly once in braces.

    Raises:
        UserError: the file is missing, or a field is absent, repeated or unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"prompt template {path} does not exist. Check `prompts:` and `modes:` in the configuration.")
    template = read_text(path).removesuffix("\n")
    try:
        parts = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UserError(f"{path}: the template cannot be used: {error}. Use braces only around a field name.") from None
    found = [name for name, _, _ in parts]
    formatted = [name for name, spec, conversion in parts if spec or conversion]
    if formatted:
        raise UserError(f"{path}: write {{{formatted[0]}}} without a conversion or format after the name.")
    if sorted(found) != sorted(fields):
        expected = ", ".join(f"{{{name}}}" for name in fields)
        raise UserError(
            f"{path}: the template must contain these fields, each exactly once: {expected}."
            f" It contains: {', '.join(f'{{{name}}}' for name in found) or 'no field'}."
        )
    return template


def render_prompt(template: str, question_template: str, stem: str, options: Sequence[str]) -> str:
    """Return the whole prompt of one question. The response follows directly and starts with its own space.

    Args:
        template: text with `{input}`, from `load_template`.
        question_template: text with `{stem}` and `{options}`.
        options: 2 to 11 option texts in order; they become lines such as "A. Ampicillin".

    Raises:
        ValueError: there are more options than letters.
    """
    if len(options) > len(LETTERS):
        raise ValueError(f"{len(options)} options, but only {len(LETTERS)} letters")
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    return template.format(input=question_template.format(stem=stem, options=lines))


class Renderer:
    """Renders rows of a question table with an experiment's templates, loaded once (paper, section 3.2)."""

    def __init__(self, question: str | Path, **templates: str | Path) -> None:
        """Load the question template and the mode templates, by name; raises the errors of `load_template`.

        Training uses `direct` and `chain_of_thought`.
        """
        self._question = load_template(question, ["stem", "options"])
        self._modes = {name: load_template(file, ["input"]) for name, file in templates.items()}
        self._versions = {name: f"{_version(file)}, {_version(question)}" for name, file in templates.items()}

    @property
    def modes(self) -> dict[str, str]:
        """Mode -> version of its templates: paths and hashes."""
        return self._versions

    def fixed_lines(self) -> list[str]:
        """Return the lines of the templates that are the same for every question."""
        templates = [self._question, *self._modes.values()]
        return [line for template in templates for line in template.splitlines() if "{" not in line]

    def prompt(self, question: Mapping[Any, Any], mode: str) -> str:
        """Return the prompt of a question (keys stem and options) in a mode."""
        return render_prompt(self._modes[mode], self._question, question["stem"], list(question["options"]))

    def sft_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "output"}: the direct prompt and the gold letter."""
        prompt = self.prompt(question, "direct")
        return {"input": prompt, "output": letter_continuation(prompt, int(question["gold"]))}

    def rlvr_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "label"}: the chain-of-thought prompt, and JSON with all that the reward needs."""
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
