"""Evaluate one model on one question and show the grade: `medrlvr ask results/miniature/models/rlvr/seed1`.

The question is one of the experiment's, given by its id, or your own: a JSON file with stem and either options (a list)
and answer (the letter), or value and unit, or accepted (a list of texts). Engine, prompt and grader are those of the
evaluation. The engine runs on the kind of machine that the results' config.yaml specifies.
"""

import json
import math
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config, read_keys
from medrlvr.config.results_version import check_version
from medrlvr.data.keys import correct_answer, key_of, key_to_json
from medrlvr.data.kind_prompts import KindRenderer, layouts
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import build_requests, render_requests
from medrlvr.grading.grader import AnswerFormat
from medrlvr.grading.kinds import Key, KindGrade, LetterKey, NumberKey, TextKey, grade_answer
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.text import read_text


class OwnQuestion(BaseModel):
    """A user's question, as it is in the JSON file."""

    model_config = ConfigDict(extra="forbid")

    stem: Annotated[str, Field(min_length=1)]


class OwnLetter(OwnQuestion):
    """A question with options."""

    options: Annotated[list[str], Field(min_length=2, max_length=len(LETTERS))]
    answer: Annotated[str, Field(pattern=f"^[{LETTERS}]$")]


class OwnNumber(OwnQuestion):
    """A question for a number; the fields are those of `NumberKey`."""

    value: float
    unit: str = ""
    absolute: float = 0.0
    relative: float = 0.0


class OwnText(OwnQuestion):
    """A question for a short text; the fields are those of `TextKey`."""

    accepted: tuple[str, ...]
    plural: bool = False


def find_experiment(model: Path) -> tuple[Path, Experiment]:
    """Return the results folder that contains a model, and the configuration of the report in it.

    Raises:
        UserError: the model does not exist, or is not in a results folder with a report.
    """
    if not (model / "config.json").is_file():
        raise UserError(f"{model} is not a model folder. Give a folder in results/<experiment>/models/.")
    for folder in model.resolve().parents:
        if (folder / "config.yaml").is_file() and (folder / "models").is_dir():
            check_version(folder)
            file = folder / "config.yaml"
            return folder, load_config(read_keys(file), [file])
    raise UserError(
        f"{model} is not in a results folder with a config.yaml, which the rule render_report writes at the end of an"
        " experiment. Run the experiment to its end first, or give the folder of another model."
    )


def find_question(name: str | None, results: Path, experiment: Experiment) -> dict[str, Any]:
    """Return question_id, stem and key of a question, by default the first one of the first benchmark.

    Args:
        name: question id, or path of a JSON file; None: the default.

    Raises:
        UserError: the question does not exist, or the file is invalid.
    """
    if name and name.endswith(".json"):
        return _own_question(Path(name))
    for benchmark in (*experiment.benchmarks, "development"):
        questions = read_parquet(results / f"data/benchmarks/{benchmark}.parquet")
        found = questions[questions["question_id"] == name] if name else questions.head(1)
        if len(found):
            return {str(column): value for column, value in found.iloc[0].items()}
    example = questions["question_id"].iloc[0]
    raise UserError(
        f"no question in {results / 'data/benchmarks'} has the id {name!r}. An example of an id is {example!r}."
    )


def _own_question(file: Path) -> dict[str, Any]:
    """Return a user's question as a row of a question table; its kind is that of its fields."""
    try:
        fields = json.loads(read_text(file))
        kind = OwnNumber if "value" in fields else OwnText if "accepted" in fields else OwnLetter
        question = kind.model_validate(fields)
        if not isinstance(question, OwnLetter):
            facts = question.model_dump(exclude={"stem"})
            key = NumberKey(**facts) if isinstance(question, OwnNumber) else TextKey(**facts)
            name = "number" if isinstance(key, NumberKey) else "text"
            return {"question_id": str(file), "stem": question.stem, "kind": name, "key": key_to_json(key)}
    except (OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} must contain stem and either options (a list) and answer (the letter), or value and unit (a number"
            f" and its unit), or accepted (a list of texts): {error}"
        ) from None
    if question.answer not in LETTERS[: len(question.options)]:
        raise UserError(
            f"{file}: answer is {question.answer}, but there are {len(question.options)} options. It must be a letter"
            f" from A to {LETTERS[len(question.options) - 1]}."
        )
    gold = LETTERS.index(question.answer)
    return {"question_id": str(file), "stem": question.stem, "options": question.options, "gold": gold}


def converse(model: Path, name: str | None, mode: str | None) -> str:
    """Generate and grade one answer; return prompt, response and grade as text.

    Args:
        name: as in `find_question`.
        mode: one of the experiment's evaluation modes; None: the model's first, which is its primary mode.

    Raises:
        UserError: the model, question or mode does not exist, or the engine failed.
    """
    results, experiment = find_experiment(model)
    question = find_question(name, results, experiment)
    # models/<arm>/..., checkpoints/<arm>/..., or models/base
    arm = model.resolve().relative_to(results).parts[1]
    if arm not in {name.split("/")[0] for name in experiment.models()}:
        raise UserError(
            f"{model}: {results / 'config.yaml'} has no model {arm}. Its models are: {', '.join(experiment.models())}."
        )
    mode = mode or experiment.modes_of(arm)[0]
    if mode not in experiment.modes:
        raise UserError(f"{results / 'config.yaml'} has no mode {mode}. Its modes are: {', '.join(experiment.modes)}.")
    renderer = KindRenderer(layouts(experiment.prompts), **{mode: experiment.template(mode)})
    prompts = render_requests(renderer, {"": pd.DataFrame([question])})
    answer = _generate(model, prompts, mode, experiment)
    grade = _grade(answer, key_of(question), experiment.modes[mode].grader_format)
    prompt = prompts["prompt"].iloc[0]
    head = f"--- {question['question_id']}, {mode}\n{prompt}\n--- response\n{answer['response']}\n--- grade"
    return "\n".join([head, *grade, "Research only: not medical advice."])


def _generate(model: Path, prompts: pd.DataFrame, mode: str, experiment: Experiment) -> pd.Series:
    """Return the row of the model's only answer, as `generate_answers` writes it."""
    with TemporaryDirectory(prefix="ask-") as folder, (Path(folder) / "log").open("w") as log, redirect_stdout(log):
        generate_answers(
            [model],
            build_requests(prompts, {"": [mode]}, experiment.modes, experiment.evaluation.seed).assign(samples=1),
            Path(folder),
            experiment.machine,
            prompt_max_tokens=experiment.evaluation.prompt_max_tokens,
            state=Path(folder),
            display_name=str(model),
            notify=lambda line: print(line, file=sys.stderr),
        )
        return read_parquet(Path(folder) / "answers.parquet").iloc[0]


def _grade(answer: pd.Series, key: Key, answer_format: AnswerFormat) -> list[str]:
    """Return the lines that describe the grade of an answer."""
    found = grade_answer(answer["response"], key, answer_format, truncated=answer["finish_reason"] == "length")
    given, lenient = (
        (found.answer, found.lenient_answer) if isinstance(found, KindGrade) else (found.letter, found.lenient_letter)
    )
    correct = LETTERS[key.gold] if isinstance(key, LetterKey) else correct_answer(key)
    verdict = "correct" if found.correct else "wrong"
    lines = [f"answer: {given or 'none found'}; correct answer: {correct}; grade: {verdict}"]
    if len(answer["letter_logprobs"]):
        shares = [
            f"{letter} {math.exp(value):.3f}" for letter, value in zip(LETTERS, answer["letter_logprobs"], strict=False)
        ]
        lines.append(f"probabilities of the letters: {', '.join(shares)}")
    return [
        *lines,
        f"format: {'strict' if found.strict_format else 'valid' if found.valid_format else 'invalid'}",
        f"answer with untagged text included: {lenient or 'none found'}",
        f"tokens: {answer['response_tokens']}, finish reason: {answer['finish_reason']}",
    ]
