"""What a finding is: a claim of the study, and what these runs say of it."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mnist_ops.compare.findings.need import Need
from mnist_ops.compare.statistics import Interval


class Verdict(StrEnum):
    """What the runs say of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    # There is no difference larger than `Grade.no_larger_than`.
    NO_DIFFERENCE = "no difference"
    # The runs cannot tell; `Finding.missing` names what would let them.
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True)
class Estimate:
    """An effect by one way to analyse the runs.

    Attributes:
        name: of the analysis.
        effect: in the unit of the finding.
        interval: 95%; None where there is none.
        p_value: two-sided, of no effect; None where none is computed.
        n: configurations that it rests on.
    """

    name: str
    effect: float
    interval: Interval | None
    p_value: float | None
    n: int


@dataclass(frozen=True)
class Grade:
    """The certainty of a verdict, and what would add to it.

    Attributes:
        average: the mean effect over the configurations, each with equal weight; None where the
            claim is not about several.
        probability: how often a run with the first setting beats one with the second, as a mean
            over the configurations.
        detectable: the smallest effect that the test of the verdict finds with a chance of 80%.
        no_larger_than: of a verdict that there is no difference, in the unit of the effect.
        analyses: other ways to the same average.
        agree: whether these come to the average's conclusion at 5%; None without any.
        confound: what else differs between the two sides; empty for nothing known.
        need: the runs that would decide an undecidable claim; None where none would, or other
            things are missing.
    """

    average: Estimate | None = None
    probability: float | None = None
    detectable: float | None = None
    no_larger_than: float | None = None
    analyses: tuple[Estimate, ...] = ()
    agree: bool | None = None
    confound: str = ""
    need: Need | None = None


@dataclass(frozen=True)
class Finding:
    """A claim and its verdict.

    Attributes:
        id: stable: the section of the study and the place in it, as in ``2.8.1``.
        claim: what is claimed, in one line.
        section: heading of the part of the study that claims it.
        published: the study's own evidence, in its printed numbers; empty where it prints none.
        verdict: what these runs say.
        effect: the measured size of what is claimed, positive in its direction; None where
            nothing could be measured. That of the test that the verdict rests on.
        effect_unit: unit and meaning of `effect` and `interval`.
        interval: 95% confidence interval of `effect`; None where there is none to give.
        p_value: of the claim's test, corrected for the looks of a plan that its seeds are from,
            and Holm-adjusted over all findings that were tested; None where none was.
        p_value_unadjusted: of the same test on its own.
        n: how many configurations, or runs of two of them, the verdict rests on.
        scope: what the runs were, so that the verdict claims no more.
        explanation: how the verdict came about, with the numbers behind it.
        missing: what would decide it; empty unless undecidable.
        grade: how sure it is.
    """

    id: str
    claim: str
    section: str
    published: str
    verdict: Verdict
    effect: float | None
    effect_unit: str
    interval: Interval | None
    p_value: float | None
    p_value_unadjusted: float | None
    n: int
    scope: str
    explanation: str
    missing: str
    grade: Grade = field(default_factory=Grade)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; the fields of the grade stand beside the others."""
        fields = dataclasses.asdict(self)
        fields |= fields.pop("grade")
        return {name: _plain(value) for name, value in fields.items()}


def verdicts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """Count the verdicts; that of no difference is left out where there is none."""
    counts = Counter(finding.verdict for finding in findings)
    always = [verdict for verdict in Verdict if verdict != Verdict.NO_DIFFERENCE]
    return {verdict: counts[verdict] for verdict in Verdict if counts[verdict] or verdict in always}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, StrEnum) else value
