"""Solve each distinct classifier once, and the classifiers of one kernel together.

Two cells with the same kernel (see `kernels`) and C have the same solution. Cells with the same
kernel and other C have the same kernel values, in training and in prediction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mnist_ops.fitting.svm import one_vs_one
from mnist_ops.fitting.svm.kernels import Kernel
from mnist_ops.fitting.svm.one_vs_one import OneVsOne
from mnist_ops.fitting.svm.problem import Problem

Wanted = tuple[Kernel, float]


@dataclass(frozen=True)
class Solution:
    """A solved classifier, its predictions, and the times of both.

    Attributes:
        classifier: of all pairs of classes.
        val: predicted class of each validation image.
        test: predicted class of each test image.
        kernel_s: seconds for the kernel values, which other classifiers may have shared.
        solver_s: seconds for the classifiers.
        predict_s: seconds to predict the test images, kernel values with them included.
    """

    classifier: OneVsOne
    val: NDArray[np.uint8]
    test: NDArray[np.uint8]
    kernel_s: float
    solver_s: float
    predict_s: float


# Let go of together with the problem.
_solved: WeakKeyDictionary[Problem, dict[Wanted, Solution]] = WeakKeyDictionary()


def solutions_of(problem: Problem, wanted: Iterable[Wanted]) -> dict[Wanted, tuple[Solution, bool]]:
    """Return the solution of each kernel and C, and whether this call had to solve it.

    Raises:
        InvalidInput: a kernel overflows on these images.
    """
    known = _solved.setdefault(problem, {})
    missing = [each for each in dict.fromkeys(wanted) if each not in known]
    penalties: dict[Kernel, list[float]] = {}
    for kernel, penalty in missing:
        penalties.setdefault(kernel, []).append(penalty)
    for kernel, values in penalties.items():
        for penalty, solution in zip(values, _solve(problem, kernel, values), strict=True):
            known[kernel, penalty] = solution
    return {each: (known[each], each in missing) for each in wanted}


def _solve(problem: Problem, kernel: Kernel, penalties: list[float]) -> list[Solution]:
    solved = one_vs_one.solve(problem, kernel, penalties)
    val = one_vs_one.predict(problem, kernel, solved.classifiers, "val")
    test = one_vs_one.predict(problem, kernel, solved.classifiers, "test")
    return [
        Solution(
            classifier=classifier,
            val=val.classes[number],
            test=test.classes[number],
            kernel_s=solved.kernel_s,
            solver_s=solved.solver_s[number],
            predict_s=test.kernel_s + test.decision_s[number],
        )
        for number, classifier in enumerate(solved.classifiers)
    ]
