"""Intervals and tests: the numbers that scipy and statsmodels give, and the degenerate cases."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import proportion
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from mnist_ops.compare import statistics
from mnist_ops.compare.statistics import Side

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


def side(values, deviation=None, degrees=0.0, overlap=0.0):
    return Side(dict(enumerate(values)), deviation, degrees, overlap)


def own(values, overlap=0.0):
    return side(values, float(np.std(values, ddof=1)), len(values) - 1, overlap)


def test_two_configurations_without_common_seeds_are_welchs():
    first, second = [0.1, 0.4, 0.2, 0.3, 0.9, 0.4], [0.0, 0.2, 0.1, 0.6, 0.3]
    later = Side({seed + 100: v for seed, v in enumerate(second)}, np.std(second, ddof=1), 4)
    found = statistics.of_sides(own(first), later)
    by_hand = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(by_hand.pvalue)
    assert found.interval == pytest.approx(tuple(by_hand.confidence_interval()))
    assert found.n == 11


def test_common_seeds_are_the_paired_test():
    first, second = [0.1, 0.4, 0.2, 0.3, 0.9], [0.0, 0.2, 0.1, 0.25, 0.6]
    found = statistics.of_sides(own(first), own(second))
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found.degrees == 4


@pytest.mark.parametrize("overlap", [0.0, 2 / 7])
@pytest.mark.parametrize("size", [3, 8])
def test_what_is_planned_is_what_the_test_finds(size, overlap):
    rng = np.random.default_rng(size)
    images = rng.normal(size=size)
    pair = [own(list(images + rng.normal(size=size)), overlap) for _ in range(2)]
    error, degrees = statistics.planned(*pair, size)
    found = statistics.of_sides(*pair)
    assert (error, degrees) == pytest.approx((found.error, found.degrees))
    more, further = statistics.planned(*pair, 2 * size)
    assert more < error
    assert further == 2 * size - 1
    # Without end, the splits' overlap is left.
    assert (statistics.planned(*pair, 10**9)[0] > 0.01) == (overlap > 0)


def test_overlapping_splits_are_corrected_for_as_by_nadeau_and_bengio():
    first, second = [0.1, 0.4, 0.2, 0.3, 0.9], [0.0, 0.2, 0.1, 0.25, 0.6]
    ratio = 14_000 / 49_000
    found = statistics.of_sides(own(first, ratio), own(second, ratio))
    differences = np.subtract(first, second)
    error = np.std(differences, ddof=1) * math.sqrt(1 / 5 + ratio)
    assert found.error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / error, 4))


def test_a_pooled_deviation_and_all_seeds_of_both():
    found = statistics.of_sides(side([1.0], 0.2, 6), side([0.0, 0.2, 0.1], 0.2, 6))
    assert found.effect == pytest.approx(0.9)
    assert found.error == pytest.approx(0.2 * math.sqrt(1 + 1 / 3))
    assert found.n == 4


def test_without_a_deviation_nothing_is_tested():
    found = statistics.of_sides(side([1.0]), side([0.0]))
    assert (found.effect, found.interval, found.p_value) == (1.0, None, None)


def test_equivalence_is_two_one_sided_tests():
    points = [100 * d for d in DIFFERENCES]
    zeros = np.zeros(len(points))
    assert statistics.within(statistics.paired(points), 1.0) == pytest.approx(
        ttost_paired(np.array(points), zeros, -1.0, 1.0)[0]
    )
    assert statistics.within(statistics.paired([0.0, 0.0]), 1.0) == 0.0
    assert statistics.within(statistics.paired([2.0, 2.0]), 1.0) == 1.0
    assert statistics.within(statistics.paired([0.1]), 1.0) is None


def test_one_sided():
    points = [100 * d for d in DIFFERENCES]
    found = statistics.paired(points)
    for side_of, alternative in ((statistics.above, "greater"), (statistics.below, "less")):
        assert side_of(found, -1.0) == pytest.approx(
            stats.ttest_1samp(points, -1.0, alternative=alternative).pvalue
        )


@pytest.mark.parametrize("degrees", [2, 5, 30])
def test_the_smallest_effect_found_is_that_of_a_power_analysis(degrees):
    size = TTestPower().solve_power(nobs=degrees + 1, alpha=0.05, power=0.8)
    expected = size * math.sqrt(degrees + 1)
    assert statistics.detectable(1.0, degrees) == pytest.approx(expected, rel=1e-4)
    assert statistics.found(expected * 1.01, 1.0, degrees)
    assert not statistics.found(expected * 0.99, 1.0, degrees)


def test_probability_is_mann_and_whitneys():
    first, second = [1.0, 2.0, 3.0], [2.0, 0.5]
    statistic = stats.mannwhitneyu(first, second).statistic
    assert statistics.probability(first, second) == pytest.approx(statistic / 6)


def test_holm_is_statsmodels():
    p_values = list(np.random.default_rng(3).uniform(0, 0.2, 15))
    expected = multipletests(p_values, method="holm")[1]
    assert statistics.holm(p_values) == pytest.approx(list(expected))


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
