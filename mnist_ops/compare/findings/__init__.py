"""The study's findings, each checked against the runs: claims in, verdicts out."""

from collections.abc import Callable
from dataclasses import replace

from mnist_ops.compare import statistics
from mnist_ops.compare.findings import code, conclusions, devices, resnets, svms
from mnist_ops.compare.findings.baseline import NoBaseline, check, read, to_json
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.findings.rules import Outcome
from mnist_ops.compare.predictions import PredictionsOf, no_predictions
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import ALPHA

__all__ = [
    "CLAIMS",
    "Finding",
    "NoBaseline",
    "Verdict",
    "all_findings",
    "check",
    "read",
    "to_json",
]

_SECTIONS = (resnets, svms, devices, conclusions, code)

# Every claim in the study's order, then those that follow from the code.
CLAIMS: tuple[Claim, ...] = tuple(claim for section in _SECTIONS for claim in section.CLAIMS)


def all_findings(
    selection: Selection, predictions: PredictionsOf = no_predictions
) -> list[Finding]:
    """A finding for each of `CLAIMS`, in order.

    The p-values are Holm-adjusted over the tests that were made, a test that several claims
    share counting once, so that under no effect at all the chance of even one wrong verdict
    stays at 5%. A verdict whose adjusted p-value is not below 5% becomes undecidable.

    Args:
        selection: the cells.
        predictions: run id -> predictions; asked only for the runs that a claim needs.
    """
    evidence = Evidence(selection, predictions)
    hypotheses = list(dict.fromkeys(claim.hypothesis for claim in CLAIMS))
    outcomes = [hypothesis(evidence) for hypothesis in hypotheses]
    adjusted = statistics.holm([outcome.p_value for outcome in outcomes])
    judged: dict[Callable[[Evidence], Outcome], tuple[Outcome, float | None]] = {
        hypothesis: (_judged(outcome, p_value, evidence), p_value)
        for hypothesis, outcome, p_value in zip(hypotheses, outcomes, adjusted, strict=True)
    }
    return [
        _finding(claim, section.SECTION, *judged[claim.hypothesis], evidence.scope)
        for section in _SECTIONS
        for claim in section.CLAIMS
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
    )
