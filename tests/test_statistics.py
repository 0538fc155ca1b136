import numpy as np
import pytest

from medrlvr.evaluation.statistics import bootstrap_sd, compare_paired, wilson_interval


def test_bootstrap_sd_is_close_to_the_binomial_one() -> None:
    values = np.repeat([1.0, 0.0], [637, 636])
    assert bootstrap_sd(values, 2000, seed=1) == pytest.approx(np.sqrt(0.25 / 1273), rel=0.08)


def test_bootstrap_sd_repeats_with_its_seed() -> None:
    values = np.repeat([1.0, 0.0], [3, 7])
    assert bootstrap_sd(values, 100, seed=5) == bootstrap_sd(values, 100, seed=5)


def test_wilson_interval_against_worked_figures() -> None:
    low, high = wilson_interval(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=2e-4)


def test_mcnemar_against_a_hand_count() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 5)
    second = np.array([False] * 8 + [True] * 2 + [True] * 5)
    pairs = compare_paired(first, second, 500, seed=1)
    assert (pairs.n, pairs.only_first, pairs.only_second) == (15, 8, 2)
    assert pairs.difference == pytest.approx(6 / 15)
    assert pairs.mcnemar_p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert pairs.low < pairs.difference < pairs.high


def test_models_that_never_differ() -> None:
    same = np.array([True, False, True])
    assert compare_paired(same, same, 100, seed=1).mcnemar_p == 1.0
