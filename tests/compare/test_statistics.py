"""Intervals and tests: the numbers that scipy and statsmodels give, and the degenerate cases."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import proportion
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.weightstats import ttost_paired

from mnist_ops.compare import statistics

A = [0.91, 0.93, 0.90, 0.95]
B = [0.90, 0.90, 0.91, 0.92]
DIFFERENCES = [a - b for a, b in zip(A, B, strict=True)]


@pytest.fixture(autouse=True)
def no_warnings():
    """Degenerate data is met before the libraries warn of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def right(both, only_first, only_second, neither):
    first = [1] * both + [1] * only_first + [0] * only_second + [0] * neither
    second = [1] * both + [0] * only_first + [1] * only_second + [0] * neither
    return np.array(first, dtype=bool), np.array(second, dtype=bool)


def test_wilson():
    assert statistics.wilson(0.989, 14_000) == pytest.approx(
        proportion.proportion_confint(13_846, 14_000, method="wilson")
    )
    # By its formula: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    z, n, p = stats.norm.ppf(0.975), 100, 0.9
    middle, reach = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)
    assert statistics.wilson(0.9, 100) == pytest.approx(expected)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_wilson_stays_inside(accuracy):
    low, high = statistics.wilson(accuracy, 10)
    assert 0 <= low < high <= 1


def test_mean_over_seeds():
    found = statistics.mean_interval(A)
    assert (found.mean, found.n) == (pytest.approx(0.9225), 4)
    assert found.deviation == pytest.approx(np.std(A, ddof=1))
    reach = stats.t.ppf(0.975, 3) * np.std(A, ddof=1) / 2
    assert found.interval == pytest.approx((0.9225 - reach, 0.9225 + reach))


def test_mean_of_one_seed_has_no_interval():
    assert statistics.mean_interval([0.9]) == statistics.Mean(0.9, None, None, 1)


def test_mean_of_equal_seeds():
    assert statistics.mean_interval([0.5, 0.5]).interval == (0.5, 0.5)


def test_paired_is_scipys():
    found = statistics.paired(DIFFERENCES)
    by_hand = stats.ttest_rel(A, B)
    assert found.p_value == pytest.approx(by_hand.pvalue)
    assert found.interval == pytest.approx(tuple(by_hand.confidence_interval()))
    assert found.effect == pytest.approx(0.015)
    assert found.cohens_d == pytest.approx(0.015 / np.std(DIFFERENCES, ddof=1))
    assert found.n == 4


def test_paired_against_another_mean():
    assert statistics.paired(DIFFERENCES, 0.01).p_value == pytest.approx(
        stats.ttest_1samp(DIFFERENCES, 0.01).pvalue
    )


def test_one_pair_is_no_test():
    found = statistics.paired([0.3])
    assert (found.effect, found.interval, found.p_value) == (0.3, None, None)


def test_pairs_without_any_difference():
    found = statistics.paired([0.0, 0.0, 0.0])
    assert (found.effect, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_pairs_that_all_differ_by_the_same():
    """Equal up to rounding: 0.91 - 0.90 and 0.81 - 0.80 are not the same number."""
    found = statistics.paired([0.91 - 0.90, 0.81 - 0.80, 0.31 - 0.30])
    assert found.effect == pytest.approx(0.01)
    assert found.p_value == 0.0
    assert found.cohens_d is None


def test_ratios():
    cpu, gpu = [341.6, 470.8, 1064.1, 1281.0], [63.0, 69.8, 111.7, 125.7]
    ratios = [c / g for c, g in zip(cpu, gpu, strict=True)]
    found = statistics.paired_ratios(ratios)
    by_hand = stats.ttest_rel(np.log(cpu), np.log(gpu))
    assert found.effect == pytest.approx(stats.gmean(ratios))
    assert found.p_value == pytest.approx(by_hand.pvalue)
    assert found.interval == pytest.approx(tuple(np.exp(by_hand.confidence_interval())))


def test_mcnemar_exact_for_few_discordant_pairs():
    found = statistics.mcnemar(*right(400, 16, 8, 76))
    assert found.method == "McNemar's test, exact"
    assert found.p_value == pytest.approx(stats.binomtest(8, 24, 0.5).pvalue)
    assert found.effect == pytest.approx(8 / 500)
    assert found.n == 500


def test_mcnemar_corrected_for_more():
    found = statistics.mcnemar(*right(400, 40, 20, 40))
    assert found.method == "McNemar's test, chi-square, corrected"
    assert found.p_value == pytest.approx(stats.chi2.sf((abs(40 - 20) - 1) ** 2 / 60, 1))
    assert found.p_value == pytest.approx(
        statsmodels_mcnemar([[400, 40], [20, 40]], exact=False, correction=True).pvalue
    )
    first, second = right(400, 40, 20, 40)
    by_hand = stats.ttest_rel(first.astype(float), second.astype(float)).confidence_interval()
    assert found.interval == pytest.approx(tuple(by_hand))


def test_mcnemar_changes_at_25():
    assert "exact" in statistics.mcnemar(*right(10, 12, 12, 0)).method
    assert "chi-square" in statistics.mcnemar(*right(10, 13, 12, 0)).method


def test_identical_predictions():
    found = statistics.mcnemar(*right(90, 0, 0, 10))
    assert (found.effect, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_images_against_a_margin():
    first, second = right(400, 40, 20, 40)
    found = statistics.mcnemar(first, second, 0.01)
    by_hand = stats.ttest_1samp(first.astype(float) - second.astype(float), 0.01)
    assert found.p_value == pytest.approx(by_hand.pvalue)
    assert found.method == "paired t test on images"


def test_independent_proportions():
    found = statistics.independent(0.95, 2000, 0.93, 1000)
    by_hand = proportion.test_proportions_2indep(
        1900, 2000, 930, 1000, compare="diff", method="agresti-caffo"
    )
    assert found.p_value == pytest.approx(by_hand.pvalue)
    assert found.effect == pytest.approx(0.02)
    # A success and a failure are added to each.
    p, q = 1901 / 2002, 931 / 1002
    reach = stats.norm.ppf(0.975) * math.sqrt(p * (1 - p) / 2002 + q * (1 - q) / 1002)
    assert found.interval == pytest.approx((p - q - reach, p - q + reach))


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_equal_proportions(accuracy):
    assert statistics.independent(accuracy, 100, accuracy, 100).p_value == 1.0


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.99)])
def test_extreme_proportions_have_a_p_value(first, second):
    found = statistics.independent(first, 100, second, 100, 0.01)
    assert 0 <= found.p_value <= 1


def test_equivalence():
    points = [100 * d for d in DIFFERENCES]
    zeros = np.zeros(len(points))
    assert statistics.equivalent(points, 1.0) == pytest.approx(
        ttost_paired(np.array(points), zeros, -1.0, 1.0)[0]
    )
    assert statistics.equivalent([0.0, 0.0], 1.0) == 0.0
    assert statistics.equivalent([2.0, 2.0], 1.0) == 1.0
    assert statistics.equivalent([0.1], 1.0) is None


def test_not_less():
    points = [100 * d for d in DIFFERENCES]
    assert statistics.not_less(points, -1.0) == pytest.approx(
        stats.ttest_1samp(points, -1.0, alternative="greater").pvalue
    )
    assert statistics.not_less([0.0, 0.0], -1.0) == 0.0
    assert statistics.not_less([-2.0, -2.0], -1.0) == 1.0
    assert statistics.not_less([0.0], -1.0) is None


def test_holm():
    assert statistics.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert statistics.holm([None]) == [None]
    assert statistics.holm([]) == []


def test_repeats_fall_where_it_is_said():
    random = np.random.default_rng(0)
    draws = random.normal(90, 0.5, size=(20_000, 6))
    inside = 0
    for *seen, another in draws[:2000]:
        found = statistics.mean_interval(seen)
        of_one = statistics.student_interval(found.mean, found.deviation, found.n - 1)
        low, high = statistics.repeated(found.mean, of_one, found.n)
        inside += low <= another <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)
    for n in (1, 5):
        *seen, another = random.binomial(2000, 0.9, size=(n + 1, 2000)) / 2000
        means = np.mean(seen, axis=0)
        ranges = [statistics.repeated(m, statistics.wilson(m, 2000), n) for m in means]
        inside = sum(low <= a <= high for (low, high), a in zip(ranges, another, strict=True))
        assert inside / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_pooled_deviation_is_that_of_the_analysis_of_variance():
    random = np.random.default_rng(1)
    groups = [random.normal(mean, 2, size) for mean, size in ((0, 5), (70, 3), (-4, 4))]
    deviation, degrees = statistics.pooled_deviation([list(group) for group in groups])
    about_means = np.concatenate([group - group.mean() for group in groups])
    assert degrees == 9
    assert deviation == pytest.approx(math.sqrt((about_means**2).sum() / degrees))
    inside = 0
    for draws in random.normal(90, 0.5, size=(2000, 9)):
        *of_others, ours, another = draws
        others = [of_others[:3], of_others[3:5], of_others[5:]]
        deviation, degrees = statistics.pooled_deviation(others)
        of_one = statistics.student_interval(ours, deviation, degrees)
        low, high = statistics.repeated(ours, of_one)
        inside += low <= another <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)
