"""How a verdict follows from a test: one rule a kind of claim.

Every rule tests at 5%, two-sided unless it says otherwise, and gives the unadjusted p-value of
the test that its verdict rests on. `mnist_ops.compare.findings` adjusts these over all findings;
a verdict whose test does not stand then becomes undecidable.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mnist_ops.compare import statistics
from mnist_ops.compare.findings.evidence import Contrast, Evidence, Pair
from mnist_ops.compare.findings.finding import Verdict
from mnist_ops.compare.statistics import ALPHA, Comparison, Interval
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import TO_PERCENT
from mnist_ops.core import keys

# What "consistently" and "always" ask of the matched configurations.
MOST = 0.9

# Percentage points: the study's own measure of a difference that does not matter (2.8.4).
MARGIN = 1.0

# Of the configurations that contradict a claim, how many are tested for it.
_TESTED = 3

POINTS = "percentage points of test accuracy"


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


def nothing(missing: str) -> Outcome:
    """Nothing to test on."""
    return Outcome(Verdict.UNDECIDABLE, explanation="Nothing to compare.", missing=missing)


def consistent(evidence: Evidence, contrast: Contrast) -> Outcome:
    """First has the higher test accuracy in (nearly) every matched configuration.

    Refuted if the mean difference over the pairs is significantly below zero (paired t test), or
    a single configuration contradicts it significantly (`Evidence.compare`, Holm-adjusted over
    all configurations). Supported if that mean is significantly above zero and at least 90% of
    the configurations agree. Equal accuracies do not agree.
    """
    if not contrast.pairs:
        return nothing(contrast.needed)
    test = statistics.paired(contrast.differences)
    gaps = _gaps(contrast)
    agreeing = sum(gap > 0 for gap in gaps)
    said = (
        f"{agreeing} of {len(gaps)} matched configurations agree (at least {MOST:.0%} have to); "
        f"{_said(test, contrast)}"
    )
    outcome = _outcome(test, POINTS, said)
    if _significant(test) and test.effect < 0:
        return replace(outcome, verdict=Verdict.REFUTED)
    contrary = _contrary(evidence, contrast, [-gap for gap in gaps])
    if contrary is not None:
        return _refuted_by(outcome, *contrary)
    if _significant(test) and agreeing >= MOST * len(gaps):
        return _covered(replace(outcome, verdict=Verdict.SUPPORTED), contrast)
    return replace(outcome, missing=evidence.more)


def higher(evidence: Evidence, contrast: Contrast) -> Outcome:
    """First has the higher test accuracy on average over the matched pairs.

    Supported or refuted as the mean difference is significantly above or below zero (paired t
    test).
    """
    if not contrast.pairs:
        return nothing(contrast.needed)
    test = statistics.paired(contrast.differences)
    outcome = _outcome(test, POINTS, _said(test, contrast))
    return _covered(_by_sign(outcome, 0.0, evidence), contrast)


def greater_ratio(
    evidence: Evidence, contrast: Contrast, unit: str, against: float = 1.0
) -> Outcome:
    """First over second is more than `against`, in the geometric mean over the matched pairs.

    Supported or refuted as that mean is significantly above or below it (paired t test on
    logarithms).
    """
    if not contrast.pairs:
        return nothing(contrast.needed)
    test = statistics.paired_ratios(contrast.ratios, against)
    outcome = _outcome(test, unit, _said(test, contrast))
    return _covered(_by_sign(outcome, against, evidence), contrast)


def every_ratio(evidence: Evidence, contrast: Contrast, unit: str) -> Outcome:
    """First over second is above 1 in (nearly) every matched pair.

    Refuted as by `greater_ratio`; supported as by it if at least 90% of the pairs are above 1.
    """
    outcome = greater_ratio(evidence, contrast, unit)
    above = sum(ratio > 1 for ratio in contrast.ratios)
    said = f"{above} of {len(contrast.pairs)} pairs above 1 (at least {MOST:.0%} have to be); "
    outcome = replace(outcome, explanation=said + outcome.explanation)
    if outcome.verdict == Verdict.SUPPORTED and above < MOST * len(contrast.pairs):
        return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=evidence.more)
    return outcome


def by_ratio(evidence: Evidence, test: Comparison, unit: str, counted: str) -> Outcome:
    """Judge the claim that a ratio is above 1, by a significance test."""
    return _by_sign(_outcome(test, unit, f"{counted}: {_numbers(test)}."), 1.0, evidence)


def little_difference(evidence: Evidence, contrast: Contrast) -> Outcome:
    """First and second differ by less than one percentage point of test accuracy.

    Refuted if the mean difference over the pairs is significantly more than a point (paired t
    test), or a single configuration's is (`Evidence.compare`, Holm-adjusted over all
    configurations). Supported if that mean is significantly inside plus or minus one point (two
    one-sided t tests) and at least 90% of the configurations differ by less.
    """
    if not contrast.pairs:
        return nothing(contrast.needed)
    test = statistics.paired(contrast.differences)
    gaps = _gaps(contrast)
    inside = sum(abs(gap) < MARGIN for gap in gaps)
    said = (
        f"{inside} of {len(gaps)} matched configurations differ by less than {MARGIN:g} point "
        f"(at least {MOST:.0%} have to), the most by {max(map(abs, gaps)):.2f}; "
        f"{_said(test, contrast)}"
    )
    outcome = _outcome(test, POINTS, said)
    beyond = statistics.paired(contrast.differences, math.copysign(MARGIN, test.effect))
    if abs(test.effect) > MARGIN and _significant(beyond):
        return replace(outcome, verdict=Verdict.REFUTED, p_value=beyond.p_value)
    contrary = _contrary(evidence, contrast, [abs(gap) - MARGIN for gap in gaps], MARGIN)
    if contrary is not None:
        return _refuted_by(outcome, *contrary)
    within = statistics.equivalent(contrast.differences, MARGIN)
    outcome = replace(outcome, p_value=within)
    if within is not None and within < ALPHA and inside >= MOST * len(gaps):
        return _covered(replace(outcome, verdict=Verdict.SUPPORTED), contrast)
    return replace(outcome, missing=evidence.more)


def not_worse(evidence: Evidence, contrast: Contrast) -> Outcome:
    """First is better, or worse by less than one point of test accuracy, on average.

    Supported if the mean difference is significantly above minus one point (one-sided t test),
    refuted if it is significantly below.
    """
    if not contrast.pairs:
        return nothing(contrast.needed)
    test = statistics.paired(contrast.differences)
    outcome = _outcome(test, POINTS, _said(test, contrast))
    below = statistics.paired(contrast.differences, -MARGIN)
    if test.effect < -MARGIN and _significant(below):
        return replace(outcome, verdict=Verdict.REFUTED, p_value=below.p_value)
    p_value = statistics.not_less(contrast.differences, -MARGIN)
    outcome = replace(outcome, p_value=p_value)
    if p_value is not None and p_value < ALPHA:
        return _covered(replace(outcome, verdict=Verdict.SUPPORTED), contrast)
    return replace(outcome, missing=evidence.more)


def by_comparison(evidence: Evidence, test: Comparison | None, said: str, lacking: str) -> Outcome:
    """Judge the claim that one configuration is more accurate, by a significance test.

    `test` as of `Evidence.compare`; `lacking` says what is needed where it is None.
    """
    if test is None:
        return nothing(lacking)
    outcome = _outcome(test, POINTS, f"{said} {_numbers(test)}.")
    return _by_sign(outcome, 0.0, evidence)


def all_hold(parts: Mapping[str, Outcome]) -> Outcome:
    """Judge a claim of several parts: supported if all are, refuted if one is.

    If all have to hold, the weakest decides: the p-value is the largest (intersection-union
    test). If one is enough to refute, that one decides, its p-value times the number of parts
    (Bonferroni). Effect, interval and n are those of the part that decides.
    """
    by_verdict = {
        verdict: [name for name, part in parts.items() if part.verdict == verdict]
        for verdict in Verdict
    }
    explanation = " ".join(f"{name}: {part.explanation}" for name, part in parts.items())
    if refuting := by_verdict[Verdict.REFUTED]:
        part = min((parts[name] for name in refuting), key=_p_or(0.0))
        p_value = None if part.p_value is None else min(1.0, part.p_value * len(parts))
        verdict = Verdict.REFUTED if p_value is None or p_value < ALPHA else Verdict.UNDECIDABLE
        missing = "" if verdict == Verdict.REFUTED else "more seeds"
        return replace(
            part, verdict=verdict, p_value=p_value, explanation=explanation, missing=missing
        )
    if undecided := by_verdict[Verdict.UNDECIDABLE]:
        measured = [parts[n] for n in undecided if parts[n].effect is not None]
        part = max(measured or [parts[undecided[0]]], key=_p_or(1.0))
        lacking = {name: parts[name].missing for name in undecided}
        texts = dict.fromkeys(lacking.values())
        missing = "; ".join(
            f"{', '.join(name for name in lacking if lacking[name] == text)}: {text}"
            for text in texts
        )
        return replace(part, explanation=explanation, missing=missing)
    return replace(max(parts.values(), key=_p_or(0.0)), explanation=explanation)


def _compare(evidence: Evidence, group: Sequence[Pair], margin: float) -> Comparison | None:
    return evidence.compare([pair.first for pair in group], [pair.second for pair in group], margin)


def _gaps(contrast: Contrast) -> list[float]:
    """Return the difference of each configuration in percentage points, as a mean over seeds."""
    return [
        fmean((pair.values[0] - pair.values[1]) * TO_PERCENT for pair in group)
        for group in contrast.configurations
    ]


def _contrary(
    evidence: Evidence, contrast: Contrast, excess: Sequence[float], margin: float = 0.0
) -> tuple[float, str] | None:
    """Return the adjusted p-value and name of the most contrary configuration, if significant.

    `excess` says by how much each contradicts the claim. Only the `_TESTED` of the most excess
    are tested, so that few predictions are fetched, but all count into the adjustment: that of
    Holm multiplies the lowest p-value by the number of tests.
    """
    groups = contrast.configurations
    ranked = sorted(range(len(groups)), key=lambda i: -excess[i])[:_TESTED]
    tested = [
        (test.p_value, groups[i])
        for i in ranked
        if excess[i] > 0
        and (test := _compare(evidence, groups[i], margin))
        and test.p_value is not None
    ]
    if not tested:
        return None
    lowest, group = min(tested, key=lambda each: each[0])
    adjusted = lowest * len(groups)
    return (adjusted, _name(group[0], group)) if adjusted < ALPHA else None


def _name(pair: Pair, among: Sequence[Pair]) -> str:
    """Return what both cells of a pair share, in the words of the tables."""
    shared = {
        name: value
        for name, value in pair.first.params.items()
        if pair.second.params.get(name) == value and name != keys.MODEL
    }
    model = pair.first.params.get(keys.MODEL)
    named = [str(pair.first.params.get(keys.DATASET, "")), configuration(shared)]
    # The method with kernels has one model.
    if model == pair.second.params.get(keys.MODEL) and keys.KERNEL not in pair.first.params:
        named.insert(1, model_label(str(model)))
    seeds = f", {len(among)} seeds" if len(among) > 1 else ""
    return ", ".join(part for part in named if part) + seeds


def _outcome(test: Comparison, unit: str, explanation: str) -> Outcome:
    return Outcome(
        Verdict.UNDECIDABLE,
        effect=test.effect,
        effect_unit=unit,
        interval=test.interval,
        p_value=test.p_value,
        n=test.n,
        explanation=explanation,
    )


def _refuted_by(outcome: Outcome, p_value: float, name: str) -> Outcome:
    said = f"{outcome.explanation} Significantly contrary: {name} (p {_p(p_value)})."
    return replace(outcome, verdict=Verdict.REFUTED, p_value=p_value, explanation=said)


def _by_sign(outcome: Outcome, against: float, evidence: Evidence) -> Outcome:
    if outcome.p_value is None or outcome.effect is None or outcome.p_value >= ALPHA:
        return replace(outcome, missing=evidence.more)
    return replace(
        outcome, verdict=Verdict.SUPPORTED if outcome.effect > against else Verdict.REFUTED
    )


def _covered(outcome: Outcome, contrast: Contrast) -> Outcome:
    """Return undecidable in place of supported where a data set was not measured."""
    if outcome.verdict != Verdict.SUPPORTED or not contrast.uncovered:
        return outcome
    return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=contrast.needed)


def _significant(test: Comparison) -> bool:
    return test.p_value is not None and test.p_value < ALPHA


def _said(test: Comparison, contrast: Contrast) -> str:
    return f"{contrast.counted}: {_numbers(test)}."


def _numbers(test: Comparison) -> str:
    p_value = "" if test.p_value is None else f", p {_p(test.p_value)} before adjusting"
    interval = (
        ""
        if test.interval is None
        else f", 95% interval {test.interval[0]:.3g} to {test.interval[1]:.3g}"
    )
    size = "" if test.cohens_d is None else f", Cohen's d {test.cohens_d:.2f}"
    return f"{test.effect:.3g}{interval} ({test.method}{p_value}{size})"


def _p(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else f"= {p_value:.2g}"


def _p_or(default: float) -> Callable[[Outcome], float]:
    return lambda part: default if part.p_value is None else part.p_value
