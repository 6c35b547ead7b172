"""Claims in, verdicts out: each claim of a paper is checked against the runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mnist_ops.compare import statistics
from mnist_ops.compare.findings import sequential
from mnist_ops.compare.findings.claim import Claim, Section
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.findings.outcome import Outcome
from mnist_ops.compare.findings.sequential import Look
from mnist_ops.compare.statistics import ALPHA


def all_findings(evidence: Evidence, sections: Sequence[Section]) -> list[Finding]:
    """Return a finding for each claim of the sections, in order.

    The p-values are Holm-adjusted over the tests that were made, a test that several claims
    share counting once, so that under no effect at all the chance of even one wrong verdict
    stays at 5%. A verdict whose adjusted p-value is not below 5% becomes undecidable. Of a claim
    that got seeds by a plan with several looks, the p-value is corrected for these before.
    """
    claims = [(section.title, claim) for section in sections for claim in section.claims]
    hypotheses = list(dict.fromkeys(claim.hypothesis for _, claim in claims))
    looks = _looks(evidence, [claim for _, claim in claims])
    outcomes = [_corrected(test(evidence), looks.get(test)) for test in hypotheses]
    adjusted = statistics.holm(
        [
            _times(outcome.p_value, looks[test].factor if test in looks else 1)
            for test, outcome in zip(hypotheses, outcomes, strict=True)
        ]
    )
    judged: dict[Callable[[Evidence], Outcome], tuple[Outcome, float | None]] = {
        hypothesis: (_judged(outcome, p_value, evidence), p_value)
        for hypothesis, outcome, p_value in zip(hypotheses, outcomes, adjusted, strict=True)
    }
    return [
        _finding(claim, title, *judged[claim.hypothesis], evidence.scope) for title, claim in claims
    ]


def _looks(
    evidence: Evidence, claims: Sequence[Claim]
) -> dict[Callable[[Evidence], Outcome], Look]:
    """Return the look of each test that a claim with a plan has: the one that costs most."""
    by_claim = sequential.latest(evidence.selection.runs)
    found: dict[Callable[[Evidence], Outcome], Look] = {}
    for claim in claims:
        if look := by_claim.get(claim.id):
            looks = (look, found.get(claim.hypothesis, look))
            found[claim.hypothesis] = max(looks, key=lambda each: each.factor)
    return found


def _corrected(outcome: Outcome, look: Look | None) -> Outcome:
    """Add to the explanation how the looks of a plan are corrected for."""
    if look is None or outcome.p_value is None:
        return outcome
    text = f"{outcome.explanation} {sequential.described(look)}"
    return replace(outcome, explanation=text)


def _times(p_value: float | None, factor: float) -> float | None:
    return None if p_value is None else min(1.0, p_value * factor)


def _judged(outcome: Outcome, adjusted: float | None, evidence: Evidence) -> Outcome:
    if outcome.verdict == Verdict.UNDECIDABLE or adjusted is None or adjusted < ALPHA:
        return outcome
    return replace(
        outcome,
        verdict=Verdict.UNDECIDABLE,
        explanation=f"{outcome.explanation} Among all findings tested that is not enough.",
        missing=evidence.more,
    )


def _finding(
    claim: Claim, section: str, outcome: Outcome, adjusted: float | None, scope: str
) -> Finding:
    return Finding(
        id=claim.id,
        claim=claim.text,
        section=section,
        published=claim.published(),
        verdict=outcome.verdict,
        effect=outcome.effect,
        effect_unit=outcome.effect_unit,
        interval=outcome.interval,
        p_value=adjusted,
        p_value_unadjusted=outcome.p_value,
        n=outcome.n,
        scope=scope,
        explanation=outcome.explanation,
        missing=outcome.missing,
        grade=outcome.grade,
    )
