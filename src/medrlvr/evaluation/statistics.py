"""Intervals and tests, on numpy, scipy and statsmodels. Accuracies and their differences are fractions everywhere.

The functions that need scipy and statsmodels import them, because their import takes a second.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Interval = tuple[float, float]
Values = NDArray[np.float64]


def bootstrap_stderr(values: Values, resamples: int, seed: int) -> float:
    """Standard deviation of the mean over bootstrap resamples (paper, Figure 3).

    Args:
        values: shape (n,), one number per question.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return float(values[draws].mean(axis=1).std(ddof=1))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion."""
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


class Resamples:
    """Bootstrap resamples of one benchmark's questions, duplicates of each other together; the same for all models."""

    def __init__(self, clusters: Sequence[Hashable], resamples: int, seed: int) -> None:
        """Draw the resamples.

        Args:
            clusters: shape (n,), the cluster of each question: questions of one are drawn together or not at all.
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
        first, second: an accuracy for each seed; or one number, of a model that was not trained and so has no seeds.
        paired: the two are of the same training runs, in one order. Else their seeds have nothing in common, and the
            interval is Welch's.

    Returns:
        None with fewer than three seeds of what was trained, from which no interval can be told.
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
    """Return the interval that holds both: a figure may rest on these questions or on these training runs."""
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
        detectable: the smallest difference that n questions would have shown, as `detectable_difference` says.
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
        first, second: shape (n,), 1 for a right answer and 0 for a wrong one, in the same order of questions.
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
    """Return the smallest difference of two accuracies that McNemar's test finds with `power` (Connor 1987).

    Args:
        n: questions.
        discordant: the fraction of them that just one of the two models got right.

    Returns:
        None where even the largest difference that so few discordant questions allow would not be found.
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
    """Return the p-values corrected for their number by Holm's method, in their order."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
