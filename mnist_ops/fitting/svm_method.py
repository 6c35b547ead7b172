"""The method of support vector machines: the cells of a fit group share inner products."""

from collections.abc import Sequence
from dataclasses import replace

from mnist_ops.data import Images
from mnist_ops.fitting import svm
from mnist_ops.fitting.methods import Work
from mnist_ops.study.specs import SvmSpec


def fit(cells: Sequence[SvmSpec], images: Images, work: Work) -> None:
    """Fit classifiers that share inner products together; each has a solution of its own."""
    for cell, result in zip(cells, svm.fit_all(cells, images), strict=True):
        model = svm.to_estimator(cell, images) if work.keep_model else None
        work.on_result(cell, replace(result, state=model))


def cost(cell: SvmSpec) -> float:
    """Return 2 for a polynomial kernel, which leaves more support vectors, and 1 for others."""
    return 2.0 if cell.kernel == "poly" else 1.0
