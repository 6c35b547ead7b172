"""What a finding is: a claim of the study, and what these runs say of it."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What the runs say of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    # The runs cannot tell; `Finding.missing` names what would let them.
    UNDECIDABLE = "undecidable"


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
            nothing could be measured.
        effect_unit: unit and meaning of `effect` and `interval`.
        interval: 95% confidence interval of `effect`; None where there is none to give.
        p_value: of the claim's test, Holm-adjusted over all findings that were tested; None where
            none was.
        p_value_unadjusted: of the same test on its own.
        n: how many matched comparisons, or test images, the verdict rests on.
        scope: what the runs were, so that the verdict claims no more.
        explanation: how the verdict came about, with the numbers behind it.
        missing: what would decide it; empty unless undecidable.
    """

    id: str
    claim: str
    section: str
    published: str
    verdict: Verdict
    effect: float | None
    effect_unit: str
    interval: tuple[float, float] | None
    p_value: float | None
    p_value_unadjusted: float | None
    n: int
    scope: str
    explanation: str
    missing: str

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        fields = dataclasses.asdict(self)
        interval = None if self.interval is None else list(self.interval)
        return fields | {"verdict": str(self.verdict), "interval": interval}
