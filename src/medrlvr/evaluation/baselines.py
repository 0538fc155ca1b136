"""Accuracies of policies without medical knowledge: a model with a lower accuracy shows no knowledge."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from medrlvr.evaluation.strata import groups
from medrlvr.grading.letters import LETTERS


def trivial_baselines(questions: pd.DataFrame, trained: Sequence[int], divided: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the exact expected accuracy of each policy on one benchmark: policy, n, accuracy, and these by stratum.

    The policies are a uniformly random option, always one letter (for each letter), the longest option (the first of
    equally long ones) and the most frequent gold letter of the training questions. A letter that a question does not
    have is wrong. A benchmark in which not all questions have options has no such policy, and training without letters
    has no most frequent one.

    Args:
        questions: question_id, options, gold.
        trained: gold indices of the training questions.
        divided: as `strata` returns them, for this benchmark.
    """
    if not questions["options"].map(len).all():
        return []
    counts, gold = questions["options"].map(len), questions["gold"]
    longest = questions["options"].map(lambda options: max(range(len(options)), key=lambda index: len(options[index])))
    most = pd.Series(trained, dtype=int).mode()[:1]
    policies: dict[str, pd.Series] = {
        "uniform random": 1 / counts,
        "longest option": longest == gold,
        **{f"training's most frequent letter, {LETTERS[index]}": gold == index for index in most},
        **{f"always {LETTERS[index]}": gold == index for index in range(int(counts.max()))},
    }
    rows = []
    for name, right in policies.items():
        expected = pd.Series(right.to_numpy(dtype=float), index=questions["question_id"])
        strata = [
            {"stratum": stratum, "value": value, "n": len(group), "accuracy": float(expected[group].mean())}
            for (stratum, value), group in groups(divided)
        ]
        rows.append({"policy": name, "n": len(expected), "accuracy": float(expected.mean()), "strata": strata})
    return rows
