"""The outcome of one claim's test, and how sure it is."""

from dataclasses import dataclass, field, replace
from statistics import fmean

from mnist_ops.compare import statistics
from mnist_ops.compare.findings.analyses import others
from mnist_ops.compare.findings.contrast import Contrast, as_ratio
from mnist_ops.compare.findings.finding import Estimate, Grade, Verdict
from mnist_ops.compare.render import p_statement
from mnist_ops.compare.statistics import ALPHA, Comparison, Interval


@dataclass(frozen=True)
class Outcome:
    """What one claim's test said; the fields are those of `Finding`.

    The p-value is not adjusted yet; None for a verdict that needs no test, as of counts.
    """

    verdict: Verdict
    effect: float | None = None
    effect_unit: str = ""
    interval: Interval | None = None
    p_value: float | None = None
    n: int = 0
    explanation: str = ""
    missing: str = ""
    grade: Grade = field(default_factory=Grade)


def nothing(missing: str) -> Outcome:
    """Return the outcome of a claim that there is nothing to test on."""
    return Outcome(Verdict.UNDECIDABLE, explanation="Nothing to compare.", missing=missing)


def of_test(test: Comparison, unit: str, explanation: str) -> Outcome:
    """Return the numbers of a test as an outcome that is not decided yet."""
    return Outcome(
        Verdict.UNDECIDABLE,
        effect=test.effect,
        effect_unit=unit,
        interval=test.interval,
        p_value=test.p_value,
        n=test.n,
        explanation=explanation,
    )


def grade_of(contrast: Contrast, test: Comparison, average: Comparison) -> Grade:
    """Return how sure a verdict on a contrast is.

    Args:
        contrast: what is compared.
        test: that the verdict rests on.
        average: the test of the mean over configurations.
    """
    estimate = _estimate("t test over configurations", as_printed(average, contrast))
    analyses = tuple(_rescaled(each, contrast) for each in others(contrast))
    zero = 1.0 if contrast.is_ratio else 0.0
    sign = _sign(estimate, zero)
    agree = all(_sign(each, zero) == sign for each in analyses) if analyses else None
    win = fmean(statistics.probability(*block.values) for block in contrast.blocks)
    smallest = detectable(test)
    if smallest is not None and contrast.is_ratio:
        smallest = as_ratio(smallest)
    return Grade(estimate, win, smallest, analyses=analyses, agree=agree)


def _estimate(name: str, test: Comparison) -> Estimate:
    return Estimate(name, test.effect, test.interval, test.p_value, test.n)


def _rescaled(estimate: Estimate, contrast: Contrast) -> Estimate:
    if not contrast.is_ratio:
        return estimate
    interval = estimate.interval and _ratios(estimate.interval)
    return replace(estimate, effect=as_ratio(estimate.effect), interval=interval)


def _ratios(interval: Interval) -> Interval:
    return as_ratio(interval[0]), as_ratio(interval[1])


def _sign(estimate: Estimate, zero: float) -> int:
    """Return whether the interval lies above, below or about zero: 1, -1, 0."""
    if estimate.interval is None:
        return 0
    low, high = estimate.interval
    return (low > zero) - (high < zero)


def as_printed(test: Comparison, contrast: Contrast) -> Comparison:
    """Return the test with effect and interval as they are printed: ratios for logarithms."""
    if not contrast.is_ratio:
        return test
    interval = test.interval and _ratios(test.interval)
    return replace(test, effect=as_ratio(test.effect), interval=interval)


def detectable(test: Comparison, alpha: float = ALPHA) -> float | None:
    """Return the smallest effect that a test finds with a chance of 80%; None where not known."""
    if test.error is None or test.degrees is None or test.degrees <= 0:
        return None
    return statistics.detectable(test.error, test.degrees, alpha)


def numbers(test: Comparison) -> str:
    """Return effect, interval and p-value of a test in words."""
    p_value = "" if test.p_value is None else f", {p_statement(test.p_value)} before adjusting"
    interval = (
        ""
        if test.interval is None
        else f", 95% interval {test.interval[0]:.3g} to {test.interval[1]:.3g}"
    )
    size = "" if test.cohens_d is None else f", Cohen's d {test.cohens_d:z.2f}"
    return f"{test.effect:.3g}{interval} ({test.method}{p_value}{size})"
