"""The printed numbers of the paper's tables 2 to 11.

``published.csv`` adds the numbers of epochs that the paper does not print: 5 for tables 2, 3, 7 and
11, whose values are those of table 4's 5-epoch rows, and 2 for tables 8 and 9, whose accuracies fit
that.
"""

from functools import partial
from importlib.resources import files

from mnist_ops.compare.findings import printed
from mnist_ops.compare.findings.printed import ValuePair, accuracies, largest, ratios
from mnist_ops.compare.published import Published
from mnist_ops.core import keys

from .studies import DATASETS

__all__ = [
    "PUBLISHED",
    "ValuePair",
    "accuracies",
    "each",
    "largest",
    "matched",
    "optimizer_peaks",
    "ratios",
]

PUBLISHED = Published.read(files(__package__).joinpath("published.csv").read_text("utf-8"))

matched = partial(printed.matched, PUBLISHED)
best_of = partial(printed.best_of, PUBLISHED)
each = partial(printed.each, PUBLISHED)


def optimizer_peaks() -> str:
    """Return the best printed accuracy with each optimizer on each data set."""
    return "; ".join(
        ", ".join(
            f"{optimizer} {best_of(table, dataset, **{keys.OPTIMIZER: optimizer})}"
            for table, dataset in zip((2, 3), DATASETS, strict=True)
        )
        for optimizer in ("Adam", "SGD")
    )
