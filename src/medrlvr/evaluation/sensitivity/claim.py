"""The claim that RLVR's answers depend on their chain of thought, by the rule of docs/controls.md."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import DEPENDENCE, LEAST_AGREEMENT
from medrlvr.evaluation.claims import ClaimEvidence, Measured, Verdict, above
from medrlvr.evaluation.statistics import Resamples, hull, percentile_interval, seed_interval, wilson_interval


def last_measures(measured: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows of a run's last checkpoint; none if none of its responses has a block to change.

    Args:
        measured: as `measure_questions` returns them.
        records: those of sensitivity.json, which name every checkpoint, also those without rows.
    """
    last = max(record["update"] for record in records)
    return measured[measured["update"].eq(last)]


def sensitivity_evidence(
    measured: Sequence[pd.DataFrame], benchmarks: Sequence[str], clusters: pd.DataFrame, resamples: int, seed: int
) -> dict[str, ClaimEvidence]:
    """Return benchmark -> evidence: the share of answers that change if the block is emptied, or if it is swapped.

    The smaller share counts. It is missing if, in one run or more, no block could be emptied or none could be swapped.
    n is then the smallest number, over the runs, of questions with a block to change.

    Args:
        measured: for each training seed, the rows of `measure_questions` for the last checkpoint; none if the control
            did not run.
        benchmarks: names of the benchmarks.
        clusters: question_id and cluster.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    cluster_of = clusters.set_index("question_id")["cluster"]
    found = {}
    for name in benchmarks if measured else ():
        tables = [table[table["benchmark"] == name].set_index("question_id") for table in measured]
        shares = [
            _changed(tables, change, cluster_of, resamples, seed)
            for change in ("kept_emptied", "kept_swapped")
            if all(table[change].notna().any() for table in tables)
        ]
        n, least = min(len(table) for table in tables), None
        if len(shares) == 2:
            n, least = min(shares, key=lambda share: share[1].value)
        found[name] = ClaimEvidence(DEPENDENCE, n, 0.95, least, None, {"text": "not stated"}, [len(tables)])
    return found


def _changed(
    tables: Sequence[pd.DataFrame], change: str, cluster_of: "pd.Series[str]", resamples: int, seed: int
) -> tuple[int, Measured]:
    """Return the smallest number of questions with this change in a run, and the share of answers that it changes.

    The share is the mean of those of the runs, in the value and in every resample.
    """
    agreement = min(float(table["agreement"].mean()) for table in tables)
    rule = partial(above, bound=0.5) if agreement >= LEAST_AGREEMENT else _undecided
    by_question = pd.concat([1 - table[change].rename(number) for number, table in enumerate(tables)], axis=1)
    runs = [np.asarray(by_question[number], dtype=np.float64) for number in by_question]
    n, means = int(by_question.notna().sum().min()), [float(np.nanmean(values)) for values in runs]
    if set(means) in ({0.0}, {1.0}):
        over_questions = wilson_interval(n * int(means[0]), n)
    else:
        drawn = Resamples(cluster_of.loc[by_question.index].tolist(), resamples, seed)
        over_questions = percentile_interval(np.mean([drawn.means(values) for values in runs], axis=0), 0.95)
    low, high = hull(over_questions, seed_interval(means, 0.0, 0.95))
    low, high = max(0.0, low), min(1.0, high)
    return n, Measured(float(np.mean(means)), low, high, rule(low, high))


def _undecided(low: float, high: float) -> Verdict:
    return "undecided"
