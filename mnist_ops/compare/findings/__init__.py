"""Claims in, verdicts out: each claim of a paper is checked against the runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mnist_ops.compare import statistics
from mnist_ops.compare.findings.claim import Claim, Section
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.findings.rules import Outcome
from mnist_ops.compare.statistics import ALPHA


def all_findings(evidence: Evidence, sections: Sequence[Section]) -> list[Finding]:
    """Return a finding for each claim of the sections, in order.

    The p-values are Holm-adjusted over the tests that were made, a test that several claims
    share counting once, so that under no effect at all the chance of even one wrong verdict
    stays at 5%. A verdict whose adjusted p-value is not below 5% becomes undecidable.
    """
    claims = [(section.title, claim) for section in sections for claim in section.claims]
    hypotheses = list(dict.fromkeys(claim.hypothesis for _, claim in claims))
    outcomes = [hypothesis(evidence) for hypothesis in hypotheses]
    adjusted = statistics.holm([outcome.p_value for outcome in outcomes])
    judged: dict[Callable[[Evidence], Outcome], tuple[Outcome, float | None]] = {
        hypothesis: (_judged(outcome, p_value, evidence), p_value)
        for hypothesis, outcome, p_value in zip(hypotheses, outcomes, adjusted, strict=True)
    }
    return [
        _finding(claim, title, *judged[claim.hypothesis], evidence.scope) for title, claim in claims
    ]


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
