"""Grades of answers and the numbers made of them."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from medrlvr.evaluation.statistics import bootstrap_sd, wilson_interval
from medrlvr.grading import AnswerForm, grade

ANSWER_FORM: dict[str, AnswerForm] = {"direct": "bare", "chain_of_thought": "tagged"}
"""Where each mode's answer is looked for."""


def score_answers(answers: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Grade every answer.

    Args:
        answers: as `generate.ask` writes them.
        questions: question_id, options, gold of every benchmark question.

    Returns:
        the answers with the fields of `Grade` beside them; the text stays, so that a row can be read alone.

    Raises:
        KeyError: an answer to a question that is not among `questions`.
    """
    known = questions.set_index("question_id")
    rows = [known.loc[question_id] for question_id in answers["question_id"]]
    grades = [
        asdict(grade(response, list(row["options"]), int(row["gold"]), ANSWER_FORM[mode], truncated=ended == "length"))
        for response, mode, ended, row in zip(
            answers["response"], answers["mode"], answers["finish_reason"], rows, strict=True
        )
    ]
    graded = answers.assign(options=[len(row["options"]) for row in rows], gold=[int(row["gold"]) for row in rows])
    return pd.concat([graded.reset_index(drop=True), pd.DataFrame(grades)], axis=1)


def summarise(scores: pd.DataFrame, clusters: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Return one record per benchmark and mode; every rate is a fraction of n, and unparsed answers count as wrong.

    Args:
        scores: as `score_answers` returns them, of one model.
        clusters: question_id and the question that it `repeats`, itself if it is the first. Fields that begin with
            `distinct` are of the benchmark with each question once.
        resamples: bootstrap resamples of the standard deviation (paper, Figure 3: 1,000).
        seed: of the resampling.
    """
    records = []
    first = clusters.set_index("question_id")["repeats"]
    for (benchmark, mode), group in scores.groupby(["benchmark", "mode"], sort=True):
        correct = group["correct"].to_numpy(dtype=float)
        low, high = wilson_interval(int(correct.sum()), len(group))
        distinct = group.loc[~group["question_id"].map(first).duplicated(), "correct"]
        distinct_low, distinct_high = wilson_interval(int(distinct.sum()), len(distinct))
        records.append(
            {
                "benchmark": benchmark,
                "mode": mode,
                "n": len(group),
                "accuracy": correct.mean(),
                "accuracy_sd": bootstrap_sd(correct, resamples, seed),
                "accuracy_low": low,
                "accuracy_high": high,
                "distinct_n": len(distinct),
                "distinct_accuracy": distinct.mean(),
                "distinct_low": distinct_low,
                "distinct_high": distinct_high,
                "lenient_accuracy": group["lenient_correct"].mean(),
                "unparsed": group["letter"].isna().mean(),
                "valid_format": group["valid_format"].mean(),
                "strict_format": group["strict_format"].mean(),
                "truncated": group["truncated"].mean(),
                "mean_tokens": group["response_tokens"].mean(),
                "mean_chars": group["response"].str.len().mean(),
                "chance": (1 / group["options"]).mean(),
            }
        )
    return records
