"""Extra analysis: the best accuracy for a budget of training time."""

from collections.abc import Iterator
from statistics import fmean

from mnist_ops.compare.cells import Cell
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.measure import TO_PERCENT, Group, best, values_of
from mnist_ops.core import keys

from ..studies import DATASETS, RESNET_GRID, SVM_GRID

_BUDGETS = {
    "1 second": 1.0,
    "10 seconds": 10.0,
    "1 minute": 60.0,
    "3 minutes": 180.0,
    "10 minutes": 600.0,
    "1 hour": 3600.0,
}


def budget_topic(selection: Selection) -> Topic | None:
    """Return the best model for each budget of training time; None if no time was measured."""
    rows = [row for dataset in DATASETS for row in _rows(selection, dataset)]
    if not rows:
        return None
    return Topic(
        title="Accuracy for the time that one has",
        paragraphs=(
            "The study reports the best accuracy and, apart from it, how long trainings took. "
            "Who has a minute wants to know what a minute buys. For each budget this is the "
            "configuration with the best validation accuracy among those whose training takes no "
            f"longer, on one core{_machine(selection)}; budgets that buy nothing better than the "
            "one before are left out.",
        ),
        head=("Data set", "Training takes at most", "Best choice", "It takes (s)", "Accuracy (%)"),
        rows=tuple(rows),
        align="lllrr",
    )


def _machine(selection: Selection) -> str:
    machines = provenance(selection.runs).machines
    return f" of {' or '.join(machine.text for machine in machines)}" if machines else ""


def _rows(selection: Selection, dataset: str) -> Iterator[tuple[str, ...]]:
    timed = [group for group in _configurations(selection, dataset) if _seconds(group) is not None]
    before: Group | None = None
    for name, limit in _BUDGETS.items():
        chosen = best([g for g in timed if (_seconds(g) or 0.0) <= limit], keys.VAL_ACCURACY)
        if chosen is None or chosen is before:
            continue
        before = chosen
        params = chosen[0].params
        text = configuration(params, chosen[0].variant)
        yield (
            dataset,
            name,
            f"{model_label(str(params[keys.MODEL]))}, {text}",
            f"{_seconds(chosen):,.1f}",
            f"{fmean(values_of(chosen, keys.TEST_ACCURACY, TO_PERCENT)):.2f}",
        )


def _configurations(selection: Selection, dataset: str) -> list[list[Cell]]:
    cells = [
        cell
        for study in (RESNET_GRID, SVM_GRID)
        for cell in selection.of(study)
        if cell.finished
        and cell.params.get(keys.DATASET) == dataset
        # On a CPU, cells with and without pinned memory are one training.
        and not cell.params.get(keys.PIN_MEMORY)
        and {keys.MODEL, keys.SEED} <= cell.params.keys()
    ]
    return by_configuration(cells)


def _seconds(group: Group) -> float | None:
    times = values_of(group, keys.TRAIN_TIME_S)
    return fmean(times) if times else None
