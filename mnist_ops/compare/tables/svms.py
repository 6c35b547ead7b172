"""Tables 5 and 6: the support vector machines over kernel, C and gamma."""

from mnist_ops.compare import published
from mnist_ops.compare.cells import SVM_GRID
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.measure import (
    TO_PERCENT,
    compared,
    compared_columns,
    grouped,
    key_columns,
    key_values,
    printed_value,
    repeated,
    row_keys,
)
from mnist_ops.compare.tables.table import F1, PERCENT, SECONDS, Table, build
from mnist_ops.core import keys

_BY_KERNEL = {keys.KERNEL: "Kernel", keys.C: "C", keys.GAMMA: "Gamma"}


def svm_table(selection: Selection, number: int, dataset: str) -> Table:
    """Table 5 or 6: test accuracy, weighted F1 and training time, a row a configuration."""
    cells = [c for c in selection.of(SVM_GRID) if c.params.get(keys.DATASET) == dataset]
    by_row = grouped(cells, lambda cell: (*cell.key(*_BY_KERNEL), cell.variant))
    row_order = row_keys(number, _BY_KERNEL, by_row)
    spread = repeated(by_row.values())
    columns = [
        *key_columns(_BY_KERNEL, row_order),
        *compared_columns("accuracy_pct", "Test Accuracy (%)", PERCENT, spread=spread),
        *compared_columns("f1", "F1 Score", F1, spread=spread),
        *compared_columns("train_time_s", "Train Time (s)", SECONDS, spread=spread),
    ]
    rows = []
    for key in row_order:
        of_row = by_row.get(key, [])
        row = key_values(_BY_KERNEL, key)
        for name, metric, printed, scale in (
            ("accuracy_pct", keys.TEST_ACCURACY, published.ACCURACY, TO_PERCENT),
            ("f1", keys.TEST_F1, published.F1, 1),
            ("train_time_s", keys.TRAIN_TIME_S, published.TRAIN_TIME_S, 1),
        ):
            value = printed_value(number, printed, _BY_KERNEL, key)
            row |= compared(name, of_row, metric, value, scale)
        rows.append(row)
    notes = ("F1 is the mean over classes, weighted by their number of test images.",)
    return build(number, f"SVM Results on {dataset} Dataset", columns, rows, notes)
