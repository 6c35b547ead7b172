"""Tables 2 to 4: test accuracy of the networks over the hyper-parameters."""

from collections.abc import Iterable

from mnist_ops.compare import published
from mnist_ops.compare.cells import RESNET_GRID, Cell
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import (
    TO_PERCENT,
    better_pin_memory,
    compared,
    compared_columns,
    grouped,
    key_columns,
    key_values,
    mean,
    models_of,
    printed_value,
    repeated,
    row_keys,
)
from mnist_ops.compare.tables.table import PERCENT, Table, build
from mnist_ops.core import keys

_BY_BATCH = {
    keys.BATCH_SIZE: "Batch Size",
    keys.OPTIMIZER: "Optimizer",
    keys.LEARNING_RATE: "Learning Rate",
    keys.EPOCHS: "Epochs",
}
_BY_EPOCHS = {
    keys.BATCH_SIZE: "Batch Size",
    keys.OPTIMIZER: "Optimizer",
    keys.PIN_MEMORY: "pin_memory",
    keys.EPOCHS: "Epochs",
}
# What table 4 holds fixed.
_FIXED = {keys.DATASET: "MNIST", keys.MODEL: "resnet18", keys.LEARNING_RATE: 0.001}


def accuracy_table(selection: Selection, number: int, dataset: str) -> Table:
    """Table 2 or 3: accuracy by batch size, optimizer and learning rate, a column group a model.

    The rows are the grid's longest trainings, and those of a length that the preset does not ask
    for. Of the two values of pin_memory each shows the one with the better validation accuracy,
    mean over seeds.
    """
    cells = [c for c in selection.of(RESNET_GRID) if c.params.get(keys.DATASET) == dataset]
    shorter = _shorter_epochs(cells)
    cells = [c for c in cells if c.params.get(keys.EPOCHS) not in shorter]
    by_row = grouped(cells, lambda cell: (*cell.key(*_BY_BATCH), cell.variant))
    row_order = row_keys(number, _BY_BATCH, by_row)
    models = models_of(number, cells)
    by_repeat = grouped(
        cells, lambda cell: (*cell.key(keys.MODEL, keys.PIN_MEMORY, *_BY_BATCH), cell.variant)
    )
    spread = repeated(by_repeat.values())

    columns = key_columns(_BY_BATCH, row_order)
    for model in models:
        columns += compared_columns(
            f"{model}_accuracy_pct",
            f"{model_label(model)} (%)",
            PERCENT,
            spread=spread,
            best_on_test=True,
        )
    rows = []
    for key in row_order:
        row = key_values(_BY_BATCH, key)
        for model in models:
            name = f"{model}_accuracy_pct"
            of_model = [c for c in by_row.get(key, []) if c.params.get(keys.MODEL) == model]
            row |= compared(
                name,
                better_pin_memory(of_model, keys.VAL_ACCURACY),
                keys.TEST_ACCURACY,
                printed_value(number, published.ACCURACY, _BY_BATCH, key, model=model),
                TO_PERCENT,
            )
            on_test = better_pin_memory(of_model, keys.TEST_ACCURACY)
            row[f"{name}_best_on_test"] = mean(on_test, keys.TEST_ACCURACY, TO_PERCENT)
        rows.append(row)
    notes = (
        "Measured: of the two values of pin_memory the one with the better validation accuracy "
        "(False where they are equal). Best on test: the one with the better test accuracy, which "
        "is the study's own way to choose.",
    )
    return build(number, f"{dataset} Test Classification Accuracy (%)", columns, rows, notes)


def epochs_table(selection: Selection) -> Table:
    """Table 4: accuracy of ResNet-18 on MNIST at learning rate 0.001 by epochs and pin_memory."""
    cells = [
        cell
        for cell in selection.of(RESNET_GRID)
        if all(cell.params.get(name) == value for name, value in _FIXED.items())
    ]
    by_row = grouped(cells, lambda cell: (*cell.key(*_BY_EPOCHS), cell.variant))
    # The study's rows run through the values in their natural order; None, a param that a run
    # does not have, comes last.
    found = sorted(by_row, key=lambda key: [(value is None, value) for value in key])
    row_order = row_keys(4, _BY_EPOCHS, found)
    name = "accuracy_pct"
    columns = key_columns(_BY_EPOCHS, row_order) + compared_columns(
        name, "Accuracy (%)", PERCENT, spread=repeated(by_row.values())
    )
    rows = [
        key_values(_BY_EPOCHS, key)
        | compared(
            name,
            by_row.get(key, []),
            keys.TEST_ACCURACY,
            printed_value(4, published.ACCURACY, _BY_EPOCHS, key),
            TO_PERCENT,
        )
        for key in row_order
    ]
    notes = [f"The study prints no values for batch size {b}." for b in _unprinted(row_order)]
    return build(
        4,
        "Effect of Epochs and Pin Memory (MNIST, ResNet-18, lr=0.001)",
        columns,
        rows,
        notes,
    )


def _shorter_epochs(cells: list[Cell]) -> set[object]:
    """The lengths of the grid's trainings that are left to table 4.

    All but the longest; where that was not run, the longest that was is kept as well.
    """
    asked = {c.params[keys.EPOCHS] for c in cells if c.expected and keys.EPOCHS in c.params}
    ran = {c.params[keys.EPOCHS] for c in cells if c.finished and keys.EPOCHS in c.params}
    if not asked:
        return set()
    return asked - {max(asked), max(ran, default=max(asked))}


def _unprinted(row_order: Iterable[tuple[object, ...]]) -> list[object]:
    printed = {batch for (batch,) in published.rows(4, keys.BATCH_SIZE)}
    return [b for b in dict.fromkeys(key[0] for key in row_order) if b not in printed]
