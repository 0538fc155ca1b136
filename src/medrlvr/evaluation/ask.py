"""One question to one model, and how its answer is graded: `medrlvr ask results/miniature/models/rlvr/seed1`.

The question is one of the experiment's own, by its id, or yours: a JSON file with stem, options (a list) and answer
(the letter). The model is asked as in the evaluation, by the same engine and prompt, on the kind of machine that the
results' config.yaml says, and graded by the same grader.
"""

import math
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config
from medrlvr.config.results_version import check_version
from medrlvr.data.prompts import Renderer
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import build_requests, render_requests
from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet


class OwnQuestion(BaseModel):
    """A question of the user's, as its JSON file has it."""

    model_config = ConfigDict(extra="forbid")

    stem: Annotated[str, Field(min_length=1)]
    options: Annotated[list[str], Field(min_length=2, max_length=len(LETTERS))]
    answer: Annotated[str, Field(pattern=f"^[{LETTERS}]$")]


def find_experiment(model: Path) -> tuple[Path, Experiment]:
    """Return the results folder in which a model lies, and the configuration that the page there was made with.

    Raises:
        UserError: there is no such model, or it is in no results folder with a page.
    """
    if not (model / "config.json").is_file():
        raise UserError(f"{model} is no model folder. Models lie under results/<experiment>/models/.")
    for folder in model.resolve().parents:
        if (folder / "config.yaml").is_file() and (folder / "models").is_dir():
            check_version(folder)
            file = folder / "config.yaml"
            return folder, load_config(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    raise UserError(f"{model} lies in no results folder with a config.yaml, which render_report writes at the end.")


def find_question(name: str | None, results: Path, experiment: Experiment) -> dict[str, Any]:
    """Return question_id, stem, options and gold: of the JSON file or id given, else the first of the first benchmark.

    Raises:
        UserError: there is no such question, or the file is not as it should be.
    """
    if name and name.endswith(".json"):
        return _own_question(Path(name))
    for benchmark in (*experiment.benchmarks, "development"):
        questions = read_parquet(results / f"data/benchmarks/{benchmark}.parquet")
        found = questions[questions["question_id"] == name] if name else questions.head(1)
        if len(found):
            return {str(column): value for column, value in found.iloc[0].items()}
    example = questions["question_id"].iloc[0]
    raise UserError(f"no question of {results / 'data/benchmarks'} is called {name!r}; one there is {example!r}.")


def _own_question(file: Path) -> dict[str, Any]:
    try:
        question = OwnQuestion.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise UserError(f"{file}: needs stem, options (a list) and answer (the letter): {error}") from None
    if question.answer not in LETTERS[: len(question.options)]:
        raise UserError(f"{file}: answer is {question.answer}, but there are {len(question.options)} options.")
    gold = LETTERS.index(question.answer)
    return {"question_id": str(file), "stem": question.stem, "options": question.options, "gold": gold}


def converse(model: Path, name: str | None, mode: str | None) -> str:
    """Ask and grade; return prompt, response and grade as text.

    Args:
        name: as in `find_question`.
        mode: how to ask, one of the experiment's modes; None: the model's first, by which it is judged.

    Raises:
        UserError: model, question or mode are not there, or the engine failed.
    """
    results, experiment = find_experiment(model)
    question = find_question(name, results, experiment)
    # models/<arm>/..., checkpoints/<arm>/..., or models/base
    arm = model.resolve().relative_to(results).parts[1]
    if arm not in {name.split("/")[0] for name in experiment.models()}:
        raise UserError(f"{model}: {results / 'config.yaml'} has no arm {arm}.")
    mode = mode or experiment.modes_of(arm)[0]
    if mode not in experiment.modes:
        raise UserError(f"{results / 'config.yaml'} has no mode {mode}; it has: {', '.join(experiment.modes)}.")
    renderer = Renderer(experiment.prompts.question, **{mode: experiment.template(mode)})
    prompts = render_requests(renderer, {"": pd.DataFrame([question])})
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
        answer = read_parquet(Path(folder) / "answers.parquet").iloc[0]
    found = grade(
        answer["response"],
        list(question["options"]),
        int(question["gold"]),
        experiment.modes[mode].grader_format,
        truncated=answer["finish_reason"] == "length",
    )
    verdict = "right" if found.correct else "wrong" if found.letter else "not readable, so wrong"
    lines = [
        f"answered: {found.letter or 'nothing readable'}; right is {LETTERS[question['gold']]}: {verdict}",
        f"format: {'strict' if found.strict_format else 'valid' if found.valid_format else 'not valid'}",
        f"untagged text read too: {found.lenient_letter or 'nothing'}",
        f"tokens: {answer['response_tokens']}, ended by {answer['finish_reason']}",
        "Research only: not medical advice.",
    ]
    if len(answer["letter_logprobs"]):
        shares = [
            f"{letter} {math.exp(value):.3f}" for letter, value in zip(LETTERS, answer["letter_logprobs"], strict=False)
        ]
        lines.insert(1, f"probability of the letters: {', '.join(shares)}")
    prompt = prompts["prompt"].iloc[0]
    head = f"--- {question['question_id']}, {mode}\n{prompt}\n--- response\n{answer['response']}\n--- grade"
    return "\n".join([head, *lines])
