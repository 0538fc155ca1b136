"""Thresholds, ROC and intervals of a detector. A larger score means more suspicion."""

import math
from collections.abc import Sequence

import numpy as np

from medrlvr.evaluation.statistics import Interval, Values

RESAMPLES = 10_000
SEED = 1


def threshold(clean: Sequence[float]) -> float:
    """Return the score above which a run raises an alarm: the largest of these clean runs.

    A further clean run exceeds the largest of n with a probability of 1 / (n + 1), if no scores are equal.

    Args:
        clean: one or more scores.
    """
    return max(clean)


def above(scores: Sequence[float], limit: float) -> int:
    """Return the number of runs that raise an alarm."""
    return sum(score > limit for score in scores)


def roc(clean: Sequence[float], exploited: Sequence[float]) -> list[tuple[float, float]]:
    """Return false alarms and recall for every threshold, from no alarm, (0, 0), to alarms in all runs, (1, 1).

    A missing score is -inf. The last point counts it as an alarm, which no threshold of the bench does.

    Args:
        clean, exploited: scores of the runs, one or more each.
    """
    limits = [math.inf, *sorted({*clean, *exploited}, reverse=True)]
    return [
        (sum(one >= limit for one in clean) / len(clean), sum(one >= limit for one in exploited) / len(exploited))
        for limit in limits
    ]


def area(clean: Sequence[float], exploited: Sequence[float]) -> float:
    """Return the probability that an exploited run has a larger score than a clean run; equal scores count half."""
    return float(_wins(clean, exploited).mean())


def area_interval(clean: Sequence[float], exploited: Sequence[float]) -> Interval:
    """Return the 95 % percentile interval of the area; exploited and clean runs are drawn separately."""
    wins = _wins(clean, exploited)
    rng = np.random.default_rng(SEED)
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n for n in wins.shape)
    areas = np.einsum("re,ec,rc->r", rows, wins, columns)
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def _wins(clean: Sequence[float], exploited: Sequence[float]) -> Values:
    """Return 1 where the exploited run has the larger score, 0.5 for equal scores; shape (exploited, clean)."""
    first, second = np.asarray(exploited, dtype=float)[:, None], np.asarray(clean, dtype=float)[None, :]
    return np.asarray((first > second) + 0.5 * (first == second), dtype=float)
