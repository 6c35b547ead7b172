"""The study's eleven tables, measured beside published."""

from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.champions import best_table, improvement_table
from mnist_ops.compare.tables.complexity import complexity_table
from mnist_ops.compare.tables.configuration import configuration_table
from mnist_ops.compare.tables.devices import device_table, speedup_table
from mnist_ops.compare.tables.resnets import accuracy_table, epochs_table
from mnist_ops.compare.tables.svms import svm_table
from mnist_ops.compare.tables.table import Table

__all__ = ["Table", "all_tables"]


def all_tables(selection: Selection) -> list[Table]:
    """Tables 1 to 11, in order: a pure function of the selection."""
    return [
        configuration_table(selection),
        accuracy_table(selection, 2, "MNIST"),
        accuracy_table(selection, 3, "FashionMNIST"),
        epochs_table(selection),
        svm_table(selection, 5, "MNIST"),
        svm_table(selection, 6, "FashionMNIST"),
        improvement_table(selection),
        device_table(selection),
        speedup_table(selection),
        complexity_table(selection),
        best_table(selection),
    ]
