"""Divide a benchmark's questions by number of options, gold letter, and columns of the source."""

import json
from collections.abc import Collection, Iterator

import pandas as pd

MOST_VALUES = 20
"""Maximum number of values of a column of the source; more strata would not be readable."""


def strata(questions: pd.DataFrame, trained: Collection[int]) -> pd.DataFrame:
    """Return the strata of questions, one row per question and stratum: benchmark, question_id, stratum, value.

    Args:
        questions: the questions of the benchmarks (QUESTION_SCHEMA and benchmark).
        trained: gold indices of the training questions.

    Returns:
        the strata `options` (their number) and `gold_letter` (whether any training question has this gold letter) of
        questions with options, `kind` if not all answers are letters, and those columns kept from the source that have
        few values, such as MedQA's `meta_info` and MMLU-Pro's `src`.
    """
    keys = questions[["benchmark", "question_id"]]
    letters = questions[questions["options"].map(len) > 0]
    of_letters = keys.loc[letters.index]
    tables = [
        of_letters.assign(stratum="options", value=letters["options"].map(len).astype(str)),
        of_letters.assign(
            stratum="gold_letter",
            value=letters["gold"].isin(trained).map({True: "seen in training", False: "never seen in training"}),
        ),
    ]
    if "kind" in questions:
        tables.append(keys.assign(stratum="kind", value=questions["kind"]).dropna(subset="value"))
    meta = pd.DataFrame([json.loads(text) for text in questions["meta"]], index=questions.index).drop(
        columns="flags", errors="ignore"
    )
    for name in meta.columns:
        tables.append(keys.assign(stratum=name, value=meta[name]).dropna(subset="value"))
    table = pd.concat(tables, ignore_index=True)
    values = table.groupby(["benchmark", "stratum"])["value"].transform("nunique")
    return table[values.between(1, MOST_VALUES)].astype({"value": str}).reset_index(drop=True)


def groups(divided: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.Series]]:
    """Yield (stratum, value) and the ids of its questions; numeric values are sorted as numbers.

    Args:
        divided: as `strata` returns them, for one benchmark.
    """
    parts = {(str(key[0]), str(key[1])): group["question_id"] for key, group in divided.groupby(["stratum", "value"])}
    yield from sorted(parts.items(), key=lambda part: (part[0][0], len(part[0][1]) * part[0][1].isdigit(), part[0][1]))
