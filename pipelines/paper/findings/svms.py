"""Section 3.5: the study's findings on support vector machines."""

from dataclasses import replace
from typing import Any

from mnist_ops.compare import published, statistics
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.contrast import Contrast, contrast, merged
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.outcome import Outcome, nothing
from mnist_ops.compare.seed_noise import ACCURACY, TRAIN_TIME, Score, SeedNoise
from mnist_ops.compare.tables.champion import Champion
from mnist_ops.compare.tables.measure import Group
from mnist_ops.core import keys

from .. import printed
from ..studies import DATASETS, PRESET, STUDIES, SVM_GRID
from ..tables.best import best_of_both

SECTION = "3.5 Q1(b) Key findings"
# The preset at which SVMs are fitted to as many images as networks.
_ALL_IMAGES = "rigorous"
_HIGHEST_C = 10.0
_LOWER_C = (1.0, 0.1)


def rbf_beats_poly(evidence: Evidence) -> Outcome:
    """The rbf kernel against the polynomial one in every configuration, by `rules.consistent`."""
    cells = evidence.cells(SVM_GRID)
    return rules.consistent(evidence, contrast(cells, {keys.KERNEL: "rbf"}, {keys.KERNEL: "poly"}))


def high_c_is_best(evidence: Evidence) -> Outcome:
    """C = 10 against each lower C in every configuration, by `rules.consistent`."""
    return rules.consistent(evidence, _over_c(evidence, ACCURACY, higher_first=True))


def scale_is_not_worse(evidence: Evidence) -> Outcome:
    """Gamma ``scale`` against ``auto``, by `rules.not_worse`: "comparable" is within a point.

    Only where they are two kernels.
    """
    cells = evidence.cells(SVM_GRID)
    return rules.not_worse(evidence, contrast(cells, {keys.GAMMA: "scale"}, {keys.GAMMA: "auto"}))


def high_c_is_faster(evidence: Evidence) -> Outcome:
    """Time of scikit-learn's own fit at each lower C over that at C = 10, by `rules.greater_ratio`.

    Those are the plain cells of this size. The times of the others are of another solver, and
    mostly of kernel values, which C does not enter.
    """
    preset = evidence.selection.preset
    study = next(each for each in STUDIES if each.name == SVM_GRID)
    known = preset in study.presets
    plain = evidence.at(study.departed_label(preset, keys.PLAIN)) if known else None
    if plain is not None:
        evidence = replace(evidence, selection=plain)
    times = _over_c(evidence, TRAIN_TIME, higher_first=False)
    if plain is None or not times.blocks:
        return nothing(
            "fits of SVMs at C = 0.1, 1 and 10 by scikit-learn's own solver (mnist-ops run "
            f"{SVM_GRID} --preset {preset} --plain): the training times of these runs are of "
            "another solver, and mostly of kernel values, which C does not enter"
        )
    return rules.greater_ratio(evidence, times, "time of the fit at lower C over that at C = 10")


def networks_beat_svms(evidence: Evidence) -> Outcome:
    """On each data set the best network against the best SVM.

    Both are chosen on validation and compared on test images, all seeds of both, by
    `rules.by_comparison`; it has to hold on both data sets. By how much is measured, not tested.
    Networks see more images than SVMs in the study: what is left of the difference with as many
    is said beside the verdict.
    """
    parts = {}
    for dataset in DATASETS:
        network, svm = best_of_both(evidence.selection, dataset)
        part = rules.by_comparison(
            evidence,
            network.cells,
            svm.cells,
            f"{_chosen(network)} against {_chosen(svm)}, both best on validation, differ by",
            "finished networks and SVMs",
        )
        confound = _with_equal_images(evidence, dataset, network, svm)
        parts[dataset] = replace(part, grade=replace(part.grade, confound=confound))
    return rules.all_hold(parts)


def _with_equal_images(evidence: Evidence, dataset: str, network: Champion, svm: Champion) -> str:
    """Return what the comparison gives with as many training images for both; empty if it did."""
    images = [_images(chosen.cells) for chosen in (network, svm)]
    if not all(images) or images[0] == images[1]:
        return ""
    text = f"{dataset}: networks see {images[0]:,} training images, SVMs {images[1]:,}"
    whole = evidence.at(_ALL_IMAGES) if evidence.selection.preset == PRESET else None
    if whole is None:
        return f"{text}, and no SVM with as many was run."
    _, other = best_of_both(whole, dataset)
    side = SeedNoise(whole).side(other.cells, ACCURACY)
    ours = evidence.side(network.cells)
    if side is None or ours is None or _images(other.cells) != images[0]:
        return f"{text}, and no SVM with as many was run."
    test = statistics.of_sides(ours, side)
    interval = f" ({test.interval[0]:z.2f} to {test.interval[1]:z.2f})" if test.interval else ""
    return f"{text}; with {images[0]:,} for both the difference is {test.effect:z.2f}{interval}."


def _images(cells: Group) -> int:
    return min((int(c.params.get(keys.N_TRAIN, 0)) for c in cells if c.finished), default=0)


def _over_c(evidence: Evidence, score: Score, *, higher_first: bool) -> Contrast:
    cells: list[Cell] = evidence.cells(SVM_GRID)

    def at(C: float) -> dict[str, Any]:  # noqa: N803 - the study's own name
        return {keys.C: C}

    return merged(
        [
            contrast(cells, at(_HIGHEST_C), at(lower), score)
            if higher_first
            else contrast(cells, at(lower), at(_HIGHEST_C), score)
            for lower in _LOWER_C
        ]
    )


def _chosen(chosen: Champion) -> str:
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
