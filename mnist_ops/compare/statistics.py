"""Intervals and tests, thin over scipy and statsmodels: 95% intervals, two-sided tests.

Which test compares two things is decided by what there is, always in the same order:

* Repeats of both (matched cells, or seeds): the paired t test on their differences. It is used
  throughout rather than Wilcoxon's signed ranks: its interval is one of the quantity that is
  reported, the mean difference, and it can speak from a handful of seeds, where signed ranks
  cannot reach 5% below six pairs.
* One run of each, with predictions for the same test images: McNemar's test.
* One run of each without them: two independent proportions. Models that are wrong on the same
  images differ less by chance than independent ones, so this errs on the side of "cannot tell".
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats import contingency_tables, multitest, proportion, weightstats

CONFIDENCE = 0.95
ALPHA = 0.05

# McNemar's chi-square needs this many discordant pairs; below, the exact binomial test is used.
EXACT_BELOW = 25

Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over repeats.

    Attributes:
        mean: of the values.
        deviation: of the sample (n - 1); None for a single value.
        interval: Student's t, 95%; None for a single value.
        n: number of values.
    """

    mean: float
    deviation: float | None
    interval: Interval | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """One thing against another.

    Attributes:
        effect: how much more the first has than the second: a difference, or a ratio.
        interval: 95%, of `effect`; None where there is none.
        p_value: two-sided; None where nothing can be tested.
        n: pairs, or test images, that the comparison rests on.
        method: the name of the test.
        cohens_d: mean difference over the deviation of the differences; None where the
            differences do not vary, or are not what was tested.
    """

    effect: float
    interval: Interval | None
    p_value: float | None
    n: int
    method: str
    cohens_d: float | None = None


def wilson(accuracy: float, n: int) -> Interval:
    """Wilson's score interval of an accuracy, 0 to 1, on `n` images.

    From `statsmodels.stats.proportion.proportion_confint`.
    """
    low, high = proportion.proportion_confint(
        round(accuracy * n), n, alpha=1 - CONFIDENCE, method="wilson"
    )
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> Mean:
    """Mean, sample deviation and t interval (`scipy.stats.t.interval`) of `values`, at least 1."""
    mean = fmean(values)
    if len(values) < 2:
        return Mean(mean, None, None, len(values))
    deviation = float(np.std(values, ddof=1))
    return Mean(mean, deviation, t_interval(mean, deviation, len(values)), len(values))


def t_interval(mean: float, deviation: float, n: int) -> Interval:
    """Student's t interval of a mean of `n` values (at least 2) of this sample deviation."""
    return student_interval(mean, deviation * math.sqrt(1 / n), n - 1)


def student_interval(mean: float, deviation: float, degrees: int) -> Interval:
    """Return the interval of a value of this mean and deviation, with Student's t."""
    if deviation == 0:
        # scipy gives no numbers for a distribution without width.
        return mean, mean
    low, high = stats.t.interval(CONFIDENCE, degrees, loc=mean, scale=deviation)
    return float(low), float(high)


def pooled_deviation(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the pooled standard deviation of groups of at least 2 values, and its degrees.

    The root of the mean of their variances, weighted by degrees of freedom, as in the analysis of
    variance.
    """
    spreads = [(variance(values), len(values) - 1) for values in groups]
    degrees = sum(own for _, own in spreads)
    return math.sqrt(sum(of_group * own for of_group, own in spreads) / degrees), degrees


def repeated(value: float, interval: Interval, n: int = 1) -> Interval:
    """Return the interval in which a repeated measurement falls.

    Args:
        value: the mean of `n` measurements.
        interval: of what is measured, as one measurement of this value gives it.
        n: how many there were; each varies by chance as much as the repeat does.
    """
    low, high = interval
    wider = math.sqrt(1 + 1 / n)
    return value - wider * (value - low), value + wider * (high - value)


def paired(differences: Sequence[float], against: float = 0.0) -> Comparison:
    """Test whether the mean of `differences` is `against`: the paired t test.

    `scipy.stats.ttest_rel` of two samples is `scipy.stats.ttest_1samp` of their differences. One
    difference gives an effect without interval and test. Differences that are all the same have
    an interval without width; the test then says 1 if they are `against`, or else 0.
    """
    n = len(differences)
    effect = fmean(differences)
    if n < 2:
        return Comparison(effect, None, None, n, "a single pair")
    if _constant(differences):
        p_value = 1.0 if _constant([*differences, against]) else 0.0
        return Comparison(effect, (effect, effect), p_value, n, "paired t test")
    result = stats.ttest_1samp(differences, popmean=against)
    low, high = result.confidence_interval(CONFIDENCE)
    return Comparison(
        effect,
        (float(low), float(high)),
        float(result.pvalue),
        n,
        "paired t test",
        effect / float(np.std(differences, ddof=1)),
    )


def paired_ratios(ratios: Sequence[float], against: float = 1.0) -> Comparison:
    """Test whether the geometric mean of `ratios` is `against`: a t test on logarithms.

    Times differ by factors: their logarithms are what is symmetric about a mean. Effect and
    interval are ratios again.
    """
    logs = paired([math.log(ratio) for ratio in ratios], math.log(against))
    interval = logs.interval and (math.exp(logs.interval[0]), math.exp(logs.interval[1]))
    method = logs.method.replace("paired t test", "paired t test on logarithms")
    return Comparison(math.exp(logs.effect), interval, logs.p_value, logs.n, method, logs.cohens_d)


def mcnemar(first_right: ArrayLike, second_right: ArrayLike, against: float = 0.0) -> Comparison:
    """McNemar's test of two models on the same images, from which of them each got right.

    `statsmodels.stats.contingency_tables.mcnemar`: exact (binomial) for fewer than `EXACT_BELOW`
    images on which just one is right, else chi-square with continuity correction. The effect is
    the difference of the accuracies, its interval that of a mean of paired differences
    (`scipy.stats.ttest_rel`). McNemar's test knows no difference but none: `against` another one
    it is that t test on the images.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    neither = int((~first & ~second).sum())
    both = len(first) - only_first - only_second - neither
    effect = (only_first - only_second) / len(first)
    differences = first.astype(float) - second.astype(float)
    on_images = paired(list(differences), against)
    if against:
        return replace(on_images, method="paired t test on images", cohens_d=None)
    exact = only_first + only_second < EXACT_BELOW
    result = contingency_tables.mcnemar(
        [[both, only_first], [only_second, neither]], exact=exact, correction=True
    )
    method = "McNemar's test, " + ("exact" if exact else "chi-square, corrected")
    return Comparison(effect, on_images.interval, float(result.pvalue), len(first), method)


def independent(
    first: float, n_first: int, second: float, n_second: int, against: float = 0.0
) -> Comparison:
    """Test whether two accuracies, 0 to 1, on different test images differ by `against`.

    Agresti and Caffo's interval and test, which have no trouble with accuracies of 0 and 1:
    `statsmodels.stats.proportion.confint_proportions_2indep` and ``test_proportions_2indep``.
    """
    counts = (round(first * n_first), n_first, round(second * n_second), n_second)
    low, high = proportion.confint_proportions_2indep(
        *counts, compare="diff", method="agresti-caffo", alpha=1 - CONFIDENCE
    )
    # Ratios, which statsmodels works out unasked, are what has trouble.
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = proportion.test_proportions_2indep(
            *counts, value=against, compare="diff", method="agresti-caffo"
        ).pvalue
    return Comparison(
        first - second,
        (float(low), float(high)),
        float(p_value),
        min(n_first, n_second),
        "two independent proportions",
    )


def equivalent(differences: Sequence[float], margin: float) -> float | None:
    """Return the p-value of "the mean difference is within `margin` of 0"; None below two.

    Two one-sided t tests: `statsmodels.stats.weightstats.DescrStatsW.ttost_mean`.
    """
    if len(differences) < 2:
        return None
    if _constant(differences):
        return 0.0 if abs(differences[0]) < margin else 1.0
    return float(weightstats.DescrStatsW(differences).ttost_mean(-margin, margin)[0])


def not_less(differences: Sequence[float], bound: float) -> float | None:
    """Return the p-value of "the mean difference is above `bound`"; None below two.

    One-sided `scipy.stats.ttest_1samp`.
    """
    if len(differences) < 2:
        return None
    if _constant(differences):
        return 0.0 if differences[0] > bound else 1.0
    return float(stats.ttest_1samp(differences, popmean=bound, alternative="greater").pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment over those that are there (`statsmodels.stats.multitest`)."""
    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    adjusted = iter(multitest.multipletests(known, alpha=ALPHA, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def _constant(values: Sequence[float]) -> bool:
    """Return whether the values differ by no more than floating-point rounding."""
    return max(values) - min(values) <= 1e-9 * max(1.0, *map(abs, values))
