"""Divide a benchmark's questions by number of options, gold letter, and columns of the source."""

import json
from collections.abc import Collection, Iterator

import pandas as pd

MOST_VALUES = 20
"""A column of the source with more values than this divides a benchmark into nothing that one could read."""


def strata(questions: pd.DataFrame, trained: Collection[int]) -> pd.DataFrame:
    """Return what questions can be divided by: benchmark, question_id, stratum, value, a row for each of these.

    Args:
        questions: of the benchmarks (QUESTION_SCHEMA and benchmark).
        trained: gold indices that the training questions have.

    Returns:
        the strata `options` (how many), `gold_letter` (whether it is the gold letter of any training question), and
        those columns kept from the source that have few values, such as MedQA's `meta_info` and MMLU-Pro's `src`.
    """
    keys = questions[["benchmark", "question_id"]]
    tables = [
        keys.assign(stratum="options", value=questions["options"].map(len).astype(str)),
        keys.assign(
            stratum="gold_letter",
            value=questions["gold"].isin(trained).map({True: "seen in training", False: "never seen in training"}),
        ),
    ]
    meta = pd.DataFrame([json.loads(text) for text in questions["meta"]], index=questions.index).drop(
        columns="flags", errors="ignore"
    )
    for name in meta.columns:
        tables.append(keys.assign(stratum=name, value=meta[name]).dropna(subset="value"))
    table = pd.concat(tables, ignore_index=True)
    values = table.groupby(["benchmark", "stratum"])["value"].transform("nunique")
    return table[values.between(1, MOST_VALUES)].astype({"value": str}).reset_index(drop=True)


def groups(divided: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.Series]]:
    """Yield (stratum, value) and the ids of its questions; numbers in their order, not that of their digits.

    Args:
        divided: as `strata` returns them, of one benchmark.
    """
    parts = {(str(key[0]), str(key[1])): group["question_id"] for key, group in divided.groupby(["stratum", "value"])}
    yield from sorted(parts.items(), key=lambda part: (part[0][0], len(part[0][1]) * part[0][1].isdigit(), part[0][1]))
