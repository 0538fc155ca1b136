"""Intervals and tests, on numpy and scipy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def bootstrap_sd(values: NDArray[np.float64], resamples: int, seed: int) -> float:
    """Standard deviation of the mean over bootstrap resamples (paper, Figure 3).

    Args:
        values: shape (n,), one number per question.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return float(values[draws].mean(axis=1).std(ddof=1))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, as fractions."""
    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same n questions.

    Attributes:
        n: questions.
        only_first: questions that only the first model got right.
        only_second: questions that only the second model got right.
        difference: accuracy of the first minus the second, as a fraction.
        low: lower end of the 95 % bootstrap interval of `difference`.
        high: upper end.
        mcnemar_p: two-sided exact McNemar test.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    mcnemar_p: float


def compare_paired(first: NDArray[np.bool_], second: NDArray[np.bool_], resamples: int, seed: int) -> PairedComparison:
    """Compare two models question by question.

    Args:
        first, second: shape (n,), correct or not, in the same order of questions.
    """
    gain = first.astype(float) - second.astype(float)
    only_first, only_second = int((gain > 0).sum()), int((gain < 0).sum())
    draws = np.random.default_rng(seed).integers(0, len(gain), (resamples, len(gain)))
    low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
    discordant = only_first + only_second
    p = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return PairedComparison(len(gain), only_first, only_second, float(gain.mean()), float(low), float(high), float(p))
