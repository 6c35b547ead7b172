"""Claims that follow from the code: settings that cannot change a result."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mnist_ops.compare import published
from mnist_ops.compare.cells import Cell, identity
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Verdict
from mnist_ops.compare.findings.outcome import Outcome, nothing
from mnist_ops.compare.predictions import Predictions
from mnist_ops.compare.tables.measure import TO_PERCENT
from mnist_ops.core import keys

from .. import printed
from ..studies import PRESET, RESNET_GRID, STUDIES, SVM_GRID

SECTION = "What follows from the code"

# Number of training images of the study's SVMs.
_STUDY_IMAGES = STUDIES[1].preset(PRESET).limits.train

_SCORES = (keys.TEST_ACCURACY, keys.TEST_F1)


@dataclass(frozen=True)
class _Pair:
    """Two cells that differ in one param.

    Attributes:
        first: cell.
        second: cell.
        differing: number of predictions that differ; None where they cannot be compared.
    """

    first: Cell
    second: Cell
    differing: int | None

    @property
    def equal(self) -> bool:
        """Return whether accuracy, F1 and the known predictions are the same."""
        scores = (self.first.metrics.get(s) == self.second.metrics.get(s) for s in _SCORES)
        return all(scores) and not self.differing


def pin_memory_changes_nothing(evidence: Evidence) -> Outcome:
    """On a CPU pin_memory cannot change the arithmetic: matched runs predict the same.

    Judged on pairs that were trained apart alone: a cell that took its result from the training
    of the other is no evidence. Refuted by one pair with another test accuracy or F1, or with
    other predictions; supported if there is none. On a GPU, whose sums come in no fixed order,
    two runs of one configuration may differ by themselves.
    """
    cells = evidence.cells(RESNET_GRID, device="cpu")
    pairs = _pairs(cells, keys.PIN_MEMORY, True, False)
    if not pairs:
        return nothing("networks with pinned memory and without, on a CPU")
    apart = [pair for pair in pairs if not any(evidence.copied(cell) for cell in pair)]
    copies = len(pairs) - len(apart)
    if not apart:
        return Outcome(
            Verdict.UNDECIDABLE,
            explanation=(
                f"All {copies} matched pairs are one training each, of which both cells have the "
                "result: that pinned memory cannot matter without an accelerator follows from "
                "the code, and these runs do not test it."
            ),
            missing="both cells of a pair trained apart (mnist-ops run resnet_grid --no-share)",
        )
    outcome = _identical(_compared(evidence, apart))
    if not copies:
        return outcome
    return replace(
        outcome, explanation=f"{outcome.explanation} {copies} pairs of one training do not count."
    )


def gammas_are_one_kernel(evidence: Evidence) -> Outcome:
    """On images of unit variance gamma ``scale`` is ``auto``: matched SVMs predict the same.

    Refuted and supported as `pin_memory_changes_nothing`, but refuted only at the study's size
    or above. Standardised images have unit variance if every pixel varies, as FashionMNIST's do
    (MNIST's do not); in a few hundred images of it some pixels do not.
    """
    cells = evidence.cells(SVM_GRID, dataset="FashionMNIST")
    pairs = _pairs(cells, keys.GAMMA, "scale", "auto")
    if not pairs:
        return nothing("finished SVMs on FashionMNIST with both rules for gamma")
    compared = _compared(evidence, pairs)
    outcome = _identical(compared)
    seeds = sorted({pair.first.params.get(keys.SEED, 0) for pair in compared if not pair.equal})
    if seeds:
        several = "s" if len(seeds) > 1 else ""
        of = len({pair.first.params.get(keys.SEED) for pair in compared})
        text = (
            f"All that differ are of seed{several} {' and '.join(map(str, seeds))}, of {of}: there "
            "the two rules are two numbers, as they are where a pixel is the same in all training "
            "images (its variance stays 0, and scale is then 1 over the number of the others)."
        )
        outcome = replace(outcome, explanation=f"{outcome.explanation} {text}")
    images = min((int(first.params.get(keys.N_TRAIN, 0)) for first, _ in pairs), default=0)
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
        return nothing(f"the metric {keys.LIVE_PARAMETERS} on a run of resnet18")
    return Outcome(
        Verdict.SUPPORTED if min(shares) > 0.5 else Verdict.REFUTED,
        effect=min(shares),
        effect_unit="share of the weights of ResNet-18 that get no gradient",
        n=len(shares),
        explanation=f"{min(shares):.1%} of the weights get no gradient, as logged by the runs.",
    )


def _pairs(
    cells: Iterable[Cell], axis: str, first: object, second: object
) -> list[tuple[Cell, Cell]]:
    """Match finished cells that differ in one param alone, seed by seed."""
    finished = [cell for cell in cells if cell.finished]
    others = {identity(c, axis): c for c in finished if c.params.get(axis) == second}
    return [
        (cell, others[identity(cell, axis)])
        for cell in finished
        if cell.params.get(axis) == first and identity(cell, axis) in others
    ]


def _compared(evidence: Evidence, pairs: Iterable[tuple[Cell, Cell]]) -> list[_Pair]:
    return [_Pair(*pair, _differing(*map(evidence.predicted, pair))) for pair in pairs]


def _differing(first: Predictions | None, second: Predictions | None) -> int | None:
    if first is None or second is None or not np.array_equal(first.index, second.index):
        return None
    return int((first.predicted != second.predicted).sum())


def _identical(pairs: list[_Pair]) -> Outcome:
    """Nothing is estimated, so there is no test: one pair that differs is enough."""
    known = [pair.differing for pair in pairs if pair.differing is not None]
    equal = sum(pair.equal for pair in pairs)
    gaps = [
        pair.first.metrics[keys.TEST_ACCURACY] - pair.second.metrics[keys.TEST_ACCURACY]
        for pair in pairs
    ]
    outcome = Outcome(
        Verdict.SUPPORTED if equal == len(pairs) else Verdict.REFUTED,
        effect=TO_PERCENT * max(map(abs, gaps)),
        effect_unit="largest difference in percentage points of test accuracy",
        n=len(pairs),
        explanation=(
            f"{equal} of {len(pairs)} matched pairs are equal in accuracy, F1 and "
            f"predictions; predictions compared for {len(known)} of them, at most "
            f"{max(known, default=0)} of a run's differ."
        ),
    )
    if equal == len(pairs) and not known:
        missing = "the predictions of the runs"
        return replace(outcome, verdict=Verdict.UNDECIDABLE, missing=missing)
    return outcome


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
