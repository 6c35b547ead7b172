"""Intervals and tests, thin over scipy and statsmodels: 95% intervals, two-sided tests.

What is compared decides the test:

* Two settings over several configurations: the paired t test on the configurations' differences.
* Two configurations, by their seeds: `of_sides`, with the deviation between seeds.
* Two trained models on the same test images: McNemar's test. It knows nothing of what another
  seed would give, so it never decides a claim about settings (Dietterich 1998).

Seeds draw their splits from the same images, so that their results are not independent. Nadeau and
Bengio (2003) correct the variance of a mean of n seeds from 1/n to 1/n plus the ratio of test
images to training images.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, variance
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats
from statsmodels.stats import contingency_tables, proportion

CONFIDENCE = 0.95
ALPHA = 0.05

# McNemar's chi-square needs this many discordant pairs; below, the exact binomial test is used.
EXACT_BELOW = 25

# The chance of finding an effect that is there, as usual for planning.
POWER = 0.8

# From so many seeds on the spread of a configuration's own is used. Student's quantile is 12.7 for
# two seeds and 4.3 for three: ranges that hold nearly anything. For five it is 2.8.
ENOUGH_SEEDS = 5
# With fewer configurations, how their effects spread is not known.
FEWEST_UNITS = 5

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
        error: standard error of `effect`, of its logarithm for a ratio; None where not known.
        degrees: of freedom of `error`.
    """

    effect: float
    interval: Interval | None
    p_value: float | None
    n: int
    method: str
    cohens_d: float | None = None
    error: float | None = None
    degrees: float | None = None


@dataclass(frozen=True)
class Side:
    """The seeds of one configuration.

    Attributes:
        values: seed -> the value.
        deviation: between seeds; None where nothing tells.
        degrees: of freedom of `deviation`.
        overlap: Nadeau and Bengio's ratio of test images to training images; 0 where splits do
            not matter, as for times.
    """

    values: Mapping[Any, float]
    deviation: float | None
    degrees: float
    overlap: float = 0.0

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return fmean(self.values.values())

    def variance(self, n: int | None = None) -> float:
        """Return the variance of the mean over `n` seeds, by default those that there are.

        It is corrected for splits that overlap; infinite where no deviation is known.
        """
        if self.deviation is None:
            return math.inf
        return self.deviation**2 * (1 / (n or len(self.values)) + self.overlap)


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


def student_interval(mean: float, deviation: float, degrees: float) -> Interval:
    """Return the interval of a value of this mean and deviation, with Student's t."""
    if deviation == 0:
        # scipy gives no numbers for a distribution without width.
        return mean, mean
    low, high = _standard_interval(degrees)
    return low * deviation + mean, high * deviation + mean


@cache
def _standard_interval(degrees: float) -> Interval:
    low, high = stats.t.interval(CONFIDENCE, degrees)
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
        return Comparison(
            effect, (effect, effect), p_value, n, "paired t test", error=0.0, degrees=n - 1
        )
    result = stats.ttest_1samp(differences, popmean=against)
    low, high = result.confidence_interval(CONFIDENCE)
    deviation = float(np.std(differences, ddof=1))
    return Comparison(
        effect,
        (float(low), float(high)),
        float(result.pvalue),
        n,
        "paired t test",
        effect / deviation,
        deviation / math.sqrt(n),
        n - 1,
    )


def of_sides(first: Side, second: Side) -> Comparison:
    """Compare the means of two configurations, from all seeds of both.

    The variances of both sides add up, with Satterthwaite's degrees of freedom (Welch's test, of
    own or pooled deviations). With `ENOUGH_SEEDS` common seeds or more, which have their splits in
    common, their covariance is taken off; if these are all seeds, that is the paired t test.
    """
    effect = first.mean - second.mean
    n = len(first.values) + len(second.values)
    if first.deviation is None or second.deviation is None:
        return Comparison(effect, None, None, n, "seeds whose spread is not known")
    common = _common(first, second)
    if len(common) >= ENOUGH_SEEDS:
        error = _error_on_common(first, second, len(first.values), len(second.values), len(common))
        return student(effect, error, len(common) - 1, n, "t test on common seeds")
    error, degrees = summed((side.variance(), side.degrees) for side in (first, second))
    return student(effect, error, degrees, n, "t test, deviation between seeds")


def planned(first: Side, second: Side, seeds: int) -> tuple[float, float]:
    """Return the standard error of a difference and its degrees of freedom, with more seeds.

    They are those that `of_sides` will find if deviations and covariance stay as they are. A
    covariance that fewer than `ENOUGH_SEEDS` common seeds tell of is taken for 0.

    Args:
        first: one configuration, whose deviation is known.
        second: the other one, likewise.
        seeds: how many a side has then, if it has not more already; new ones are common to both.
    """
    n, m = (max(seeds, len(side.values)) for side in (first, second))
    common = _common(first, second)
    in_common = len(common) + min(n - len(first.values), m - len(second.values))
    if len(common) >= ENOUGH_SEEDS:
        return _error_on_common(first, second, n, m, in_common), in_common - 1
    error, degrees = summed(
        (side.variance(k), max(side.degrees, k - 1 if k >= ENOUGH_SEEDS else 0))
        for side, k in ((first, n), (second, m))
    )
    return error, in_common - 1 if in_common >= ENOUGH_SEEDS else degrees


def _common(first: Side, second: Side) -> list[Any]:
    return [seed for seed in first.values if seed in second.values]


def _error_on_common(first: Side, second: Side, n: int, m: int, in_common: int) -> float:
    """Return the standard error of a difference of n and m seeds, of which some are common."""
    common = _common(first, second)
    values = [[side.values[seed] for seed in common] for side in (first, second)]
    covariance = max(0.0, float(np.cov(values[0], values[1])[0, 1]))
    shared = in_common / (n * m) + min(first.overlap, second.overlap)
    own = sum(
        variance(side.values.values()) * (1 / k + side.overlap)
        for side, k in ((first, n), (second, m))
    )
    return math.sqrt(max(0.0, own - 2 * covariance * shared))


def summed(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error of a sum of independent parts, and its degrees of freedom.

    These are Satterthwaite's (1946).

    Args:
        parts: variance of each, and the degrees of freedom that it is known with.
    """
    known = list(parts)
    total = sum(variance for variance, _ in known)
    weights = sum(variance**2 / degrees for variance, degrees in known if variance)
    return math.sqrt(total), total**2 / weights if weights else sum(d for _, d in known)


def student(effect: float, error: float, degrees: float, n: int, method: str) -> Comparison:
    """Test whether an effect of this standard error is 0, with Student's t."""
    if error == 0:
        p_value = float(effect == 0)
    else:
        p_value = float(2 * stats.t.sf(abs(effect) / error, degrees))
    interval = student_interval(effect, error, degrees)
    return Comparison(effect, interval, p_value, n, method, error=error, degrees=degrees)


def above(test: Comparison, bound: float) -> float | None:
    """Return the one-sided p-value of "the effect is above `bound`"; None where not testable."""
    if test.error is None or test.degrees is None:
        return None
    if test.error == 0:
        return 0.0 if test.effect > bound else 1.0
    return float(stats.t.sf((test.effect - bound) / test.error, test.degrees))


def below(test: Comparison, bound: float) -> float | None:
    """Return the one-sided p-value of "the effect is below `bound`"; None where not testable."""
    return above(replace(test, effect=-test.effect), -bound)


def within(test: Comparison, margin: float) -> float | None:
    """Return the p-value of "the effect is within `margin` of 0": two one-sided t tests."""
    tails = above(test, -margin), below(test, margin)
    return None if tails[0] is None or tails[1] is None else max(tails[0], tails[1])


def one_sided_reach(error: float, degrees: float) -> float:
    """Return how far a one-sided 95% bound lies from an effect of this standard error."""
    return float(stats.t.ppf(CONFIDENCE, degrees)) * error


def detectable(error: float, degrees: float, alpha: float = ALPHA) -> float:
    """Return the smallest effect that a two-sided t test finds with a chance of 80%.

    From the noncentral t distribution: `scipy.special.nctdtrinc`.
    """
    return _detectable_errors(degrees, alpha) * error


@cache
def _detectable_errors(degrees: float, alpha: float) -> float:
    critical = stats.t.isf(alpha / 2, degrees)
    return float(special.nctdtrinc(degrees, 1 - POWER, critical))


def found(effect: float, error: float, degrees: float, alpha: float = ALPHA) -> bool:
    """Return whether a true effect is found with a chance of 80% or more, by a two-sided t test."""
    return detectable(error, degrees, alpha) <= abs(effect)


def probability(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how often a run of the first is above one of the second, equal ones counting half."""
    signs = np.sign(np.subtract.outer(np.asarray(first), np.asarray(second)))
    return float(0.5 + signs.mean() / 2)


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> Comparison:
    """McNemar's test of two models on the same images, from which of them each got right.

    `statsmodels.stats.contingency_tables.mcnemar`: exact (binomial) for fewer than `EXACT_BELOW`
    images on which just one is right, else chi-square with continuity correction. The effect is
    the difference of the accuracies, its interval that of a mean of paired differences
    (`scipy.stats.ttest_rel`). It speaks of these two models, not of how they were trained.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    neither = int((~first & ~second).sum())
    both = len(first) - only_first - only_second - neither
    effect = (only_first - only_second) / len(first)
    on_images = paired(list(first.astype(float) - second.astype(float)))
    exact = only_first + only_second < EXACT_BELOW
    result = contingency_tables.mcnemar(
        [[both, only_first], [only_second, neither]], exact=exact, correction=True
    )
    method = "McNemar's test, " + ("exact" if exact else "chi-square, corrected")
    return Comparison(effect, on_images.interval, float(result.pvalue), len(first), method)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment over those that are there.

    As by `statsmodels.stats.multitest.multipletests`, which collects garbage in every call: with a
    report in memory that takes a quarter of a second.
    """
    known = np.array([p for p in p_values if p is not None])
    order = np.argsort(known)
    factors = np.arange(len(known), 0, -1)
    adjusted = np.empty(len(known))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(known[order] * factors))
    values = iter(adjusted)
    return [None if p is None else float(next(values)) for p in p_values]


def _constant(values: Sequence[float]) -> bool:
    """Return whether the values differ by no more than floating-point rounding."""
    return max(values) - min(values) <= 1e-9 * max(1.0, *map(abs, values))
