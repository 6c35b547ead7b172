"""The fitting problem that configurations share: standardised pixels and inner products.

The training images are kept by class, because a one-vs-one classifier sees two classes: its Gram
matrix is made of blocks, one for each pair of classes, the same for every configuration::

    [ G_ii  G_ij ]      G_ij = X_i X_j^T,  G_ji = G_ij^T
    [ G_ji  G_jj ]

At 10,000 images all blocks together are half a Gram matrix, 0.4 GB: they are computed once. At
49,000 they would be 9.6 GB: each is computed when a fit needs it, once for the kernels of a fit.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from mnist_ops.core.errors import InvalidInput
from mnist_ops.data import Images, Split, split_of
from mnist_ops.fitting.svm import memory
from mnist_ops.fitting.svm.kernels import Matrix
from mnist_ops.study.specs import SvmSpec

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """A batch of images to classify, against the support vectors.

    Attributes:
        rows: which of them, as a slice of their part.
        products: inner products, shape (rows, support vectors); free to be written to.
        squares: <x, x> of each of them, shape (rows,).
    """

    rows: slice
    products: Matrix
    squares: Matrix


class Problem:
    """The images of one split, ready for any kernel.

    Attributes:
        parts: the split.
        classes: labels that occur, ascending.
        scaler: standardises pixels, fitted on the training images.
        train: training images as indices into the pooled images, by class, and within a class in
            the order of the split.
        positions: of each of `train` in the split's own order.
        sizes: training images of each class.
        n_features: pixels an image.
        n_varying: those of them that are not the same in all training images.
        squares: <x, x> of each training image, in the order of `train`.
        shared: whether the blocks of the Gram matrix are kept.
        prepare_s: seconds that it took to get here.
    """

    def __init__(self, images: Images, parts: Split, allowed_bytes: int):
        """Standardise, and compute the Gram matrix if it fits into `allowed_bytes`.

        Raises:
            InvalidInput: pixels are not finite, or the images are all of one class.
            TooManyImages: not even one pair of classes fits.
        """
        start = time.perf_counter()
        check_pixels(images)
        self.parts = parts
        self._images = images
        labels = images.labels[parts.train]
        self.classes = np.unique(labels)
        check_classes(self.classes)
        self.positions: Index = np.argsort(labels, kind="stable")
        self.train: Index = parts.train[self.positions]
        self.sizes = [int((labels == label).sum()) for label in self.classes]
        self._slices = [slice(*ends) for ends in pairwise(np.cumsum([0, *self.sizes]).tolist())]
        self.n_features = images.images[0].size

        working = memory.working_bytes(self.sizes, self.n_features)
        memory.require(working, allowed_bytes, len(self.train))
        n_evaluated = len(parts.val) + len(parts.test)
        self.shared = working + memory.shared_bytes(self.sizes, n_evaluated) <= allowed_bytes

        values = pixels(images, parts.train)
        # Constant pixels are 0 once standardised: inner products do not change without them.
        self._varying = np.flatnonzero(np.ptp(values, axis=0))
        self.n_varying = len(self._varying)
        self.scaler = StandardScaler().fit(values)
        del values
        self.squares = np.concatenate([_squares(self._class_rows(c)) for c in self._class_numbers])
        self._blocks = self._all_blocks() if self.shared else {}
        self._products: dict[str, tuple[Matrix, Matrix, float]] = {}
        self.prepare_s = time.perf_counter() - start

    def of_class(self, number: int) -> slice:
        """Return the slice of `train` with the images of a class."""
        return self._slices[number]

    def standardised(self, index: Index) -> Matrix:
        """Return the standardised pixels of the images at `index`, shape (n, features)."""
        rows: Matrix = self.scaler.transform(pixels(self._images, index))
        return rows

    def gram_block(self, i: int, j: int) -> Matrix:
        """Return the inner products, which are kept, of class `i` with class `j >= i`."""
        return self._blocks[i, j]

    def multiply(self, i: int, j: int, out: Matrix) -> None:
        """Compute the inner products of the images of class `i` with those of class `j >= i`."""
        self._multiply(self._class_rows(i), self._class_rows(j) if j != i else None, out)

    def product_s(self, part: str) -> float:
        """Return the seconds that the inner products of a part took, if they are kept; else 0.

        The first call computes them, so that later ones of `evaluations` need not.
        """
        if not self.shared:
            return 0.0
        if part not in self._products:
            start = time.perf_counter()
            standardised = self.standardised(getattr(self.parts, part))
            products = standardised[:, self._varying] @ self._varying_rows(self.train).T
            seconds = time.perf_counter() - start
            self._products[part] = products, _squares(standardised), seconds
        return self._products[part][2]

    def evaluations(self, part: str, support: Index) -> Iterator[Evaluation]:
        """Yield the images of a part, some at a time, against the support vectors.

        Args:
            part: ``val`` or ``test``.
            support: positions in `train`.
        """
        index = getattr(self.parts, part)
        step = max(1, memory.EVALUATION_BYTES // (memory.FLOAT_BYTES * max(len(support), 1)))
        all_rows = (slice(i, min(i + step, len(index))) for i in range(0, len(index), step))
        if self.shared:
            self.product_s(part)
            products, squares, _ = self._products[part]
            for rows in all_rows:
                # Nothing is out of range; numpy copies without a look at each only if told.
                taken = products[rows].take(support, axis=1, mode="clip")
                yield Evaluation(rows, taken, squares[rows])
            return
        vectors = self._varying_rows(self.train[support])
        for rows in all_rows:
            # A pixel that is constant in training may vary here: it counts in the distance.
            standardised = self.standardised(index[rows])
            products = standardised[:, self._varying] @ vectors.T
            yield Evaluation(rows, products, _squares(standardised))

    @property
    def _class_numbers(self) -> range:
        return range(len(self.classes))

    def _all_blocks(self) -> dict[tuple[int, int], Matrix]:
        pairs = list(combinations_with_replacement(self._class_numbers, 2))
        # One allocation: the system gets it back at once when the problem is let go.
        memory_of_all = np.empty(sum(self.sizes[i] * self.sizes[j] for i, j in pairs))
        rows = [self._class_rows(number) for number in self._class_numbers]
        blocks, start = {}, 0
        for i, j in pairs:
            end = start + self.sizes[i] * self.sizes[j]
            block = memory_of_all[start:end].reshape(self.sizes[i], self.sizes[j])
            self._multiply(rows[i], rows[j] if j != i else None, block)
            blocks[i, j] = block
            start = end
        return blocks

    @staticmethod
    def _multiply(left: Matrix, right: Matrix | None, out: Matrix) -> None:
        # numpy computes half of a product with one's own transpose.
        np.matmul(left, (left if right is None else right).T, out=out)

    def _class_rows(self, number: int) -> Matrix:
        return self._varying_rows(self.train[self._slices[number]])

    def _varying_rows(self, index: Index) -> Matrix:
        return np.ascontiguousarray(self.standardised(index)[:, self._varying])


problem_at_hand: dict[tuple[int | str, ...], tuple[Images, Problem]] = {}


def problem_of(spec: SvmSpec, images: Images) -> tuple[Problem, bool]:
    """Return the problem of `spec`, and whether this call had to prepare it.

    The latest one of this process is kept, with its Gram matrix.

    Raises:
        InvalidInput: as `Problem`; a limit of the spec does not fit the data set.
        TooManyImages: as `Problem`.
    """
    allowed = memory.allowed_bytes()
    key = (id(images), spec.parts, spec.seed, spec.train_limit, spec.test_limit, allowed)
    if key in problem_at_hand:
        return problem_at_hand[key][1], False
    # Let go of the old one first: there is not room for two.
    problem_at_hand.clear()
    problem = Problem(images, split_of(spec, images), allowed)
    # The images are kept with it: their id stays theirs.
    problem_at_hand[key] = images, problem
    return problem, True


def pixels(images: Images, index: Index) -> Matrix:
    """Return the grey levels of the images at `index`, shape (n, features)."""
    return images.images[index].reshape(len(index), -1).astype(np.float64)


def check_pixels(images: Images) -> None:
    """Raise `InvalidInput` where a pixel is not a finite number."""
    if images.images.dtype.kind == "f" and not np.isfinite(images.images).all():
        raise InvalidInput(f"{images.name}: a pixel is not a finite number")


def check_classes(classes: NDArray[np.int64]) -> None:
    """Raise `InvalidInput` where there is nothing to tell apart."""
    if len(classes) < 2:
        raise InvalidInput(
            f"all training images are of class {classes[0]}: a support vector machine needs two"
        )


def _squares(rows: Matrix) -> Matrix:
    squares: Matrix = np.einsum("ij,ij->i", rows, rows)
    return squares
