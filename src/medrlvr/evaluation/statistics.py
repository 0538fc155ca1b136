"""Confidence intervals and tests. Accuracies and their differences are fractions everywhere.

The functions that need scipy or statsmodels import them, because the import takes a second.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Interval = tuple[float, float]
Values = NDArray[np.float64]


def bootstrap_stderr(values: Values, resamples: int, seed: int) -> float:
    """Return the standard deviation of the mean over bootstrap resamples (paper, Figure 3).

    Args:
        values: shape (n,), one number per question.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return float(values[draws].mean(axis=1).std(ddof=1))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion."""
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


class Resamples:
    """Bootstrap resamples of one benchmark's questions, the same for all models; duplicates are drawn together."""

    def __init__(self, clusters: Sequence[Hashable], resamples: int, seed: int) -> None:
        """Draw the resamples.

        Args:
            clusters: shape (n,), the cluster of each question. All questions of a cluster are drawn together.
        """
        self._codes, names = pd.factorize(np.asarray(clusters))
        share = np.full(len(names), 1 / len(names))
        drawn = np.random.default_rng(seed).multinomial(len(names), share, size=resamples)
        self._times = drawn.astype(np.float32)
        self._sizes = self._times @ np.bincount(self._codes).astype(np.float32)

    def intervals(self, values: Values, confidences: Sequence[float] = (0.95, 0.9)) -> list[Interval]:
        """Return the percentile interval of the mean of `values`, shape (n,), at each confidence."""
        sums = np.bincount(self._codes, weights=values).astype(np.float32)
        means = (self._times @ sums).astype(float) / self._sizes
        tails = [(1 - confidence) / 2 for confidence in confidences]
        return [(float(low), float(high)) for low, high in (np.quantile(means, [tail, 1 - tail]) for tail in tails)]


def seed_interval(
    first: Sequence[float] | float, second: Sequence[float] | float, confidence: float, *, paired: bool = False
) -> Interval | None:
    """Return the t-interval, over training seeds, of the difference of two mean accuracies: first minus second.

    Args:
        first, second: an accuracy for each seed; or one number for a model that was not trained and so has no seeds.
        paired: whether both are from the same training runs, in the same order. If not, the seeds are independent, and
            the interval is Welch's.

    Returns:
        the interval; None if a trained model has fewer than three seeds, which are too few for an interval.
    """
    from scipy import stats

    if paired or isinstance(first, float) or isinstance(second, float):
        differences = np.atleast_1d(np.subtract(first, second))
        if len(differences) < 3:
            return None
        width = stats.sem(differences) * stats.t.ppf((1 + confidence) / 2, len(differences) - 1)
        return float(differences.mean() - width), float(differences.mean() + width)
    if min(len(first), len(second)) < 3:
        return None
    if np.ptp(first) == np.ptp(second) == 0:
        return (float(first[0] - second[0]),) * 2
    found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return float(found.low), float(found.high)


def hull(questions: Interval, seeds: Interval | None) -> Interval:
    """Return the smallest interval that contains the interval over questions and, if there is one, that over seeds."""
    return questions if seeds is None else (min(questions[0], seeds[0]), max(questions[1], seeds[1]))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same n questions.

    Attributes:
        only_first: questions that only the first model got right.
        only_second: questions that only the second model got right.
        difference: accuracy of the first minus the second.
        low, high: 95 % paired bootstrap interval of `difference`, duplicates drawn together.
        mcnemar_p: two-sided exact McNemar test.
        detectable: the smallest difference that n questions would have shown, from `detectable_difference`.
    """

    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    mcnemar_p: float
    detectable: float | None


def compare_pair(first: Values, second: Values, resamples: Resamples) -> Pair:
    """Compare two models question by question.

    Args:
        first, second: shape (n,), 1 for a correct answer and 0 for a wrong one, in the same order of questions.
    """
    from scipy import stats

    gain = first - second
    only_first, only_second = int((gain > 0).sum()), int((gain < 0).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    ((low, high),) = resamples.intervals(gain, [0.95])
    detectable = detectable_difference(len(gain), discordant / len(gain))
    return Pair(only_first, only_second, float(gain.mean()), low, high, p, detectable)


def detectable_difference(n: int, discordant: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest difference of two accuracies that McNemar's test detects with `power` (Connor 1987).

    Args:
        n: number of questions.
        discordant: the fraction of them that exactly one of the two models got right.

    Returns:
        the difference; None if not even the largest difference that `discordant` allows would be detected.
    """
    from scipy import optimize, stats

    normal = stats.norm.ppf
    a, b = normal(1 - alpha / 2), normal(power)

    def shortfall(difference: float) -> float:
        needed = a * np.sqrt(discordant) + b * np.sqrt(discordant - difference**2)
        return float(needed / difference - np.sqrt(n))

    if discordant == 0 or shortfall(discordant) > 0:
        return None
    return float(optimize.brentq(shortfall, discordant * 1e-9, discordant))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for multiple testing by Holm's method, in the same order."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
