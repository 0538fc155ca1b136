"""Other answer formats, and questions whose options the base remembers, as docs/controls.md defines them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.data.prompts import load_template
from medrlvr.evaluation.repeated import paired_interval
from medrlvr.evaluation.statistics import Resamples, Values, sign_test
from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.open_answers import names_only
from medrlvr.models.tokens import token_counts

FORMATS = ("tags", "boxed", "answer_line", "open")
"""The paper's tags, a boxed letter, a letter after "Answer:", and an answer in words to a question without options."""
MEMORY = "memory"
"""Mode of the requests that the base continues after the first option."""
LEAST_REMEMBERED = 10
"""With fewer remembered questions, no accuracy of them is given."""


def format_requests(
    questions: pd.DataFrame, layout: str | Path, templates: Mapping[str, str], models: Sequence[str], max_tokens: int
) -> pd.DataFrame:
    """Return each question in each format, for each model.

    Args:
        questions: benchmark, question_id, stem and options.
        layout: file that lays out stem and options.
        templates: format -> template file.
        models: model folders.
        max_tokens: maximum tokens of a response.
    """
    laid_out = load_template(layout, ["stem", "options"])
    loaded = {name: load_template(path, ["input"]) for name, path in templates.items()}
    rows = []
    for question in questions.to_dict("records"):
        text = laid_out.format(stem=question["stem"], options=option_lines(question["options"]))
        for name, template in loaded.items():
            prompt = template.format(input=question["stem"] if name == "open" else text)
            rows.append(_request(question, name, prompt, templates[name], max_tokens))
    table = pd.DataFrame(rows)
    return pd.concat([table.assign(model=model) for model in models], ignore_index=True)


def memory_requests(questions: pd.DataFrame, layout: str | Path, base: Path) -> pd.DataFrame:
    """Return the requests that the base continues: each question up to the letter of its second option.

    Args:
        questions: benchmark, question_id, stem and options.
        layout: file that lays out stem and options.
        base: the base's folder; its tokenizer determines the number of tokens that the other options need.
    """
    laid_out = load_template(layout, ["stem", "options"])
    needed = token_counts(base, [further_options(options) for options in questions["options"]])
    rows = []
    for question, tokens in zip(questions.to_dict("records"), needed, strict=True):
        shown = option_lines(question["options"][:1]) + f"\n{LETTERS[1]}."
        prompt = laid_out.partition("{options}")[0].format(stem=question["stem"]) + shown
        rows.append(_request(question, MEMORY, prompt, str(layout), tokens + 2))
    return pd.DataFrame(rows).assign(model=str(base))


def option_lines(options: Sequence[str]) -> str:
    """Return options as lines such as "A. Ampicillin"."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))


def further_options(options: Sequence[str]) -> str:
    """Return the text after the letter of the second option, up to the end of the last."""
    return option_lines(options).partition(f"\n{LETTERS[1]}.")[2]


def _request(question: Mapping[Any, Any], mode: str, prompt: str, template: str, max_tokens: int) -> dict[str, Any]:
    return {
        "question_id": question["question_id"],
        "benchmark": question["benchmark"],
        "mode": mode,
        "prompt": prompt,
        "options": len(question["options"]),
        "template": template,
        "answer_format": "tagged" if mode == "tags" else "bare",
        "max_tokens": max_tokens,
        "samples": 1,
        "temperature": 0.0,
        "seed": 0,
    }


def is_remembered(continuation: str, options: Sequence[str]) -> bool:
    """Return whether a continuation gives all options after the first word for word, up to case and white space."""
    said, expected = (" ".join(text.casefold().split()) for text in (continuation, further_options(options)))
    return said.startswith(expected) and not said[len(expected) :][:1].isalnum()


def grade_formats(answers: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Return model, benchmark, question_id, mode, correct and followed (whether the format is the requested one).

    `correct` is by any readable letter, or for `open` by the text. For `memory`, it is whether the question is
    remembered, and `followed` is True.

    Args:
        answers: as `generate_answers` writes them.
        questions: benchmark, question_id, options and gold.
    """
    known = questions.set_index(["benchmark", "question_id"])[["options", "gold"]].to_dict("index")
    rows = [known[key] for key in zip(answers["benchmark"], answers["question_id"], strict=True)]
    correct = [
        _is_correct(mode, response, list(row["options"]), int(row["gold"]))
        for mode, response, row in zip(answers["mode"], answers["response"], rows, strict=True)
    ]
    followed = [FOLLOWED[mode](response) for mode, response in zip(answers["mode"], answers["response"], strict=True)]
    named = answers[["model", "benchmark", "question_id", "mode"]]
    return named.assign(correct=correct, followed=followed)


def _is_correct(mode: str, response: str, options: Sequence[str], gold: int) -> bool:
    if mode == MEMORY:
        return is_remembered(response, options)
    if mode == "open":
        return names_only(response, options, gold)
    return grade(response, options, gold, "tagged" if mode == "tags" else "bare").lenient_correct


_ANSWER_LINE = re.compile(r"^\W*Answer:", re.MULTILINE)


def _has_tags(response: str) -> bool:
    return grade(response, ["", ""], 0).valid_format


FOLLOWED: Mapping[str, Callable[[str], bool]] = {
    "tags": _has_tags,
    "boxed": lambda response: "\\boxed{" in response,
    "answer_line": lambda response: "<answer>" not in response and bool(_ANSWER_LINE.search(response)),
    "open": _has_tags,
    MEMORY: lambda response: True,
}
"""Mode -> whether a response is in the requested format."""


def format_matrix(graded: pd.DataFrame, clusters: "pd.Series[str]", resamples: int, seed: int) -> list[dict[str, Any]]:
    """Return one record per benchmark, model and format: n, accuracy with its 95 % interval, and followed.

    `followed` is the share of responses in the requested format. The interval is over question clusters.

    Args:
        graded: as `grade_formats` returns them; `memory` is the share of remembered questions.
        clusters: the cluster of each question, by its id.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    records = []
    for (benchmark, model, mode), rows in graded.groupby(["benchmark", "model", "mode"], sort=False):
        drawn = Resamples(clusters.loc[rows["question_id"]].tolist(), resamples, seed)
        right: Values = np.asarray(rows["correct"], dtype=np.float64)
        low, high = drawn.share_interval(right)
        numbers = {"n": len(right), "accuracy": float(right.mean()), "low": low, "high": high}
        followed = float(rows["followed"].mean())
        records.append({"benchmark": benchmark, "model": model, "format": mode, **numbers, "followed": followed})
    return records


def format_differences(
    graded: pd.DataFrame, rlvr: Sequence[str], base: str, clusters: "pd.Series[str]", resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return the paired difference of RLVR minus the base, for each benchmark and format but `memory`.

    Args:
        graded: as `grade_formats` returns them.
        rlvr, base: models; those of RLVR are the training seeds of one arm.
        clusters, resamples, seed: as for `format_matrix`.

    Returns:
        benchmark, format, n, seeds, value, low, high (95 %) and p, of the sign test over questions.
    """
    records = []
    asked = graded[graded["mode"] != MEMORY]
    for (benchmark, mode), rows in asked.groupby(["benchmark", "mode"], sort=False):
        right = rows.pivot(index="model", columns="question_id", values="correct").astype(float)
        ours, theirs = right.loc[list(rlvr)], right.loc[[base]]
        drawn = Resamples(clusters.loc[right.columns].tolist(), resamples, seed)
        p = sign_test(np.asarray(ours.mean() - theirs.mean(), dtype=np.float64))
        records.append({"benchmark": benchmark, "format": mode, **paired_interval(ours, theirs, drawn), "p": p})
    return records


def accuracy_without_remembered(graded: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return for each benchmark and model its accuracy in its primary mode with and without remembered questions.

    The accuracy is by any readable letter, as in the matrix.

    Args:
        graded: as `grade_formats` returns them.
        scores: model -> benchmark, question_id and lenient_correct, in its primary mode.

    Returns:
        benchmark, model, n, remembered (their number), accuracy, of_remembered and of_others: of the drawn questions.
        The last two are None with fewer than LEAST_REMEMBERED remembered questions, or with no other.
    """
    memory = graded[graded["mode"] == MEMORY]
    records = []
    for benchmark, rows in memory.groupby("benchmark", sort=False):
        remembered = rows.set_index("question_id")["correct"].astype(bool)
        for model, table in scores.items():
            right = table[table["benchmark"] == benchmark].set_index("question_id")["lenient_correct"]
            right = right.loc[remembered.index]
            parts = right[remembered.to_numpy()], right[~remembered.to_numpy()]
            enough = len(parts[0]) >= LEAST_REMEMBERED and len(parts[1]) > 0
            of_remembered, of_others = (float(part.mean()) if enough else None for part in parts)
            records.append(
                {
                    "benchmark": benchmark,
                    "model": model,
                    "n": len(right),
                    "remembered": len(parts[0]),
                    "accuracy": float(right.mean()),
                    "of_remembered": of_remembered,
                    "of_others": of_others,
                }
            )
    return records
