"""Support vector machines: fit the cells of a grid that share images, and evaluate each.

Read from `fitting.fit_all` down. What configurations share is in `problem`, the kernels that follow
from it in `kernels`, the classifiers in `one_vs_one`, each distinct one solved once by `solutions`.
Each name is imported when it is first used: what only plans fits needs no scikit-learn.
"""

from typing import TYPE_CHECKING

from mnist_ops.core import lazy

if TYPE_CHECKING:
    from mnist_ops.fitting.svm.cost import predict_flops, stored_numbers
    from mnist_ops.fitting.svm.estimator import to_estimator
    from mnist_ops.fitting.svm.fitting import fit, fit_all
    from mnist_ops.fitting.svm.kernels import plain_notice
    from mnist_ops.fitting.svm.memory import TooManyImages, worker_environment

__all__ = [
    "TooManyImages",
    "fit",
    "fit_all",
    "plain_notice",
    "predict_flops",
    "stored_numbers",
    "to_estimator",
    "worker_environment",
]

__getattr__ = lazy.attributes(
    __name__,
    {
        "TooManyImages": "memory",
        "fit": "fitting",
        "fit_all": "fitting",
        "plain_notice": "kernels",
        "predict_flops": "cost",
        "stored_numbers": "cost",
        "to_estimator": "estimator",
        "worker_environment": "memory",
    },
)
