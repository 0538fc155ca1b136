"""Every model beside every other on the same questions."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.evaluation.statistics import compare_paired


def compare_models(scores: Mapping[str, pd.DataFrame], resamples: int, seed: int) -> list[dict[str, Any]]:
    """Return one paired comparison per benchmark and pair of (model, mode), the later one of `scores` first.

    Args:
        scores: model -> table as `score_answers` returns it.
        resamples: bootstrap resamples of the interval.
        seed: of the resampling.
    """
    systems = {
        f"{model} {mode}": group.set_index(["benchmark", "question_id"])["correct"].astype(bool)
        for model, table in scores.items()
        for mode, group in table.groupby("mode", sort=True)
    }
    records = []
    for (name, correct), (other_name, other) in combinations(reversed(systems.items()), 2):
        for benchmark in sorted(set(correct.index.get_level_values("benchmark"))):
            first, second = correct.xs(benchmark), other.xs(benchmark)
            pairs = compare_paired(
                first.to_numpy(dtype=np.bool_), second.reindex(first.index).to_numpy(dtype=np.bool_), resamples, seed
            )
            records.append({"benchmark": benchmark, "first": name, "second": other_name} | asdict(pairs))
    return records
