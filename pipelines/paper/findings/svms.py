"""Section 3.5: the study's findings on support vector machines."""

from typing import Any

from mnist_ops.compare import published
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.evidence import Contrast, Evidence, contrast, merged
from mnist_ops.compare.findings.rules import Outcome
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import champion
from mnist_ops.core import keys

from .. import printed
from ..studies import DATASETS, RESNET_GRID, SVM_GRID
from ..tables.best import gain

SECTION = "3.5 Q1(b) Key findings"
_HIGHEST_C = 10.0
_LOWER_C = (1.0, 0.1)


def rbf_beats_poly(evidence: Evidence) -> Outcome:
    """The rbf kernel against the polynomial one in every configuration, by `rules.consistent`."""
    cells = evidence.cells(SVM_GRID)
    return rules.consistent(evidence, contrast(cells, {keys.KERNEL: "rbf"}, {keys.KERNEL: "poly"}))


def high_c_is_best(evidence: Evidence) -> Outcome:
    """C = 10 against each lower C in every configuration, by `rules.consistent`."""
    return rules.consistent(evidence, _over_c(evidence, keys.TEST_ACCURACY, higher_first=True))


def scale_is_not_worse(evidence: Evidence) -> Outcome:
    """Gamma ``scale`` against ``auto``, by `rules.not_worse`: "comparable" is within a point."""
    cells = evidence.cells(SVM_GRID)
    return rules.not_worse(evidence, contrast(cells, {keys.GAMMA: "scale"}, {keys.GAMMA: "auto"}))


def high_c_is_faster(evidence: Evidence) -> Outcome:
    """Training time at each lower C over that at C = 10, by `rules.greater_ratio`."""
    return rules.greater_ratio(
        evidence,
        _over_c(evidence, keys.TRAIN_TIME_S, higher_first=False),
        "training time at lower C over that at C = 10",
    )


def networks_beat_svms(evidence: Evidence) -> Outcome:
    """On each data set the best network against the best SVM.

    Both are chosen on validation and compared on test images, by `rules.by_comparison`; it has
    to hold on both data sets. By how much is measured, not tested.
    """
    parts = {}
    for dataset in DATASETS:
        test = gain(evidence, dataset)
        parts[dataset] = rules.by_comparison(
            evidence,
            test,
            f"{_chosen(evidence.selection, RESNET_GRID, dataset)} against "
            f"{_chosen(evidence.selection, SVM_GRID, dataset)}, both best on validation, differ by",
            "finished networks and SVMs of one seed",
        )
    return rules.all_hold(parts)


def _over_c(evidence: Evidence, metric: str, *, higher_first: bool) -> Contrast:
    cells: list[Cell] = evidence.cells(SVM_GRID)

    def at(C: float) -> dict[str, Any]:  # noqa: N803 - the study's own name
        return {keys.C: C}

    return merged(
        [
            contrast(cells, at(_HIGHEST_C), at(lower), metric)
            if higher_first
            else contrast(cells, at(lower), at(_HIGHEST_C), metric)
            for lower in _LOWER_C
        ]
    )


def _chosen(selection: Selection, study: str, dataset: str) -> str:
    chosen = champion(selection, study, dataset, keys.VAL_ACCURACY)
    return f"{chosen.model} ({chosen.text})" if chosen.model else chosen.text


def _printed(metric: str, first: dict[str, Any], second: dict[str, Any]) -> list[printed.ValuePair]:
    return printed.matched((5, 6), metric, first, second)


def _printed_c(metric: str, *, higher_first: bool) -> list[printed.ValuePair]:
    pairs = [
        pair
        for lower in _LOWER_C
        for pair in _printed(metric, {keys.C: _HIGHEST_C}, {keys.C: lower})
    ]
    return pairs if higher_first else [(low, high) for high, low in pairs]


def printed_gain() -> str:
    """The study's points between its best SVM and its best network."""
    return f"Table 7: {printed.each(7, published.IMPROVEMENT, keys.DATASET)}"


CLAIMS = (
    Claim(
        "3.5.1",
        "The RBF kernel is consistently more accurate than the polynomial one on both data sets",
        lambda: (
            "Tables 5 and 6: "
            + printed.accuracies(
                _printed(published.ACCURACY, {keys.KERNEL: "rbf"}, {keys.KERNEL: "poly"})
            )
        ),
        rbf_beats_poly,
    ),
    Claim(
        "3.5.2",
        "The highest C, 10, gives the best accuracy",
        lambda: (
            "Tables 5 and 6: "
            + printed.accuracies(_printed_c(published.ACCURACY, higher_first=True))
        ),
        high_c_is_best,
    ),
    Claim(
        "3.5.3",
        "Gamma scale is as accurate as auto, or more",
        lambda: (
            "Tables 5 and 6: "
            + printed.accuracies(
                _printed(published.ACCURACY, {keys.GAMMA: "scale"}, {keys.GAMMA: "auto"})
            )
        ),
        scale_is_not_worse,
    ),
    Claim(
        "3.5.4",
        "A higher C trains faster",
        lambda: (
            "Tables 5 and 6, time at lower C over that at 10: "
            + printed.ratios(_printed_c(published.TRAIN_TIME_S, higher_first=False))
        ),
        high_c_is_faster,
    ),
    Claim(
        "3.5.5",
        "Networks are significantly more accurate than support vector machines",
        printed_gain,
        networks_beat_svms,
    ),
)
