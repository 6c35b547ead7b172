"""How a verdict follows from a test: one rule a kind of claim.

Every rule tests at 5%, two-sided unless it says otherwise, and gives effect, interval and
unadjusted p-value of the test that its verdict rests on. `mnist_ops.compare.findings` adjusts the
p-values over all findings; a verdict whose test does not stand then becomes undecidable.

The unit is a training, and a configuration is a block of them. A claim about every configuration
is tested in each, against the deviation between seeds. A claim about the average is tested over
the configurations, each with equal weight.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mnist_ops.compare import statistics
from mnist_ops.compare.findings import need as needs
from mnist_ops.compare.findings.contrast import Block, Contrast, mean_test
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Grade, Verdict
from mnist_ops.compare.findings.interaction import interaction, matched
from mnist_ops.compare.findings.need import Goal, MoreSeeds
from mnist_ops.compare.findings.outcome import (
    Outcome,
    as_printed,
    detectable,
    grade_of,
    nothing,
    numbers,
    of_test,
)
from mnist_ops.compare.seed_noise import ACCURACY
from mnist_ops.compare.statistics import ALPHA, FEWEST_UNITS, Comparison
from mnist_ops.compare.tables.measure import Group

# What share of the configurations "consistently" and "always" ask for.
MOST = 0.9

# Percentage points: the study's own measure of a difference that does not matter (2.8.4).
MARGIN = 1.0

POINTS = "percentage points of test accuracy"


@dataclass(frozen=True)
class _Kind:
    """What is to be shown of one configuration, as p-values.

    Attributes:
        shown: that the claim holds there; None where it cannot be tested.
        contrary: that it does not.
        distance: how far the effect is inside the claim; below zero where it is outside.
        agrees: whether the effect, as measured, is as claimed.
        said: what a configuration does that agrees.
        sides: 2 if `shown` is two-sided, else 1.
    """

    shown: Callable[[Comparison], float | None]
    contrary: Callable[[Comparison], float | None]
    distance: Callable[[float], float]
    agrees: Callable[[float], bool]
    said: str
    sides: int = 2


def _twice(p_value: float | None) -> float | None:
    return None if p_value is None else min(1.0, 2 * p_value)


def _higher(by: float) -> _Kind:
    return _Kind(
        shown=lambda test: _twice(statistics.above(test, by)),
        contrary=lambda test: _twice(statistics.below(test, by)),
        distance=lambda effect: effect - by,
        agrees=lambda effect: effect > by,
        said=f"are higher by more than {by:g} points" if by else "agree",
    )


def _little(margin: float) -> _Kind:
    def outside(test: Comparison) -> float | None:
        far = replace(test, effect=abs(test.effect))
        return _twice(statistics.above(far, margin))

    return _Kind(
        shown=lambda test: statistics.within(test, margin),
        contrary=outside,
        distance=lambda effect: margin - abs(effect),
        agrees=lambda effect: abs(effect) < margin,
        said=f"differ by less than {margin:g} point{'' if margin == 1 else 's'}",
        sides=1,
    )


_NOT_WORSE = _Kind(
    shown=lambda test: statistics.above(test, -MARGIN),
    contrary=lambda test: _twice(statistics.below(test, -MARGIN)),
    distance=lambda effect: effect + MARGIN,
    agrees=lambda effect: effect > -MARGIN,
    said=f"are better, or worse by less than {MARGIN:g} point",
    sides=1,
)


def consistent(
    evidence: Evidence, contrast: Contrast, unit: str = POINTS, by: float = 0.0
) -> Outcome:
    """First is higher, by more than `by`, in (nearly) every matched configuration.

    Each configuration is tested by `Evidence.compare`, all seeds of both sides. Supported if at
    least 90% are shown to be higher (Holm-adjusted over the configurations) and none is shown to
    be lower; refuted if one is shown to be lower, or the mean over all is.
    """
    return _everywhere(evidence, contrast, _higher(by), unit)


def little_difference(evidence: Evidence, contrast: Contrast, margin: float = MARGIN) -> Outcome:
    """First and second differ by less than `margin` in (nearly) every configuration.

    As `consistent`, each configuration being shown to differ by less by two one-sided t tests, and
    contrary if it is shown to differ by more.
    """
    return _everywhere(evidence, contrast, _little(margin), POINTS)


def not_worse(evidence: Evidence, contrast: Contrast) -> Outcome:
    """First is better, or worse by less than a point, in (nearly) every configuration.

    As `consistent`, each configuration being shown not to be worse by a one-sided t test, and
    contrary if it is shown to be worse by more than a point.
    """
    return _everywhere(evidence, contrast, _NOT_WORSE, POINTS)


def higher(evidence: Evidence, contrast: Contrast, by: float = 0.0) -> Outcome:
    """First has the higher test accuracy, by more than `by`, on average over configurations.

    Supported or refuted as the mean difference, one a configuration, is significantly above or
    below `by` (t test over configurations). If it is neither of zero, and significantly within one
    point of it (two one-sided t tests), there is no difference that matters.
    """
    outcome = _on_average(evidence, contrast, POINTS, by, None if by else MARGIN)
    tested = f" Tested: higher by more than {by:g} points." if by and contrast.blocks else ""
    return replace(outcome, explanation=outcome.explanation + tested)


def equal(evidence: Evidence, contrast: Contrast, margin: float = MARGIN) -> Outcome:
    """First and second differ by less than `margin` on average over configurations.

    Supported if the mean difference, one a configuration, is significantly within `margin` of zero
    (two one-sided t tests over configurations); refuted if it is significantly outside.
    """
    if not contrast.blocks:
        return nothing(contrast.needed)
    kind, units = _little(margin), contrast.units
    test = _over(evidence, contrast)
    inside, outside = kind.shown(test), kind.contrary(test)
    grade = grade_of(contrast, test, mean_test(contrast))
    refuted = outside is not None and outside < evidence.alpha
    test = replace(test, p_value=outside if refuted else inside)
    said = f"{contrast.counted}: {numbers(test)}. Tested: apart by less than {margin:g} points."
    outcome = of_test(test, POINTS, said)
    outcome = replace(outcome, n=len(units), grade=grade)
    if refuted:
        return replace(outcome, verdict=Verdict.REFUTED)
    if inside is not None and inside < evidence.alpha:
        return _covered(replace(outcome, verdict=Verdict.SUPPORTED), contrast)
    distance = kind.distance(test.effect)
    goal = Goal(abs(distance), 2 * evidence.alpha if distance > 0 else evidence.alpha)
    outcome = replace(outcome, missing=_uncovered(contrast))
    return _with_need(outcome, needs.on_average(evidence, contrast, goal))


def greater_ratio(
    evidence: Evidence, contrast: Contrast, unit: str, against: float = 1.0
) -> Outcome:
    """First over second is more than `against`, in the geometric mean over the configurations.

    Supported or refuted as that mean is significantly above or below it (t test over
    configurations, on logarithms).
    """
    return _on_average(evidence, contrast, unit, math.log(against))


def greater_effect(
    evidence: Evidence, contrast: Contrast, unit: str, name: str, first: object, second: object
) -> Outcome:
    """The ratio of a contrast is larger at one value of the param `name` than at another.

    The ratios of configurations that differ in it alone are matched. Their own ratio is tested as
    by `greater_ratio`.
    """
    pairs = matched(contrast.blocks, name, first, second)
    if not pairs:
        return nothing(contrast.needed)
    effects = [a.effect - b.effect for a, b in pairs]
    if len(pairs) >= FEWEST_UNITS:
        test = statistics.paired(effects)
    else:
        tests = [_of_block(evidence, block) for pair in pairs for block in pair]
        test = _combined(fmean(effects), tests, len(pairs))
    printed = as_printed(test, contrast)
    said = f"{len(pairs)} matched: {numbers(printed)}."
    outcome = _by_sign(of_test(printed, unit, said), test, evidence.alpha)
    undecided = outcome.verdict == Verdict.UNDECIDABLE
    return replace(outcome, missing=evidence.more) if undecided else outcome


def by_comparison(
    evidence: Evidence, first: Group, second: Group, said: str, lacking: str
) -> Outcome:
    """Judge the claim that one configuration is more accurate than another.

    By `Evidence.compare`, all seeds of both; within a point of each other by two one-sided tests,
    they have no difference that matters. `lacking` says what is needed where nothing is measured.
    """
    test = evidence.compare(first, second)
    if test is None:
        return nothing(lacking)
    outcome = of_test(test, POINTS, f"{said} {numbers(test)}.")
    block = Block(tuple(first), tuple(second), ACCURACY)
    values = block.values
    grade = Grade(
        probability=statistics.probability(*values),
        detectable=detectable(test),
    )
    outcome = _by_sign(replace(outcome, grade=grade), test, evidence.alpha, MARGIN)
    alpha = evidence.alpha
    goals = [Goal(abs(test.effect), alpha), Goal(MARGIN - abs(test.effect), 2 * alpha)]
    plans = [needs.of_blocks(evidence, [block], goal) for goal in goals]
    return _with_need(outcome, needs.cheapest(plans))


def all_hold(parts: Mapping[str, Outcome]) -> Outcome:
    """Judge a claim of several parts: supported if all are, refuted if one is.

    If all have to hold, the weakest decides: the p-value is the largest (intersection-union
    test). If one is enough to refute, that one decides, its p-value times the number of parts
    (Bonferroni). A part without a difference that matters does not hold. Effect, interval and n
    are those of the part that decides.
    """
    by_verdict = {
        verdict: [name for name, part in parts.items() if part.verdict == verdict]
        for verdict in Verdict
    }
    explanation = " ".join(f"{name}: {part.explanation}" for name, part in parts.items())
    confound = " ".join(dict.fromkeys(p.grade.confound for p in parts.values() if p.grade.confound))

    def decided(part: Outcome) -> Outcome:
        grade = replace(part.grade, confound=confound)
        return replace(part, explanation=explanation, grade=grade)

    if refuting := by_verdict[Verdict.REFUTED]:
        part = min((parts[name] for name in refuting), key=_p_or(0.0))
        p_value = None if part.p_value is None else min(1.0, part.p_value * len(parts))
        if p_value is None or p_value < ALPHA:
            return replace(decided(part), p_value=p_value)
        undecided = replace(part, verdict=Verdict.UNDECIDABLE, p_value=p_value)
        return replace(decided(undecided), missing="more seeds")
    if names := by_verdict[Verdict.UNDECIDABLE]:
        measured = [parts[n] for n in names if parts[n].effect is not None]
        part = max(measured or [parts[names[0]]], key=_p_or(1.0))
        lacking = {name: parts[name].missing for name in names}
        texts = dict.fromkeys(lacking.values())
        missing = "; ".join(
            f"{', '.join(name for name in lacking if lacking[name] == text)}: {text}"
            for text in texts
        )
        found = [parts[name].grade.need for name in names]
        known = [each for each in found if each is not None]
        need = (
            needs.total(cell for each in known for cell in each.cells)
            if len(known) == len(found)
            else None
        )
        outcome = replace(decided(part), missing=missing)
        return replace(outcome, grade=replace(outcome.grade, need=need))
    equal = by_verdict[Verdict.NO_DIFFERENCE]
    deciding = [parts[name] for name in equal] or list(parts.values())
    return decided(max(deciding, key=_p_or(0.0)))


def _everywhere(evidence: Evidence, contrast: Contrast, kind: _Kind, unit: str) -> Outcome:
    blocks, alpha = contrast.blocks, evidence.alpha
    if not blocks:
        return nothing(contrast.needed)
    tests = [_of_block(evidence, block) for block in blocks]
    shown = _adjusted(kind.shown(test) for test in tests)
    against = _adjusted(kind.contrary(test) for test in tests)
    required = math.ceil(MOST * len(blocks) - 1e-9)
    # The adjusted ones are often equal.
    order = sorted(range(len(blocks)), key=lambda i: _known(kind.shown(tests[i])))
    weakest, contrary = order[required - 1], min(range(len(blocks)), key=lambda i: against[i])
    holding = sum(p < alpha for p in shown)
    average = mean_test(contrast)
    # A mean that is contrary makes at least one configuration so: the second of two ways.
    mean_against = 2 * (kind.contrary(average) or 0.0) if average.error is not None else 1.0
    outside = (against[contrary] < alpha / 2, mean_against < alpha)
    agreeing = sum(kind.agrees(block.effect) for block in blocks)
    said = (
        f"{agreeing} of {len(blocks)} matched configurations {kind.said}, "
        f"{holding} {'is' if holding == 1 else 'are'} shown to (at least {required} have to be, "
        f"Holm-adjusted over configurations); {contrast.counted}. "
        f"On average {numbers(as_printed(average, contrast))}."
    )
    grade = grade_of(contrast, tests[weakest], average)
    decides = contrary if outside[0] else weakest
    test = tests[decides]
    named = f"{unit}, in {blocks[decides].name or 'the one configuration'}"
    outcome = of_test(as_printed(test, contrast), named, said)
    outcome = replace(outcome, grade=grade, n=len(blocks), p_value=shown[weakest])
    if outside[0]:
        text = f"{said} Shown to be contrary: {blocks[contrary].name}: {numbers(test)}."
        p_value = min(1.0, 2 * against[contrary])
        grade = replace(grade, detectable=detectable(test, alpha / len(blocks)))
        return replace(
            outcome, verdict=Verdict.REFUTED, p_value=p_value, explanation=text, grade=grade
        )
    if outside[1]:
        outcome = of_test(as_printed(average, contrast), f"{unit}, on average", said)
        return replace(outcome, verdict=Verdict.REFUTED, p_value=mean_against, grade=grade)
    if holding >= required:
        return _covered(replace(outcome, verdict=Verdict.SUPPORTED), contrast)
    text = f"{said} {interaction(contrast)}".strip()
    text += f" What decides, {blocks[weakest].name}: {numbers(as_printed(test, contrast))}."
    untestable = sum(each.error is None for each in tests)
    if untestable:
        text += f" {untestable} cannot be tested: no deviation between seeds is known."
    outcome = replace(outcome, explanation=text, missing=_uncovered(contrast))
    if untestable:
        unknown = [b for b, each in zip(blocks, tests, strict=True) if each.error is None]
        plan: list[MoreSeeds] | None = needs.first_seeds(unknown)
    else:
        plan = needs.everywhere(evidence, contrast, shown, required, kind.distance, kind.sides)
    return _with_need(outcome, plan)


def _on_average(
    evidence: Evidence,
    contrast: Contrast,
    unit: str,
    against: float,
    margin: float | None = None,
) -> Outcome:
    if not contrast.blocks:
        return nothing(contrast.needed)
    units = contrast.units
    test = _over(evidence, contrast)
    moved = replace(test, effect=test.effect - against)
    tails = statistics.above(moved, 0.0), statistics.below(moved, 0.0)
    p_value = _twice(min(p for p in tails if p is not None)) if test.error is not None else None
    printed = as_printed(replace(test, p_value=p_value), contrast)
    said = f"{contrast.counted}: {numbers(printed)}."
    outcome = of_test(printed, unit, said)
    outcome = replace(outcome, n=len(units), grade=grade_of(contrast, test, mean_test(contrast)))
    outcome = _covered(_by_sign(outcome, moved, evidence.alpha, margin), contrast)
    if outcome.verdict == Verdict.UNDECIDABLE:
        outcome = replace(outcome, missing=_uncovered(contrast))
    goals = [Goal(abs(moved.effect), evidence.alpha)]
    goals += [Goal(margin - abs(test.effect), 2 * evidence.alpha)] if margin is not None else []
    return _with_need(
        outcome, needs.cheapest(needs.on_average(evidence, contrast, goal) for goal in goals)
    )


def _over(evidence: Evidence, contrast: Contrast) -> Comparison:
    """Test the mean over configurations.

    Where they are few, how their effects spread is not known: the claim is then one on these
    configurations alone, tested against the deviation between seeds.
    """
    several = len(contrast.units) >= FEWEST_UNITS
    return mean_test(contrast) if several else _of_these(evidence, contrast)


def _of_these(evidence: Evidence, contrast: Contrast) -> Comparison:
    """Test the mean over these very configurations, against the deviation between seeds."""
    tests = [_of_block(evidence, block) for block in contrast.blocks]
    # Sides that blocks of one unit share are counted as if they were apart.
    return _combined(fmean(contrast.effects), tests, len(tests))


def _combined(effect: float, tests: Sequence[Comparison], count: int) -> Comparison:
    """Test a mean over `count` effects, whose errors are those of these tests."""
    known = [(t.error, t.degrees) for t in tests if t.error is not None and t.degrees is not None]
    if len(known) < len(tests):
        return Comparison(effect, None, None, count, "seeds whose spread is not known")
    error, degrees = statistics.summed((e**2 / count**2, d) for e, d in known)
    method = "t test of these configurations alone, deviation between seeds"
    return statistics.student(effect, error, degrees, count, method)


def _of_block(evidence: Evidence, block: Block) -> Comparison:
    test = evidence.compare(block.first, block.second, block.score)
    return test or Comparison(block.effect, None, None, 0, "not measured")


def _adjusted(p_values: Iterable[float | None]) -> list[float]:
    """Adjust by Holm's method; what cannot be tested counts as not shown."""
    return [_known(p) for p in statistics.holm([_known(p) for p in p_values])]


def _known(p_value: float | None) -> float:
    return 1.0 if p_value is None else p_value


def _by_sign(
    outcome: Outcome, test: Comparison, alpha: float, margin: float | None = None
) -> Outcome:
    """Decide by the sign of the effect; else by whether it is within `margin`."""
    if outcome.p_value is not None and outcome.p_value < alpha:
        verdict = Verdict.SUPPORTED if test.effect > 0 else Verdict.REFUTED
        return replace(outcome, verdict=verdict)
    inside = None if margin is None else statistics.within(test, margin)
    if inside is None or inside >= alpha or test.error is None or test.degrees is None:
        return outcome
    # The ends of the 90% interval, which two one-sided tests at 5% go with.
    bound = abs(test.effect) + statistics.one_sided_reach(test.error, test.degrees)
    grade = replace(outcome.grade, no_larger_than=bound)
    return replace(outcome, verdict=Verdict.NO_DIFFERENCE, p_value=inside, grade=grade)


def _covered(outcome: Outcome, contrast: Contrast) -> Outcome:
    """Return undecidable in place of supported where a data set was not measured."""
    if outcome.verdict not in (Verdict.SUPPORTED, Verdict.NO_DIFFERENCE) or not contrast.uncovered:
        return outcome
    return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=contrast.needed)


def _uncovered(contrast: Contrast) -> str:
    return contrast.needed if contrast.uncovered else ""


def _with_need(outcome: Outcome, plan: list[MoreSeeds] | None) -> Outcome:
    """Add what would decide an undecidable claim, unless other things are missing."""
    if outcome.verdict != Verdict.UNDECIDABLE or outcome.missing:
        return outcome
    need = needs.total(plan or ())
    if need is None:
        # Without end they leave what overlapping splits have in common.
        more = f"more than {needs.MOST_SEEDS} seeds a configuration, or images that no split had"
        return replace(outcome, missing=f"{more}, if the effects are as measured")
    grade = replace(outcome.grade, need=need)
    return replace(outcome, missing=needs.described(need), grade=grade)


def _p_or(default: float) -> Callable[[Outcome], float]:
    return lambda part: default if part.p_value is None else part.p_value
