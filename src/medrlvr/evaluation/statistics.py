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
        self._sizes = self._sums(np.ones(len(self._codes)))

    def _sums(self, values: Values) -> Values:
        sums = np.bincount(self._codes, weights=values).astype(np.float32)
        return np.asarray(self._times @ sums, dtype=np.float64)

    def means(self, values: Values) -> Values:
        """Return the mean of `values` in each resample, shape (resamples,).

        Args:
            values: shape (n,). NaN is left out; a resample without any other value has the mean NaN.
        """
        missing = np.isnan(values)
        if not missing.any():
            return self._sums(values) / self._sizes
        with np.errstate(invalid="ignore"):
            return self._sums(np.where(missing, 0.0, values)) / self._sums((~missing).astype(float))

    def intervals(self, values: Values, confidences: Sequence[float] = (0.95, 0.9)) -> list[Interval]:
        """Return the percentile interval of the mean of `values`, shape (n,), at each confidence."""
        return [percentile_interval(self.means(values), confidence) for confidence in confidences]

    def share_interval(self, values: Values) -> Interval:
        """Return the 95 % interval of a share: the percentile interval, or Wilson's if all values are 0 or all are 1.

        In these two cases all resamples are equal, and the percentile interval has no width.

        Args:
            values: shape (n,), each 0 or 1.
        """
        if values.min() == values.max():
            return wilson_interval(int(values.sum()), len(values))
        return self.intervals(values, [0.95])[0]


def percentile_interval(means: Values, confidence: float) -> Interval:
    """Return the percentile interval of bootstrap means; NaN is left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)


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


def sign_test(gain: Values) -> float:
    """Return the p-value of the two-sided exact sign test of paired differences, McNemar's if they are -1, 0 or 1.

    Unlike a bootstrap interval, it holds if all differences that are not 0 have the same sign.

    Args:
        gain: shape (n,), one difference per question.
    """
    from scipy import stats

    more, less = int((gain > 0).sum()), int((gain < 0).sum())
    return float(stats.binomtest(more, more + less).pvalue) if more + less else 1.0


def compare_pair(first: Values, second: Values, resamples: Resamples) -> Pair:
    """Compare two models question by question.

    Args:
        first, second: shape (n,), 1 for a correct answer and 0 for a wrong one, in the same order of questions.
    """
    gain = first - second
    only_first, only_second = int((gain > 0).sum()), int((gain < 0).sum())
    ((low, high),) = resamples.intervals(gain, [0.95])
    detectable = detectable_difference(len(gain), (only_first + only_second) / len(gain))
    return Pair(only_first, only_second, float(gain.mean()), low, high, sign_test(gain), detectable)


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
