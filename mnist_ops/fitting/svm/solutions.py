"""Solve each distinct classifier once, and the classifiers of one kernel together.

Two cells with the same kernel (see `kernels`) and C have the same solution. Cells with the same
kernel and other C have the same kernel values, in training and in prediction; those with other
kernels have the same inner products.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mnist_ops.fitting.svm import one_vs_one, smo
from mnist_ops.fitting.svm.kernels import Kernel
from mnist_ops.fitting.svm.memory import KERNELS_AT_ONCE
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
        products_s: seconds for the inner products.
        sharing: kernels that shared these.
        kernel_s: seconds for the kernel values, which other classifiers may have shared.
        solver_s: seconds for the classifiers.
        predict_s: seconds to predict the test images, kernel values with them included.
    """

    classifier: OneVsOne
    val: NDArray[np.uint8]
    test: NDArray[np.uint8]
    products_s: float
    sharing: int
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
    # Kernels share inner products that are not kept; those that are need no company.
    count = 1 if problem.shared or not smo.usable() else KERNELS_AT_ONCE
    kernels = list(penalties)
    for start in range(0, len(kernels), count):
        some = {kernel: penalties[kernel] for kernel in kernels[start : start + count]}
        known |= _solve(problem, some)
    return {each: (known[each], each in missing) for each in wanted}


def _solve(problem: Problem, wanted: dict[Kernel, list[float]]) -> dict[Wanted, Solution]:
    solved = dict(zip(wanted, one_vs_one.solve(problem, wanted), strict=True))
    classifiers = {kernel: each.classifiers for kernel, each in solved.items()}
    val = one_vs_one.predict(problem, classifiers, "val")
    test = one_vs_one.predict(problem, classifiers, "test")
    return {
        (kernel, penalty): Solution(
            classifier=solved[kernel].classifiers[number],
            val=val[position].classes[number],
            test=test[position].classes[number],
            products_s=solved[kernel].products_s,
            sharing=len(wanted),
            kernel_s=solved[kernel].kernel_s,
            solver_s=solved[kernel].solver_s[number],
            predict_s=test[position].kernel_s + test[position].decision_s[number],
        )
        for position, kernel in enumerate(wanted)
        for number, penalty in enumerate(wanted[kernel])
    }
