"""A compiled solver of two-class problems, optional: libsvm's steps, 3.6 times as fast.

It takes every step that libsvm takes, with the same rounding (see smo.cpp), so coefficients,
intercept and number of steps are those of scikit-learn's `SVC`, to the bit. Every process verifies
that before it uses the solver; where there is no compiler, or where another scikit-learn or
compiler computes otherwise, `SVC` does the work.
"""

from ctypes import CDLL, byref, c_double, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC

from mnist_ops.fitting import compiled
from mnist_ops.fitting.svm.kernels import Matrix
from mnist_ops.fitting.svm.memory import CACHE_MB

# Numbers that the compiled solver reads behind a matrix.
MARGIN = 32
_SIGNATURES = {
    "solve_pair": [c_void_p, c_void_p, c_int64, c_int64, c_double, c_void_p, c_void_p, c_void_p]
}


@dataclass(frozen=True)
class PairSolution:
    """The classifier of a pair of classes.

    Attributes:
        coefficients: y alpha of each image.
        intercept: b.
        iterations: steps of the solver.
    """

    coefficients: Matrix
    intercept: float
    iterations: int


def by_libsvm(block: Matrix, n_first: int, penalty: float) -> PairSolution:
    """Solve a pair with scikit-learn.

    Args:
        block: kernel matrix of the images of both classes.
        n_first: images of the first class, which come first.
        penalty: C.
    """
    # The values are known to be finite; looking at each again takes as long as a small fit.
    with config_context(assume_finite=True):
        classifier = SVC(kernel="precomputed", C=penalty, cache_size=CACHE_MB)
        classifier.fit(block, np.arange(len(block)) >= n_first)
    # With two classes scikit-learn turns libsvm's signs around.
    coefficients = np.zeros(len(block))
    coefficients[classifier.support_] = -classifier.dual_coef_[0]
    return PairSolution(coefficients, -classifier.intercept_[0], int(classifier.n_iter_[0]))


def by_steps_of_libsvm(
    block: NDArray[np.float32], diagonal: Matrix, n_first: int, penalty: float
) -> PairSolution:
    """Solve a pair with the compiled solver, which must be `usable`.

    Args:
        block: as for `by_libsvm`, in the precision that libsvm keeps; `MARGIN` numbers that are
            free to be read follow it in memory.
        diagonal: of the kernel matrix, in full precision.
        n_first: as for `by_libsvm`.
        penalty: as for `by_libsvm`.
    """
    library = load()
    if library is None:
        raise RuntimeError("the solver is not compiled")
    coefficients, intercept, iterations = np.empty(len(block)), c_double(), c_int64()
    library.solve_pair(
        block.ctypes.data,
        diagonal.ctypes.data,
        len(block),
        n_first,
        penalty,
        coefficients.ctypes.data,
        byref(intercept),
        byref(iterations),
    )
    return PairSolution(coefficients, intercept.value, iterations.value)


def solve(block: NDArray[Any], diagonal: Matrix, n_first: int, penalty: float) -> PairSolution:
    """Solve a pair with the compiled solver if it is `usable`, else with scikit-learn.

    Args:
        block: as for the solver that is used.
        diagonal: as for `by_steps_of_libsvm`.
        n_first: as for `by_libsvm`.
        penalty: as for `by_libsvm`.
    """
    if usable():
        return by_steps_of_libsvm(block, diagonal, n_first, penalty)
    return by_libsvm(block, n_first, penalty)


@cache
def usable() -> bool:
    """Return whether the solver is compiled, and solves a problem that has everything as libsvm."""
    return load() is not None and _agrees()


@cache
def load() -> CDLL | None:
    """Load the solver, compiled for this processor; None where it cannot be, or is off."""
    return compiled.load(Path(__file__).with_name("smo.cpp"), _SIGNATURES)


def _agrees() -> bool:
    random = np.random.default_rng(0)
    # Classes that overlap, images that occur twice, a size that leaves a rest of a vector; and
    # enough steps that images are laid aside, and taken up again.
    points = random.normal(size=(301, 4))
    points[200:220] = points[:20]
    distances = ((points[:, None] - points) ** 2).sum(axis=2)
    values = np.exp(-distances) * (1 + points[:, :1] * points[:, 0])
    stored = np.empty(values.size + MARGIN, dtype=np.float32)
    block = stored[: values.size].reshape(values.shape)
    block[:] = values
    for penalty in (0.1, 10.0):
        expected = by_libsvm(values, 130, penalty)
        found = by_steps_of_libsvm(block, values.diagonal().copy(), 130, penalty)
        if not np.array_equal(found.coefficients, expected.coefficients) or (
            found.intercept,
            found.iterations,
        ) != (expected.intercept, expected.iterations):
            return False
    return True
