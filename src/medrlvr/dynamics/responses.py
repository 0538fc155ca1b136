"""One row per response of a run: its stage label, its grade and its reward-hacking features."""

from collections.abc import Sequence
from itertools import repeat

import pandas as pd

from medrlvr.dynamics.grades import grades_of
from medrlvr.dynamics.hack_monitor import response_features
from medrlvr.dynamics.stages import label
from medrlvr.grading.evidence import COLUMNS, EvidenceCheck
from medrlvr.grading.self_verification import find_self_verification


def label_grades(graded: pd.DataFrame) -> list[str]:
    """Return the stage label of each graded response, from its text and the fields of `Grade`."""
    return [label(response, grade) for response, grade in zip(graded["response"], grades_of(graded), strict=True)]


def label_responses(
    rollouts: pd.DataFrame, questions: pd.DataFrame, tokens: Sequence[int], check: EvidenceCheck | None = None
) -> pd.DataFrame:
    """Return one row for each sampled response.

    Args:
        rollouts: as `training.rollouts.collect_rollouts` returns them.
        questions: gold (index of the right option, missing for a number or text), and stem and options for `check`, by
            question_id.
        tokens: number of tokens of each response's text.
        check: checks the reasoning of the responses; None if it cannot be checked.

    Returns:
        update, question_id, sample; label (one of `stages.LABELS`), tokens (including the end-of-text token),
        self_verifications (number of phrases), the numbers of `hack_monitor.response_features`, and the columns of
        `Evidence` if `check` knows the questions.
    """
    asked = questions.loc[rollouts["question_id"]]
    texts = zip(asked["stem"], asked["options"], strict=True) if check else repeat(("", []), len(asked))
    # OpenRLHF also counts the end-of-text token, which `response` does not contain.
    ended = rollouts["finish_reason"].eq("stop")
    rows = []
    for grade, response, (stem, options), index, count, end in zip(
        grades_of(rollouts), rollouts["response"], texts, asked["gold"], tokens, ended, strict=True
    ):
        evidence = check(stem, options, response, grade) if check else None
        found = {
            "label": label(response, grade),
            "tokens": count + end,
            "self_verifications": len(find_self_verification(response)),
        }
        features = response_features(response, grade, None if pd.isna(index) else int(index), evidence)
        rows.append(found | features | (evidence.columns() if evidence else {}))
    labels = pd.DataFrame(rows, index=rollouts.index)
    checked = {name: kind for name, kind in COLUMNS.items() if name in labels}
    labels = labels.astype(checked)
    return rollouts[["update", "question_id", "sample"]].join(labels)
