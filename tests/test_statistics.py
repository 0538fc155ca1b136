"""Known answers from scipy and statsmodels, and coverage by simulation where theory promises it."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from medrlvr.evaluation.statistics import (
    Resamples,
    bootstrap_stderr,
    compare_pair,
    detectable_difference,
    holm,
    seed_interval,
    sign_test,
    wilson_interval,
)


def test_bootstrap_sd_is_close_to_the_binomial_one() -> None:
    values = np.repeat([1.0, 0.0], [637, 636])
    assert bootstrap_stderr(values, 2000, seed=1) == pytest.approx(np.sqrt(0.25 / 1273), rel=0.08)


def test_bootstrap_sd_repeats_with_its_seed() -> None:
    values = np.repeat([1.0, 0.0], [3, 7])
    assert bootstrap_stderr(values, 100, seed=5) == bootstrap_stderr(values, 100, seed=5)


def test_wilson_interval_against_computed_values_and_statsmodels() -> None:
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=2e-4)
    for successes, n in ((0, 818), (637, 1273), (1273, 1273), (3, 10)):
        expected = proportion_confint(successes, n, method="wilson")
        assert wilson_interval(successes, n) == pytest.approx(expected, abs=1e-12)
        assert wilson_interval(successes, n, 0.9) == pytest.approx(
            proportion_confint(successes, n, alpha=0.1, method="wilson"), abs=1e-12
        )


def alone(n: int, resamples: int = 500) -> Resamples:
    return Resamples(range(n), resamples, seed=1)


def test_a_pair_against_a_hand_count_and_statsmodels() -> None:
    first = np.array([1.0] * 8 + [0.0] * 2 + [1.0] * 5)
    second = np.array([0.0] * 8 + [1.0] * 2 + [1.0] * 5)
    pair = compare_pair(first, second, alone(15))
    assert (pair.only_first, pair.only_second) == (8, 2)
    assert pair.difference == pytest.approx(6 / 15)
    assert pair.mcnemar_p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert pair.mcnemar_p == pytest.approx(mcnemar([[5, 8], [2, 0]], exact=True).pvalue)
    assert pair.low < pair.difference < pair.high


def test_models_that_never_differ_have_p_1() -> None:
    same = np.array([1.0, 0.0, 1.0])
    pair = compare_pair(same, same, alone(3))
    assert (pair.mcnemar_p, pair.low, pair.high, pair.detectable) == (1.0, 0.0, 0.0, None)


def test_holms_correction_by_hand() -> None:
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])
    assert (holm([0.02]), holm([])) == ([0.02], [])


def test_the_bootstrap_equals_that_of_scipy() -> None:
    gain = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 400, p=[0.1, 0.6, 0.3])
    ours, ours_90 = Resamples(range(400), 20_000, seed=1).intervals(gain)
    for interval, confidence in ((ours, 0.95), (ours_90, 0.9)):
        theirs = stats.bootstrap(
            (gain,), np.mean, n_resamples=20_000, confidence_level=confidence, method="percentile", rng=2
        ).confidence_interval
        assert interval == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_duplicates_are_drawn_together() -> None:
    """A hundred questions each asked five times are a hundred questions."""
    gain = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], 100)
    ((low, high),) = Resamples(range(100), 20_000, seed=1).intervals(gain, [0.95])
    five_times = Resamples(np.repeat(np.arange(100), 5).tolist(), 20_000, seed=1)
    assert five_times.intervals(np.repeat(gain, 5), [0.95])[0] == pytest.approx((low, high), abs=0.01)
    ((narrow_low, narrow_high),) = Resamples(range(500), 20_000, seed=1).intervals(np.repeat(gain, 5), [0.95])
    assert (narrow_high - narrow_low) == pytest.approx((high - low) / np.sqrt(5), rel=0.05)


def test_clusters_of_unequal_size_keep_the_mean_over_questions() -> None:
    gain = np.array([1.0, 1.0, 1.0, 0.0])
    low, high = Resamples(["a", "a", "a", "b"], 1000, seed=1).intervals(gain, [0.95])[0]
    # Both clusters, one twice, or the other twice: 3/4, 1 and 0.
    assert (low, high) == (0.0, 1.0)
    assert Resamples(["a", "a", "a", "b"], 1000, seed=1).intervals(gain, [0.01])[0] == pytest.approx((0.75, 0.75))


def test_missing_values_are_left_out_of_every_resample() -> None:
    values = np.array([1.0, 0.0, np.nan, 1.0])
    drawn = Resamples(range(4), 5000, seed=1)
    means = drawn.means(values)
    assert np.nanmean(means) == pytest.approx(2 / 3, abs=0.02)
    assert np.isnan(means).mean() == pytest.approx(0.25**4, abs=0.005), "only the missing value was drawn"
    assert drawn.intervals(values, [0.95])[0] == (0, 1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_0_or_1_has_wilsons_interval(share: float) -> None:
    values = (np.arange(110) < 110 * share).astype(float)
    drawn = Resamples(range(110), 2000, seed=1)
    expected = drawn.intervals(values, [0.95])[0] if share == 0.5 else wilson_interval(round(110 * share), 110)
    assert drawn.share_interval(values) == expected
    assert expected[1] - expected[0] > 0.03


def test_the_sign_test_by_hand() -> None:
    assert sign_test(np.array([0.5, 1.0, 0.25, 1.0, 0.0])) == 2 / 2**4
    assert sign_test(np.array([1.0, -1.0, 0.0])) == sign_test(np.zeros(3)) == 1


def test_seed_intervals_against_scipy() -> None:
    first, second = [0.50, 0.53, 0.49, 0.52], [0.41, 0.44, 0.40]
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert seed_interval(first, second, 0.95) == pytest.approx((welch.low, welch.high))
    one = stats.ttest_1samp(np.array(first) - 0.3, 0).confidence_interval(0.9)
    assert seed_interval(first, 0.3, 0.9) == pytest.approx((one.low, one.high))
    assert seed_interval(0.3, first, 0.9) == pytest.approx((-one.high, -one.low))
    assert seed_interval([0.5] * 3, [0.25] * 3, 0.95) == (0.25, 0.25)
    assert seed_interval([0.5] * 3, 0.25, 0.95) == (0.25, 0.25)


def test_seeds_of_the_same_runs_are_paired() -> None:
    first, second = [0.50, 0.61, 0.70], [0.40, 0.50, 0.60]
    paired = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert seed_interval(first, second, 0.95, paired=True) == pytest.approx((paired.low, paired.high))


@pytest.mark.parametrize(
    ("first", "second"),
    [([0.5], [0.4]), ([0.5] * 2, [0.4] * 3), ([0.5] * 3, [0.4] * 2), ([0.5] * 3, [0.4]), ([0.5] * 2, 0.4), (0.5, 0.4)],
)
def test_fewer_than_three_seeds_of_a_trained_model_give_no_interval(
    first: list[float] | float, second: list[float] | float
) -> None:
    assert seed_interval(first, second, 0.95) is None


def coverage(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(("n", "p"), [(1273, 0.5), (818, 0.32), (300, 0.85), (300, 0.98)])
def test_wilson_intervals_cover(n: int, p: float) -> None:
    found, times = np.unique(np.random.default_rng(5).binomial(n, p, 10_000), return_counts=True)
    covered = [low <= p <= high for low, high in (wilson_interval(int(successes), n) for successes in found)]
    assert np.average(covered, weights=times) == pytest.approx(0.95, abs=0.015)


def test_paired_bootstrap_intervals_cover() -> None:
    """At the size of MMLU-Pro health, with every eighth question a duplicate of another."""
    rng = np.random.default_rng(6)
    clusters = np.concatenate([np.arange(724), np.arange(94)])
    resamples = Resamples(clusters.tolist(), 2000, seed=1)
    found, found_90 = [], []
    for _ in range(600):
        gain = rng.choice([-1.0, 0.0, 1.0], 724, p=[0.15, 0.62, 0.23])[clusters]
        interval, interval_90 = resamples.intervals(gain)
        found.append(interval)
        found_90.append(interval_90)
    assert coverage(found, 0.08) == pytest.approx(0.95, abs=0.025)
    assert coverage(found_90, 0.08) == pytest.approx(0.9, abs=0.03)


def test_seed_intervals_cover() -> None:
    rng = np.random.default_rng(7)
    found = [seed_interval(rng.normal(0.5, 0.02, 3).tolist(), 0.4, 0.95) for _ in range(2000)]
    assert coverage(found, 0.1) == pytest.approx(0.95, abs=0.02)
    found = [
        seed_interval(rng.normal(0.5, 0.02, 3).tolist(), rng.normal(0.4, 0.01, 3).tolist(), 0.95) for _ in range(2000)
    ]
    # Welch's degrees of freedom are estimated: a little more than promised with so few.
    assert coverage(found, 0.1) == pytest.approx(0.96, abs=0.02)


@pytest.mark.parametrize(("n", "discordant"), [(1273, 0.4), (818, 0.3), (300, 0.5)])
def test_the_detectable_difference_is_found_eight_times_in_ten(n: int, discordant: float) -> None:
    difference = detectable_difference(n, discordant)
    rng = np.random.default_rng(8)
    shares = [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
    tables = rng.multinomial(n, shares, 1000)
    power = np.mean([stats.binomtest(int(b), int(b + c)).pvalue < 0.05 for b, c, _ in tables])
    # The exact test is a little more cautious than the normal approximation.
    assert power == pytest.approx(0.78, abs=0.04)


def test_so_few_discordant_questions_show_nothing() -> None:
    assert detectable_difference(300, 0.01) is None
    assert detectable_difference(1273, 0.4) == pytest.approx(0.0496, abs=5e-4)
