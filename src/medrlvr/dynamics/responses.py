"""One row per response of a run: its stage label, its grade and its reward-hacking features."""

from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from medrlvr.dynamics.hack_monitor import response_features
from medrlvr.dynamics.stages import label
from medrlvr.grading.grader import Grade
from medrlvr.grading.self_verification import find_self_verification

_FIELDS = [field.name for field in fields(Grade)]


def label_responses(rollouts: pd.DataFrame, gold: pd.Series, tokens: Sequence[int]) -> pd.DataFrame:
    """Return one row for each sampled response.

    Args:
        rollouts: as `training.rollouts.collect_rollouts` returns them.
        gold: index of the right option, by question_id.
        tokens: number of tokens of each response's text.

    Returns:
        update, question_id, sample; label (one of `stages.LABELS`), tokens (including the end-of-text token),
        self_verifications (number of phrases), and the numbers of `hack_monitor.response_features`.
    """
    # Parquet returns integer columns with missing values as floats.
    grades = rollouts[_FIELDS].convert_dtypes().astype(object)
    grades = grades.mask(grades.isna(), None)
    right = rollouts["question_id"].map(gold)
    # OpenRLHF also counts the end-of-text token, which `response` does not contain.
    ended = rollouts["finish_reason"].eq("stop")
    rows = []
    for row, response, index, count, end in zip(
        grades.to_dict("records"), rollouts["response"], right, tokens, ended, strict=True
    ):
        grade = Grade(**{str(name): value for name, value in row.items()})
        found = {
            "label": label(response, grade),
            "tokens": count + end,
            "self_verifications": len(find_self_verification(response)),
        }
        rows.append(found | response_features(response, grade, int(index)))
    return rollouts[["update", "question_id", "sample"]].join(pd.DataFrame(rows, index=rollouts.index))
