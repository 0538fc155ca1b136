"""Prompts of questions of every kind: the templates of the modes are the same, and each kind has its own layout.

A letter's prompt is that of `prompts.Renderer`. The layout of a number contains `{stem}` and `{unit}`, which is empty
or " in mg", or only `{stem}`; the layout of a text contains `{stem}`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from medrlvr.config.evaluation import Prompts
from medrlvr.data.keys import correct_answer, key_of, key_to_json, kind_of
from medrlvr.data.prompts import Renderer, load_template
from medrlvr.grading.kinds import Kind, LetterKey, NumberKey
from medrlvr.runtime.text import read_text


def layouts(prompts: Prompts) -> dict[Kind, str]:
    """Return the file that lays out the questions of each kind."""
    return {"letter": prompts.question, "number": prompts.question_number, "text": prompts.question_text}


def layouts_among(files: Mapping[str, Any]) -> dict[Kind, str]:
    """Return the layouts among the named input files of a rule, which names each by its kind."""
    return {kind: files[kind] for kind in get_args(Kind) if files.get(kind)}


class KindRenderer:
    """Renders rows of a question table, whatever the kinds of their answers."""

    def __init__(self, layouts: Mapping[Kind, str | Path], **templates: str | Path) -> None:
        """Load the layouts of "letter" and of all other kinds that occur, and the templates of the modes, by name.

        Training uses `direct` and `chain_of_thought`. Raises the errors of `load_template`.
        """
        self._letters = Renderer(layouts["letter"], **templates)
        self._modes = {name: load_template(file, ["input"]) for name, file in templates.items()}
        others: dict[Kind, str | Path] = {kind: file for kind, file in layouts.items() if kind != "letter"}
        self._layouts = {kind: _layout(kind, file) for kind, file in others.items()}
        self._versions = {kind: f"{file} {_digest(file)}" for kind, file in others.items()}

    @property
    def modes(self) -> list[str]:
        """Names of the modes."""
        return list(self._modes)

    def version(self, question: Mapping[Any, Any], mode: str) -> str:
        """Return the version of a question's templates in a mode: paths and hashes."""
        whole, kind = self._letters.modes[mode], kind_of(question)
        return whole if kind == "letter" else f"{whole.rpartition(', ')[0]}, {self._versions[kind]}"

    def prompt(self, question: Mapping[Any, Any], mode: str) -> str:
        """Return the prompt of a question (keys stem, and options or key) in a mode."""
        key = key_of(question)
        if isinstance(key, LetterKey):
            return self._letters.prompt(question, mode)
        unit = {"unit": f" in {key.unit}" if key.unit else ""} if isinstance(key, NumberKey) else {}
        return self._modes[mode].format(input=self._layouts[kind_of(question)].format(stem=question["stem"], **unit))

    def sft_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "output"}: the direct prompt and the answer alone."""
        key = key_of(question)
        if isinstance(key, LetterKey):
            return self._letters.sft_row(question)
        prompt = self.prompt(question, "direct")
        return {"input": prompt, "output": f"{'' if prompt[-1:].isspace() else ' '}{correct_answer(key)}"}

    def rlvr_row(self, question: Mapping[Any, Any]) -> dict[str, str]:
        """Return {"input", "label"}: the chain-of-thought prompt, and JSON with all that the reward needs."""
        key = key_of(question)
        if isinstance(key, LetterKey):
            return self._letters.rlvr_row(question)
        facts = {"question_id": question["question_id"], "kind": kind_of(question), "key": key_to_json(key)}
        return {
            "input": self.prompt(question, "chain_of_thought"),
            "label": json.dumps(facts, sort_keys=True, ensure_ascii=False),
        }


def _layout(kind: Kind, file: str | Path) -> str:
    """Load the layout of a number or text. A layout of numbers need not name the unit."""
    has_unit = kind == "number" and Path(file).is_file() and "{unit}" in read_text(file)
    return load_template(file, ["stem", "unit"] if has_unit else ["stem"])


def _digest(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
