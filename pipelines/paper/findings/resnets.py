"""Section 2.8: the study's findings on its grid of networks."""

from collections.abc import Callable
from typing import Any

from mnist_ops.compare import published
from mnist_ops.compare.cells import Cell, trainings
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.contrast import Contrast, contrast
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.outcome import Outcome, nothing
from mnist_ops.compare.seed_noise import ACCURACY, Score
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, best, values_of
from mnist_ops.core import keys

from .. import printed
from ..studies import DATASETS, RESNET_GRID

SECTION = "2.8 Q1(a) Key findings"

# Tables 2 and 3, which most claims are about, print trainings of so many epochs.
_TABLE_EPOCHS = 5


def small_beats_large(evidence: Evidence) -> Outcome:
    """ResNet-18 against ResNet-50 in every configuration, by `rules.consistent`."""
    return rules.consistent(evidence, small_against_large(evidence))


def high_rate_beats_low(evidence: Evidence) -> Outcome:
    """Learning rate 0.001 against 0.0001 in every configuration, by `rules.consistent`."""
    return rules.consistent(evidence, of_tables(evidence, keys.LEARNING_RATE, 0.001, 0.0001))


def adam_has_the_best_peak(evidence: Evidence) -> Outcome:
    """On each data set the best configuration with Adam against the best with SGD.

    Both are chosen on validation and compared on the test images, by `rules.by_comparison`; it
    has to hold on both data sets. The best on test, the study's own choice, is named too.
    """
    return peaks(
        evidence,
        lambda cell: cell.params.get(keys.OPTIMIZER) == "Adam",
        lambda cell: cell.params.get(keys.OPTIMIZER) == "SGD",
    )


def batch_sizes_differ_little(evidence: Evidence) -> Outcome:
    """Batch size 16 against 32 in every configuration, by `rules.little_difference`."""
    return rules.little_difference(evidence, of_tables(evidence, keys.BATCH_SIZE, 16, 32))


def five_epochs_beat_two(evidence: Evidence) -> Outcome:
    """5 epochs against 2 of the same training, on average, by `rules.higher`."""
    cells = evidence.cells(RESNET_GRID)
    return rules.higher(evidence, contrast(cells, {keys.EPOCHS: 5}, {keys.EPOCHS: 2}))


def small_against_large(evidence: Evidence, score: Score = ACCURACY) -> Contrast:
    """ResNet-18 matched with ResNet-50, at the epochs of tables 2 and 3."""
    return of_tables(evidence, keys.MODEL, "resnet18", "resnet50", score)


def peaks(
    evidence: Evidence, ours: Callable[[Cell], bool], theirs: Callable[[Cell], bool]
) -> Outcome:
    """On each data set the best configuration of one kind against the best of another."""
    parts = {}
    for dataset in DATASETS:
        cells = table_cells(evidence, dataset=dataset)
        sides = [trainings(cell for cell in cells if kind(cell)) for kind in (ours, theirs)]
        chosen = [best(side, keys.VAL_ACCURACY) for side in sides]
        if chosen[0] is None or chosen[1] is None:
            parts[dataset] = nothing("finished cells of both kinds")
            continue
        on_test = [best(side, keys.TEST_ACCURACY) for side in sides]
        text = (
            f"best on validation {_named(chosen[0])} against {_named(chosen[1])}; best on test, "
            f"the study's way, {_named(on_test[0])} against {_named(on_test[1])}; the former "
            "differ by"
        )
        lacking = "a test accuracy of both"
        parts[dataset] = rules.by_comparison(evidence, chosen[0], chosen[1], text, lacking)
    return rules.all_hold(parts)


def table_cells(evidence: Evidence, **params: Any) -> list[Cell]:
    """Return the cells that tables 2 and 3 print."""
    return evidence.cells(RESNET_GRID, epochs=_TABLE_EPOCHS, **params)


def of_tables(
    evidence: Evidence, axis: str, first: Any, second: Any, score: Score = ACCURACY
) -> Contrast:
    """Match two values of a setting among the cells of tables 2 and 3."""
    return contrast(table_cells(evidence), {axis: first}, {axis: second}, score)


def _named(group: Group | None) -> str:
    if not group:
        return "none"
    params = group[0].params
    accuracy = values_of(group, keys.TEST_ACCURACY, TO_PERCENT)
    text = f"{model_label(str(params.get(keys.MODEL)))}, {configuration(params)}"
    return f"{text} ({sum(accuracy) / len(accuracy):.2f}%)"


def _printed(axis: str, first: Any, second: Any) -> list[printed.ValuePair]:
    return printed.matched((2, 3), published.ACCURACY, {axis: first}, {axis: second})


def _printed_epochs() -> str:
    pairs = printed.matched((4,), published.ACCURACY, {keys.EPOCHS: 5}, {keys.EPOCHS: 2})
    return f"Table 4: {printed.accuracies(pairs)}"


CLAIMS = (
    Claim(
        "2.8.1",
        "ResNet-18 is consistently more accurate than ResNet-50",
        lambda: (
            "Tables 2 and 3: " + printed.accuracies(_printed(keys.MODEL, "resnet18", "resnet50"))
        ),
        small_beats_large,
    ),
    Claim(
        "2.8.2",
        "Learning rate 0.001 is more accurate than 0.0001 in all configurations",
        lambda: (
            "Tables 2 and 3: " + printed.accuracies(_printed(keys.LEARNING_RATE, 0.001, 0.0001))
        ),
        high_rate_beats_low,
    ),
    Claim(
        "2.8.3",
        "The most accurate network of each data set is trained with Adam",
        lambda: f"Tables 2 and 3, best of each: {printed.optimizer_peaks()}",
        adam_has_the_best_peak,
    ),
    Claim(
        "2.8.4",
        "Batch sizes 16 and 32 differ by less than one point",
        lambda: f"Tables 2 and 3: {printed.largest(_printed(keys.BATCH_SIZE, 16, 32), 1)}",
        batch_sizes_differ_little,
    ),
    Claim(
        "2.8.5",
        "5 epochs give a higher accuracy than 2",
        _printed_epochs,
        five_epochs_beat_two,
    ),
)
