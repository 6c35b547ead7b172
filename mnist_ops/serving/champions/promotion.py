"""Does a contender take the champion's place? McNemar's test on shared test images says."""

from dataclasses import dataclass

import numpy as np

from mnist_ops.compare.statistics import ALPHA, Comparison, mcnemar
from mnist_ops.serving.inference import ModelPredictions


@dataclass(frozen=True)
class Verdict:
    """What becomes of a contender.

    Attributes:
        promoted: whether it is the champion now.
        reason: in a sentence.
        comparison: the contender against the champion; None where nothing was compared.
    """

    promoted: bool
    reason: str
    comparison: Comparison | None = None


def against(contender: ModelPredictions, champion: ModelPredictions) -> Verdict:
    """Compare on shared test images: an image that either was trained on must not count.

    The test images of another seed or size are other ones, of which some are shared; those are
    all that is compared.
    """
    _, mine, theirs = np.intersect1d(contender.index, champion.index, return_indices=True)
    if not len(mine):
        return Verdict(False, "it shares no test image with the champion")
    comparison = mcnemar(
        contender.predicted[mine] == contender.label[mine],
        champion.predicted[theirs] == champion.label[theirs],
    )
    assert comparison.p_value is not None
    promoted = comparison.effect > 0 and comparison.p_value < ALPHA
    told = (
        f"{comparison.effect:+.2%} test accuracy on {comparison.n:,} shared images, "
        f"p = {comparison.p_value:.2g}"
    )
    reason = f"better than the champion by more than chance ({told})"
    return Verdict(promoted, reason if promoted else f"not {reason}", comparison)
