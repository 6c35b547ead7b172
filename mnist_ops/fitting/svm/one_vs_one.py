"""One-vs-one classifiers, solved pair by pair, and the vote among them.

libsvm trains a classifier for each pair of classes i < j, on the images of these two alone, those
of class i first and with y = +1 (`svm_train` in svm.cpp; Chang and Lin, LIBSVM, ACM TIST 2(3),
2011, section 7). The pairs do not depend on each other: solving each on its own block of the kernel
matrix takes the same steps to the same solution as one `SVC` with ten classes, and never holds more
than a block.

A new image x gets from the classifier (i, j) ::

    sum over its support vectors s of  y_s alpha_s K(s, x)  +  b

and a vote for i if this is above 0, else for j; most votes win, and of several classes with as
many votes the first (`svm_predict_values` in svm.cpp). For all images and pairs together the sums
are one matrix product, kernel values times signed dual coefficients.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mnist_ops.fitting.svm import smo
from mnist_ops.fitting.svm.kernels import Kernel, Matrix
from mnist_ops.fitting.svm.pair_kernels import Block, PairKernels
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
        products_s: seconds that went into inner products, which the other kernels share.
        kernel_s: seconds that went into kernel values, which all of them share.
        solver_s: seconds that each classifier's own pairs took.
    """

    classifiers: list[OneVsOne]
    products_s: float
    kernel_s: float
    solver_s: list[float]


def solve(problem: Problem, wanted: Mapping[Kernel, Sequence[float]]) -> list[Solved]:
    """Solve the classifier of each pair of classes, for each kernel and each value of C.

    Raises:
        InvalidInput: a kernel overflows on these images.
    """
    for kernel in wanted:
        kernel.check_range(float(problem.squares.max()))
    kernels = PairKernels(problem, wanted)
    solvers = {kernel: [_Solver(problem, each) for each in wanted[kernel]] for kernel in wanted}
    kernel_s = dict.fromkeys(wanted, 0.0)
    for pair, (i, j) in enumerate(combinations(range(len(problem.classes)), 2)):
        for kernel in wanted:
            start = time.perf_counter() + kernels.products_s
            block, diagonal = kernels.matrix(kernel, i, j)
            kernel_s[kernel] += time.perf_counter() - (start + kernels.products_s)
            for solver in solvers[kernel]:
                solver.solve_pair(pair, i, j, block, diagonal)
    return [
        Solved(
            [solver.finish() for solver in solvers[kernel]],
            kernels.products_s,
            kernel_s[kernel],
            [solver.seconds for solver in solvers[kernel]],
        )
        for kernel in wanted
    ]


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

    def solve_pair(self, pair: int, i: int, j: int, block: Block, diagonal: Matrix) -> None:
        """Solve pair number `pair`, of classes `i` and `j`, on their kernel matrix."""
        start = time.perf_counter()
        n_first = self.problem.sizes[i]
        solution = smo.solve(block, diagonal, n_first, self.penalty)
        # The number of the other class among the others: j - 1 of those that are not i.
        self.coefficients[j - 1, self.problem.of_class(i)] = solution.coefficients[:n_first]
        self.coefficients[i, self.problem.of_class(j)] = solution.coefficients[n_first:]
        self.intercepts[pair] = solution.intercept
        self.iterations[pair] = solution.iterations
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
        kernel_s: seconds that went into kernel values, which all of them share, with the inner
            products, which the other kernels share.
        decision_s: seconds that each classifier's own decisions took.
    """

    classes: list[NDArray[np.uint8]]
    kernel_s: float
    decision_s: list[float]


def predict(
    problem: Problem, solved: Mapping[Kernel, Sequence[OneVsOne]], part: str
) -> list[Predicted]:
    """Classify the images of a part, ``val`` or ``test``, by the classifiers of each kernel."""
    kept_s = problem.product_s(part)
    start = time.perf_counter()
    support = np.unique(
        np.concatenate([each.support for classifiers in solved.values() for each in classifiers])
    )
    squares = problem.squares[support]
    deciders = {
        kernel: [_Decider(problem, each, support) for each in classifiers]
        for kernel, classifiers in solved.items()
    }
    own_s = dict.fromkeys(solved, 0.0)
    for some in problem.evaluations(part, support):
        # One kernel needs the products no longer; several do.
        out = some.products if len(solved) == 1 else np.empty_like(some.products)
        for kernel in solved:
            own_start = time.perf_counter()
            kernel.apply(some.products, some.squares, squares, out)
            own_s[kernel] += time.perf_counter() - own_start
            for decider in deciders[kernel]:
                decider.decide(out)
    decision_s = {kernel: [each.seconds for each in deciders[kernel]] for kernel in solved}
    shared_s = (
        kept_s
        + time.perf_counter()
        - start
        - sum(own_s.values())
        - sum(sum(each) for each in decision_s.values())
    )
    return [
        Predicted(
            [
                problem.classes[np.concatenate(each.votes)].astype(np.uint8)
                for each in deciders[kernel]
            ],
            shared_s + own_s[kernel],
            decision_s[kernel],
        )
        for kernel in solved
    ]


class _Decider:
    """The decisions of one classifier, some images at a time."""

    def __init__(self, problem: Problem, classifier: OneVsOne, support: Index):
        self.by_pair = _by_pair(problem, classifier, support)
        self.intercepts = classifier.intercepts
        self.votes: list[Index] = []
        self.seconds = 0.0

    def decide(self, values: Matrix) -> None:
        """Vote on images whose kernel values with the support vectors are `values`."""
        start = time.perf_counter()
        self.votes.append(vote(values @ self.by_pair + self.intercepts))
        self.seconds += time.perf_counter() - start


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
