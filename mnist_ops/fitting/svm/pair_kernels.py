"""Kernel matrices of pairs of classes, from blocks of inner products."""

import time
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.fitting.svm import smo
from mnist_ops.fitting.svm.kernels import Kernel, Matrix
from mnist_ops.fitting.svm.problem import Problem

Block = NDArray[Any]


class PairKernels:
    """The kernel matrix of one pair of classes after the other, for each of some kernels.

    Inner products that the problem does not keep are computed once for all kernels of a pair.

    Attributes:
        products_s: seconds that these have taken.
    """

    def __init__(self, problem: Problem, kernels: Collection[Kernel]):
        self.products_s = 0.0
        self._problem = problem
        self._kernels = kernels
        # The compiled solver takes the precision that libsvm converts values to.
        self._type = np.float32 if smo.usable() else np.float64
        self._buffer = np.empty(sum(sorted(problem.sizes)[-2:]) ** 2 + smo.MARGIN, self._type)
        # Of a class with itself: in 9 pairs each, so all are kept if there is room.
        self._own: dict[tuple[Kernel, int], Block] = {}
        self._diagonals: dict[tuple[Kernel, int], Matrix] = {}
        # The latest inner products of a class with another, and of one with itself.
        self._latest: dict[bool, tuple[tuple[int, int], Matrix]] = {}

    def matrix(self, kernel: Kernel, i: int, j: int) -> tuple[Block, Matrix]:
        """Return the kernel matrix of the images of class `i`, then `j`, and its diagonal.

        The matrix is good until the next call.
        """
        n_first = self._problem.sizes[i]
        size = n_first + self._problem.sizes[j]
        block = self._buffer[: size**2].reshape(size, size)
        if (kernel, i) not in self._own:
            if not self._problem.shared:
                self._own.clear()
            for each in self._kernels:
                self._own[each, i] = np.empty((n_first, n_first), self._type)
                self._fill(each, i, i, self._own[each, i])
        block[:n_first, :n_first] = self._own[kernel, i]
        self._fill(kernel, i, j, block[:n_first, n_first:])
        # Some rows at a time: a whole transposed copy would fetch each cache line eight times.
        for start in range(0, n_first, 64):
            rows = slice(start, min(start + 64, n_first))
            block[n_first:, rows] = block[rows, n_first:].T
        second = block[n_first:, n_first:]
        if (kernel, j) in self._own:
            second[:] = self._own[kernel, j]
        else:
            self._fill(kernel, j, j, second)
            if self._problem.shared:
                self._own[kernel, j] = second.copy()
        return block, np.concatenate([self._diagonals[kernel, i], self._diagonals[kernel, j]])

    def _fill(self, kernel: Kernel, i: int, j: int, out: Block) -> None:
        squares = self._problem.squares
        left, right = squares[self._problem.of_class(i)], squares[self._problem.of_class(j)]
        products = self._products(i, j, out)
        if i == j:
            self._diagonals[kernel, i] = kernel.diagonal(products, left)
        kernel.apply(products, left, right, out)

    def _products(self, i: int, j: int, out: Block) -> Matrix:
        if self._problem.shared:
            return self._problem.gram_block(i, j)
        found, products = self._latest.get(i == j, (None, out))
        if found != (i, j):
            start = time.perf_counter()
            if out.dtype != np.float64:
                products = np.empty((self._problem.sizes[i], self._problem.sizes[j]))
                self._latest[i == j] = (i, j), products
            self._problem.multiply(i, j, products)
            self.products_s += time.perf_counter() - start
        return products
