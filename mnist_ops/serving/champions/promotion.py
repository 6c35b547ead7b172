"""Decide whether a contender replaces the champion, by McNemar's test on shared test images."""

from dataclasses import dataclass

import numpy as np

from mnist_ops.compare.statistics import ALPHA, Comparison, mcnemar
from mnist_ops.study.results import Predictions


@dataclass(frozen=True)
class Verdict:
    """Decision on a contender.

    Attributes:
        promoted: whether it is now the champion.
        reason: of the decision, as the end of a sentence.
        comparison: of the contender with the champion; None without one.
    """

    promoted: bool
    reason: str
    comparison: Comparison | None = None


def against(contender: Predictions, champion: Predictions) -> Verdict:
    """Compare two models on the test images that they share, on which neither was trained.

    Models of other seeds or sizes have other test images, but share some.
    """
    _, mine, theirs = np.intersect1d(contender.index, champion.index, return_indices=True)
    if not len(mine):
        return Verdict(False, "it shares no test images with the champion")
    comparison = mcnemar(
        contender.predicted[mine] == contender.label[mine],
        champion.predicted[theirs] == champion.label[theirs],
    )
    assert comparison.p_value is not None
    promoted = comparison.effect > 0 and comparison.p_value < ALPHA
    evidence = (
        f"{comparison.effect:+.2%} test accuracy on {comparison.n:,} shared images, "
        f"p = {comparison.p_value:.2g}"
    )
    reason = f"better than the champion by more than chance ({evidence})"
    return Verdict(promoted, reason if promoted else f"not {reason}", comparison)
