"""The claim that RLVR's answers depend on their chain of thought, by the rule of docs/controls.md."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from medrlvr.evaluation.claims import Evidence, Measured, Verdict, above
from medrlvr.evaluation.sensitivity.measures import mean_interval
from medrlvr.evaluation.statistics import hull, seed_interval

CLAIM = "RLVR's answers depend on its chain of thought"
LEAST_AGREEMENT = 0.95
"""If the forced letter is the written one in fewer questions, the measures are not about the model's own answers."""


def sensitivity_evidence(
    measured: Sequence[pd.DataFrame], clusters: pd.DataFrame, resamples: int, seed: int
) -> dict[str, Evidence]:
    """Return benchmark -> evidence: the share of answers that change if the block is emptied, or if it is swapped.

    The smaller share counts.

    Args:
        measured: for each training seed, the rows of `measure_questions` for the last checkpoint.
        clusters: question_id and cluster.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    cluster_of = clusters.set_index("question_id")["cluster"]
    names = dict.fromkeys(name for table in measured for name in table["benchmark"])
    found = {}
    for name in names:
        tables = [table[table["benchmark"] == name].set_index("question_id") for table in measured]
        agreement = min(float(table["agreement"].mean()) if len(table) else 0.0 for table in tables)
        rule = partial(above, bound=0.5) if agreement >= LEAST_AGREEMENT else _undecided
        shares = []
        for change in ("kept_emptied", "kept_swapped"):
            seeds = [1 - table[change].dropna() for table in tables]
            if not all(map(len, seeds)):
                continue
            by_question = pd.concat(seeds).groupby(level=0).mean()
            over_questions = mean_interval(by_question, cluster_of, resamples, seed)
            means = [float(values.mean()) for values in seeds]
            low, high = hull(over_questions, seed_interval(means, 0.0, 0.95))
            low, high = max(0.0, low), min(1.0, high)
            shares.append((len(by_question), Measured(float(np.mean(means)), low, high, rule(low, high))))
        if len(shares) == 2:
            n, least = min(shares, key=lambda share: share[1].value)
            found[str(name)] = Evidence(CLAIM, n, 0.95, least, None, {"text": "not stated"}, [len(tables)])
    return found


def _undecided(low: float, high: float) -> Verdict:
    return "undecided"
