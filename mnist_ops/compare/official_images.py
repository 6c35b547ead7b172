"""Whether published numbers fit the data sets' own test images better than images drawn from all.

All numbers that were measured both ways count, whether they agree or not: numbers that are tried a
second time because they disagree can only come to agree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from mnist_ops.compare.agreement import NO, YES
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.published import QUANTITIES
from mnist_ops.compare.render import readable

if TYPE_CHECKING:
    from mnist_ops.compare.paper import Paper


@dataclass(frozen=True)
class Fit:
    """How well numbers fit the one kind of test images and the other.

    Attributes:
        table: whose numbers they are.
        metric: one of `published.QUANTITIES`.
        n: numbers that were measured both ways.
        agree: how many agree, with images drawn from all.
        agree_official: how many agree, with the data sets' own test images.
        rms: root mean square of measured less published, with images drawn from all.
        rms_official: the same with the data sets' own.
    """

    table: int
    metric: str
    n: int
    agree: int
    agree_official: int
    rms: float
    rms_official: float


def official_fits(paper: "Paper", frame: pd.DataFrame) -> tuple[Fit, ...]:
    """Return the fit of each table and metric.

    The best of a study is left out: it repeats a number of another table.

    Args:
        paper: whose numbers they are.
        frame: the comparison of single numbers, as of `agreement.with_official`.
    """
    described = {table.number: table for table in paper.tables}
    numbers = paper.published.numbers
    single = [not described[n.table].place(n).is_of_the_best for n in numbers]
    judged = frame["agrees"].isin([YES, NO]) & frame["agrees_official"].isin([YES, NO])
    both = frame[judged & pd.Series(single, index=frame.index, dtype=bool)]
    return tuple(_fit(part) for _, part in both.groupby(["table", "metric"], sort=False))


def official_sentence(fits: Sequence[Fit]) -> str:
    """Return a sentence on which test images fit better; empty where none were measured twice."""
    if not fits:
        return ""
    n, agree, official = (
        sum(getattr(fit, name) for fit in fits) for name in ("n", "agree", "agree_official")
    )
    text = (
        f"{n} numbers were measured on test images drawn from all images and on the data sets' "
        f"own as well: {agree} agree on the former, {official} on the latter. The study does not "
        "say where its test images are from"
    )
    if official > agree and all(fit.rms_official < fit.rms for fit in fits):
        return f"{text}; it probably tested on the data sets' own, which fit better in every table."
    return f"{text}, and these numbers do not tell."


def official_topic(fits: Sequence[Fit]) -> Topic | None:
    """Return which test images the study probably used; None without runs on both."""
    if not fits:
        return None
    return Topic(
        title="Which test images the study used",
        paragraphs=(
            f"{official_sentence(fits)} All of the numbers count that were measured both ways, "
            "not those alone that disagree; the difference is measured less published.",
        ),
        head=(
            "Table",
            "Metric",
            "Agree, drawn from all",
            "Agree, official",
            "RMS difference, drawn from all",
            "RMS difference, official",
        ),
        rows=tuple(
            (
                str(fit.table),
                QUANTITIES[fit.metric].label,
                f"{fit.agree} of {fit.n}",
                f"{fit.agree_official} of {fit.n}",
                readable(fit.rms, QUANTITIES[fit.metric].kind),
                readable(fit.rms_official, QUANTITIES[fit.metric].kind),
            )
            for fit in fits
        ),
        align="llrrrr",
    )


def _fit(part: pd.DataFrame) -> Fit:
    return Fit(
        table=int(part["table"].iloc[0]),
        metric=str(part["metric"].iloc[0]),
        n=len(part),
        agree=int((part["agrees"] == YES).sum()),
        agree_official=int((part["agrees_official"] == YES).sum()),
        rms=_rms(part["measured"] - part["published"]),
        rms_official=_rms(part["official"] - part["published"]),
    )


def _rms(differences: pd.Series) -> float:
    return math.sqrt(float((differences**2).mean()))
