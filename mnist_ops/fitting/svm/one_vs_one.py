"""One-vs-one classifiers, solved pair by pair, and the vote among them.

libsvm trains a classifier for each pair of classes i < j, on the images of these two alone, those
of class i first and with y = +1 (`svm_train` in svm.cpp; Chang and Lin, LIBSVM, ACM TIST 2(3),
2011, section 7). The pairs do not depend on each other: solving each as a two-class
`SVC(kernel="precomputed")` on its own block of the kernel matrix takes the same steps to the same
solution as the one call with ten classes, and never holds more than a block.

A new image x gets from the classifier (i, j) ::

    sum over its support vectors s of  y_s alpha_s K(s, x)  +  b

and a vote for i if this is above 0, else for j; most votes win, and of several classes with as
many votes the first (`svm_predict_values` in svm.cpp). For all images and pairs together the sums
are one matrix product, kernel values times signed dual coefficients.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC

from mnist_ops.fitting.svm.kernels import Kernel, Matrix
from mnist_ops.fitting.svm.memory import CACHE_MB
from mnist_ops.fitting.svm.problem import Index, Problem


@dataclass(frozen=True)
class OneVsOne:
    """A classifier of all classes: its solved pairs, in the order (0, 1), (0, 2), ..., (1, 2), ...

    Attributes:
        support: the support vectors of any pair, ascending positions in `Problem.train`.
        coefficients: y alpha as libsvm and scikit-learn keep them, shape (classes - 1, support
            vectors): one of class c is in a pair with each other class, and row r is its pair with
            the r-th of these (scikit-learn user guide 1.4.1.1).
        intercepts: b of each pair.
        iterations: steps of the solver in each pair.
    """

    support: Index
    coefficients: Matrix
    intercepts: Matrix
    iterations: NDArray[np.int32]


@dataclass(frozen=True)
class Solved:
    """The solved classifiers of one kernel.

    Attributes:
        classifiers: one for each C that was asked for.
        kernel_s: seconds that went into kernel values, which all of them share.
        solver_s: seconds that each classifier's own pairs took.
    """

    classifiers: list[OneVsOne]
    kernel_s: float
    solver_s: list[float]


def solve(problem: Problem, kernel: Kernel, penalties: Sequence[float]) -> Solved:
    """Solve the classifier of each pair of classes, for each of `penalties` (values of C).

    Raises:
        InvalidInput: the kernel overflows on these images.
    """
    start = time.perf_counter()
    kernel.check_range(float(problem.squares.max()))
    n_classes = len(problem.classes)
    largest = sum(sorted(problem.sizes)[-2:])
    buffer = np.empty(largest**2)
    # Kernel blocks of a class with itself: in 9 pairs each, so all are kept if there is room.
    own: dict[int, Matrix] = {}
    solvers = [_Solver(problem, penalty) for penalty in penalties]
    for pair, (i, j) in enumerate(combinations(range(n_classes), 2)):
        size = problem.sizes[i] + problem.sizes[j]
        block = buffer[: size**2].reshape(size, size)
        _fill(problem, kernel, i, j, own, block)
        for solver in solvers:
            solver.solve_pair(pair, i, j, block)
    solver_s = [solver.seconds for solver in solvers]
    classifiers = [solver.finish() for solver in solvers]
    return Solved(classifiers, time.perf_counter() - start - sum(solver_s), solver_s)


class _Solver:
    """The solver of one classifier, pair by pair."""

    def __init__(self, problem: Problem, penalty: float):
        n_classes = len(problem.classes)
        n_pairs = n_classes * (n_classes - 1) // 2
        self.problem = problem
        self.penalty = penalty
        self.seconds = 0.0
        self.coefficients = np.zeros((n_classes - 1, len(problem.train)))
        self.intercepts = np.empty(n_pairs)
        self.iterations = np.empty(n_pairs, dtype=np.int32)

    def solve_pair(self, pair: int, i: int, j: int, block: Matrix) -> None:
        """Solve pair number `pair`, of classes `i` and `j`, on their kernel matrix."""
        start = time.perf_counter()
        of_second = np.arange(len(block)) >= self.problem.sizes[i]
        # The values are known to be finite; looking at each again takes as long as a small fit.
        with config_context(assume_finite=True):
            classifier = SVC(kernel="precomputed", C=self.penalty, cache_size=CACHE_MB)
            classifier.fit(block, of_second)
        members = np.r_[self.problem.of_class(i), self.problem.of_class(j)]
        # The number of the other class among the others: j - 1 of those that are not i.
        rows = np.where(of_second, i, j - 1)
        support = classifier.support_
        # With two classes scikit-learn turns libsvm's signs around.
        self.coefficients[rows[support], members[support]] = -classifier.dual_coef_[0]
        self.intercepts[pair] = -classifier.intercept_[0]
        self.iterations[pair] = classifier.n_iter_[0]
        self.seconds += time.perf_counter() - start

    def finish(self) -> OneVsOne:
        """Return the classifier, without the images that no pair needs."""
        support = np.flatnonzero(self.coefficients.any(axis=0))
        coefficients = np.ascontiguousarray(self.coefficients[:, support])
        return OneVsOne(support, coefficients, self.intercepts, self.iterations)


@dataclass(frozen=True)
class Predicted:
    """The predictions of the classifiers of one kernel for a part.

    Attributes:
        classes: of each classifier, the class of each image, uint8.
        kernel_s: seconds that went into kernel values, which all of them share.
        decision_s: seconds that each classifier's own decisions took.
    """

    classes: list[NDArray[np.uint8]]
    kernel_s: float
    decision_s: list[float]


def predict(
    problem: Problem, kernel: Kernel, classifiers: Sequence[OneVsOne], part: str
) -> Predicted:
    """Classify the images of a part, ``val`` or ``test``, by classifiers with the same kernel."""
    kept_s = problem.product_s(part)
    start = time.perf_counter()
    support = np.unique(np.concatenate([classifier.support for classifier in classifiers]))
    squares = problem.squares[support]
    by_pair = [_by_pair(problem, classifier, support) for classifier in classifiers]
    votes: list[list[Index]] = [[] for _ in classifiers]
    decision_s = [0.0 for _ in classifiers]
    for some in problem.evaluations(part, support):
        kernel.apply(some.products, some.squares, squares)
        for number, classifier in enumerate(classifiers):
            own_start = time.perf_counter()
            decisions = some.products @ by_pair[number] + classifier.intercepts
            votes[number].append(vote(decisions))
            decision_s[number] += time.perf_counter() - own_start
    kernel_s = kept_s + time.perf_counter() - start - sum(decision_s)
    classes = [problem.classes[np.concatenate(each)].astype(np.uint8) for each in votes]
    return Predicted(classes, kernel_s, decision_s)


def vote(decisions: Matrix) -> NDArray[np.int64]:
    """Return the number of the class with most votes, the first of several.

    Args:
        decisions: shape (images, pairs); above 0 is for the first class of the pair.
    """
    # p = k (k - 1) / 2 pairs: (2k - 1)^2 = 8p + 1.
    n_classes = (1 + round((8 * decisions.shape[1] + 1) ** 0.5)) // 2
    votes = np.zeros((len(decisions), n_classes), dtype=np.int64)
    for pair, (i, j) in enumerate(combinations(range(n_classes), 2)):
        for_first = decisions[:, pair] > 0
        votes[:, i] += for_first
        votes[:, j] += ~for_first
    return votes.argmax(axis=1)


def support_by_class(problem: Problem, classifier: OneVsOne) -> Index:
    """Count the support vectors of each class."""
    counts: Index = np.bincount(
        _class_of(problem, classifier.support), minlength=len(problem.classes)
    )
    return counts


def _by_pair(problem: Problem, classifier: OneVsOne, support: Index) -> Matrix:
    """Return the coefficient of each image of `support` in each pair, shape (images, pairs)."""
    n_classes = len(problem.classes)
    coefficients = np.zeros((n_classes - 1, len(support)))
    coefficients[:, np.searchsorted(support, classifier.support)] = classifier.coefficients
    own = _class_of(problem, support)
    by_pair = np.zeros((len(support), len(classifier.intercepts)))
    for pair, (i, j) in enumerate(combinations(range(n_classes), 2)):
        by_pair[own == i, pair] = coefficients[j - 1, own == i]
        by_pair[own == j, pair] = coefficients[i, own == j]
    return by_pair


def _class_of(problem: Problem, positions: Index) -> Index:
    numbers: Index = np.searchsorted(np.cumsum(problem.sizes), positions, side="right")
    return numbers


def _fill(
    problem: Problem, kernel: Kernel, i: int, j: int, own: dict[int, Matrix], block: Matrix
) -> None:
    """Write the kernel matrix of the images of class `i`, then `j`; look up and add to `own`."""
    n_first = problem.sizes[i]
    if i not in own:
        if not problem.shared:
            own.clear()
        own[i] = np.empty((n_first, n_first))
        _kernel_block(problem, kernel, i, i, own[i])
    block[:n_first, :n_first] = own[i]
    _kernel_block(problem, kernel, i, j, block[:n_first, n_first:])
    # Some rows at a time: a whole transposed copy would fetch each cache line eight times.
    for start in range(0, n_first, 64):
        rows = slice(start, min(start + 64, n_first))
        block[n_first:, rows] = block[rows, n_first:].T
    if j in own:
        block[n_first:, n_first:] = own[j]
        return
    _kernel_block(problem, kernel, j, j, block[n_first:, n_first:])
    if problem.shared:
        own[j] = block[n_first:, n_first:].copy()


def _kernel_block(problem: Problem, kernel: Kernel, i: int, j: int, out: Matrix) -> None:
    problem.gram_block(i, j, out)
    kernel.apply(out, problem.squares[problem.of_class(i)], problem.squares[problem.of_class(j)])
