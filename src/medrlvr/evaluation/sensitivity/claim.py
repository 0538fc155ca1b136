"""The claim that RLVR's answers depend on their chain of thought, by the rule of docs/controls.md."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.evaluation.claims import Evidence, Measured, Verdict, above
from medrlvr.evaluation.sensitivity.measures import mean_interval
from medrlvr.evaluation.statistics import hull, seed_interval

CLAIM = "RLVR's answers depend on its chain of thought"
LEAST_AGREEMENT = 0.95
"""If the forced letter is the written one in fewer questions, the measures are not about the model's own answers."""


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
) -> dict[str, Evidence]:
    """Return benchmark -> evidence: the share of answers that change if the block is emptied, or if it is swapped.

    The smaller share counts. It is missing if, in one run or more, no block could be emptied or none could be swapped.
    n is then the number of questions with a block to change.

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
        n, least = len(set().union(*(table.index for table in tables))), None
        if len(shares) == 2:
            n, least = min(shares, key=lambda share: share[1].value)
        found[name] = Evidence(CLAIM, n, 0.95, least, None, {"text": "not stated"}, [len(tables)])
    return found


def _changed(
    tables: Sequence[pd.DataFrame], change: str, cluster_of: "pd.Series[str]", resamples: int, seed: int
) -> tuple[int, Measured]:
    """Return the number of questions with this change in any run, and the share of answers that it changes."""
    agreement = min(float(table["agreement"].mean()) for table in tables)
    rule = partial(above, bound=0.5) if agreement >= LEAST_AGREEMENT else _undecided
    seeds = [1 - table[change].dropna() for table in tables]
    by_question = pd.concat(seeds).groupby(level=0).mean()
    over_questions = mean_interval(by_question, cluster_of, resamples, seed)
    means = [float(values.mean()) for values in seeds]
    low, high = hull(over_questions, seed_interval(means, 0.0, 0.95))
    low, high = max(0.0, low), min(1.0, high)
    return len(by_question), Measured(float(np.mean(means)), low, high, rule(low, high))


def _undecided(low: float, high: float) -> Verdict:
    return "undecided"
