"""Training rows of the waterfall's arms: other labels, and the base's own right responses (docs/controls.md)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from medrlvr.evaluation.score import majority_vote
from medrlvr.grading.draws import uniform
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.errors import UserError

LEAST_IN_FORMAT = 0.01
"""Share of right responses in the required format below which those right by any readable letter are kept instead."""


def relabelled(rows: Sequence[Mapping[str, str]], label_of: Callable[[Mapping[str, Any]], int]) -> list[dict[str, str]]:
    """Return RLVR's training rows with another option as `label`, which the reward counts as right; `gold` stays.

    Args:
        rows: `input` and `label`, JSON with question_id, options and gold.
        label_of: returns the index of the other option, given this JSON.
    """
    facts = [json.loads(row["label"]) for row in rows]
    return [
        {**row, "label": json.dumps(one | {"label": label_of(one)}, sort_keys=True, ensure_ascii=False)}
        for row, one in zip(rows, facts, strict=True)
    ]


def wrong_label(facts: Mapping[str, Any]) -> int:
    """Return one wrong option of a question, drawn by its id."""
    wrong = [index for index in range(len(facts["options"])) if index != facts["gold"]]
    return wrong[int(uniform("wrong label", facts["question_id"]) * len(wrong))]


def majority_labels(scores: pd.DataFrame) -> Callable[[Mapping[str, Any]], int]:
    """Return a function that returns the most frequent option of a question's samples, by any readable letter.

    Of equally frequent letters, the one sampled first counts. Without any readable letter, an option is drawn by the
    question's id.

    Args:
        scores: as `score_answers` returns them, several samples per question.
    """
    elected = majority_vote(scores).set_index("question_id")["lenient_letter"]

    def label(facts: Mapping[str, Any]) -> int:
        letter = elected.loc[facts["question_id"]]
        if pd.isna(letter):
            return int(uniform("no letter", facts["question_id"]) * len(facts["options"]))
        return LETTERS.index(letter)

    return label


def own_responses(rows: Sequence[Mapping[str, str]], scores: pd.DataFrame) -> tuple[list[dict[str, str]], str]:
    """Return SFT's rows from the right samples of the base, without repetitions, and a sentence that counts them.

    Responses cut at the token limit are not kept, because they have no end.

    Args:
        rows: RLVR's training rows.
        scores: as `score_answers` returns them, several samples per question.

    Raises:
        UserError: no response is right.
    """
    complete = scores["finish_reason"] != "length"
    in_format = scores["correct"].astype(bool) & scores["valid_format"].astype(bool) & complete
    enough = float(in_format.mean()) >= LEAST_IN_FORMAT
    kept = in_format if enough else scores["lenient_correct"].astype(bool) & complete
    right = scores[kept].drop_duplicates(["question_id", "response"])
    if right.empty:
        raise UserError(
            f"none of the base's {len(scores):,} sampled responses is right and complete, so the arm with targets:"
            " own_responses has nothing to train on. Remove this arm, or choose another base."
        )
    prompts = {json.loads(row["label"])["question_id"]: row["input"] for row in rows}
    found = [
        {"input": prompts[question], "output": response}
        for question, response in zip(right["question_id"], right["response"], strict=True)
    ]
    reading = "in the required format" if enough else "by any readable letter"
    return found, (
        f"own responses: {len(found):,} of {len(scores):,} samples are kept, right {reading} and without repetitions,"
        f" of {right['question_id'].nunique():,} of {scores['question_id'].nunique():,} questions"
    )
