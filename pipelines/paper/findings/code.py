"""Claims that follow from the code: settings that cannot change a result."""

from dataclasses import replace

import numpy as np

from mnist_ops.compare import published
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.evidence import Contrast, Evidence, Pair, contrast
from mnist_ops.compare.findings.finding import Verdict
from mnist_ops.compare.findings.rules import Outcome
from mnist_ops.core import keys

from .. import printed
from ..studies import PRESET, RESNET_GRID, STUDIES, SVM_GRID

SECTION = "What follows from the code"

# A limit, as fetching all predictions would take longer than the rest of the report.
_PREDICTIONS_COMPARED = 8

# Number of training images of the study's SVMs.
_STUDY_IMAGES = STUDIES[1].preset(PRESET).limits.train

_SCORES = (keys.TEST_ACCURACY, keys.TEST_F1)


def pin_memory_changes_nothing(evidence: Evidence) -> Outcome:
    """On a CPU pin_memory cannot change the arithmetic: matched runs predict the same.

    Refuted by one matched pair with another test accuracy or F1, or with other predictions,
    which are compared for the first pairs; supported if there is none. On a GPU, whose sums come
    in no fixed order, two runs of one configuration may differ by themselves.
    """
    cells = evidence.cells(RESNET_GRID, device="cpu")
    return _identical(evidence, contrast(cells, {keys.PIN_MEMORY: True}, {keys.PIN_MEMORY: False}))


def gammas_are_one_kernel(evidence: Evidence) -> Outcome:
    """On images of unit variance gamma ``scale`` is ``auto``: matched SVMs predict the same.

    Refuted and supported as `pin_memory_changes_nothing`, but refuted only at the study's size
    or above. Standardised images have unit variance if every pixel varies, as FashionMNIST's do
    (MNIST's do not); in a few hundred images of it some pixels do not.
    """
    cells = evidence.cells(SVM_GRID, dataset="FashionMNIST")
    pairs = contrast(cells, {keys.GAMMA: "scale"}, {keys.GAMMA: "auto"})
    outcome = _identical(evidence, pairs)
    images = min((int(p.first.params.get(keys.N_TRAIN, 0)) for p in pairs.pairs), default=0)
    if outcome.verdict == Verdict.REFUTED and images < _STUDY_IMAGES:
        missing = f"{_STUDY_IMAGES:,} training images, so that every pixel varies (preset paper)"
        return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=missing)
    return outcome


def weights_without_gradient(evidence: Evidence) -> Outcome:
    """At 28x28 most of ResNet-18's weights never get a gradient; a count, not a test.

    The last stages work on maps of 2x2 and 1x1, where most taps of a padded 3x3 kernel see
    padding alone. Supported if the runs logged fewer live weights than half of all.
    """
    shares = [
        1 - cell.metrics[keys.LIVE_PARAMETERS] / cell.metrics[keys.PARAMETERS]
        for cell in evidence.cells(RESNET_GRID, model="resnet18")
        if keys.LIVE_PARAMETERS in cell.metrics and cell.metrics.get(keys.PARAMETERS, 0) > 0
    ]
    if not shares:
        return rules.nothing(f"the metric {keys.LIVE_PARAMETERS} on a run of resnet18")
    return Outcome(
        Verdict.SUPPORTED if min(shares) > 0.5 else Verdict.REFUTED,
        effect=min(shares),
        effect_unit="share of the weights of ResNet-18 that get no gradient",
        n=len(shares),
        explanation=f"{min(shares):.1%} of the weights get no gradient, as logged by the runs.",
    )


def _identical(evidence: Evidence, pairs: Contrast) -> Outcome:
    """Nothing is estimated, so there is no test: one pair that differs is enough."""
    if not pairs.pairs:
        return rules.nothing(pairs.needed)
    compared = [_differing(evidence, pair) for pair in pairs.pairs[:_PREDICTIONS_COMPARED]]
    known = [count for count in compared if count is not None]
    differing = sum(
        any(pair.first.metrics.get(name) != pair.second.metrics.get(name) for name in _SCORES)
        for pair in pairs.pairs
    )
    changed = max(known, default=0)
    same = not differing and not changed
    gap = max(map(abs, pairs.differences))
    outcome = Outcome(
        Verdict.SUPPORTED if same else Verdict.REFUTED,
        effect=gap,
        effect_unit="largest difference in percentage points of test accuracy",
        n=len(pairs.pairs),
        explanation=(
            f"{len(pairs.pairs) - differing} of {len(pairs.pairs)} matched pairs have the same "
            f"accuracy and F1; predictions compared for {len(known)} of them, "
            f"at most {changed} of a run's differ."
        ),
    )
    if same and not known:
        missing = "the predictions of the runs"
        return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=missing)
    return outcome


def _differing(evidence: Evidence, pair: Pair) -> int | None:
    """How many predictions differ; None where they cannot be compared."""
    first, second = evidence.predicted(pair.first), evidence.predicted(pair.second)
    if first is None or second is None or not np.array_equal(first.index, second.index):
        return None
    return int((first.predicted != second.predicted).sum())


def _printed_pins() -> str:
    pairs = printed.matched(
        (4,), published.ACCURACY, {keys.PIN_MEMORY: True}, {keys.PIN_MEMORY: False}
    )
    gaps = [abs(first - second) for first, second in pairs]
    return f"Table 4: the {len(gaps)} printed pairs differ by up to {max(gaps):.2f} points"


def _printed_gammas() -> str:
    pairs = printed.matched((6,), published.ACCURACY, {keys.GAMMA: "scale"}, {keys.GAMMA: "auto"})
    same = sum(first == second for first, second in pairs)
    return f"Table 6: {same} of {len(pairs)} printed pairs are equal"


CLAIMS = (
    Claim(
        "code.1",
        "pin_memory does not change what a network trained on a CPU predicts",
        _printed_pins,
        pin_memory_changes_nothing,
    ),
    Claim(
        "code.2",
        "Gamma scale and auto are the same kernel on standardised FashionMNIST",
        _printed_gammas,
        gammas_are_one_kernel,
    ),
    Claim(
        "code.3",
        "Most weights of ResNet-18 get no gradient from images of 28x28",
        lambda: "",
        weights_without_gradient,
    ),
)
