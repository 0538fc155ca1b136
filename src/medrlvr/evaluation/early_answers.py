"""The claim that early answers vanish where no candidates are shown, by the rule of docs/calculations.md."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.claims import MARGIN, Evidence, Measured, below
from medrlvr.evaluation.statistics import seed_interval

CLAIM = "The early-answer hack vanishes where no candidates are shown"
WINDOW = 10
"""Number of consecutive updates whose mean share is compared."""


def early_share(updates: pd.DataFrame) -> "pd.Series[float]":
    """Return the share of early answers among the responses with a valid format, for each update; 0 without any.

    Args:
        updates: one row per update, in order: valid_format and stage_direct_answer_hacker (fractions of all responses).
            Both are missing for the base before the first update, which is left out.
    """
    sampled = updates[updates["valid_format"].notna()]
    valid = sampled["valid_format"]
    return (sampled["stage_direct_answer_hacker"] / valid.where(valid > 0)).fillna(0.0)


def early_rise(updates: pd.DataFrame) -> float:
    """Return how much training raises the share of early answers, at its largest; 0 or more.

    Args:
        updates: as for `early_share`.

    Returns:
        the largest mean of WINDOW consecutive updates minus the mean of the first WINDOW; 0 with fewer updates.
    """
    share = early_share(updates)
    windows = share.rolling(min(WINDOW, len(share))).mean().dropna()
    return float(windows.max() - windows.iloc[0])


def early_answer_evidence(
    runs: Sequence[pd.DataFrame], design: ComparisonDesign, questions: int
) -> dict[str, Evidence]:
    """Return the evidence of the training runs of one RLVR arm, for the first benchmark in distribution.

    With fewer than three runs there is no interval over seeds, and the rise can be anything from 0 to 1.

    Args:
        runs: for each training seed, the table of `early_rise`; none if the training questions have options.
        design: the benchmarks.
        questions: number of training questions.
    """
    benchmark = next((name for name in design.benchmarks if design.distributions[name] == "in"), None)
    if not runs or benchmark is None:
        return {}
    rises = [early_rise(updates) for updates in runs]
    low, high = seed_interval(rises, 0.0, 0.95) or (0.0, 1.0)
    low, high = max(0.0, low), min(1.0, high)
    measured = Measured(float(np.mean(rises)), low, high, below(low, high, bound=MARGIN))
    return {benchmark: Evidence(CLAIM, questions, 0.95, measured, None, {"text": "not stated"}, [len(runs)])}
