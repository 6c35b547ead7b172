"""Kernels that are functions of inner products, so that one Gram matrix serves them all.

For images x and y (rows of standardised pixels) scikit-learn's kernels, with ``coef0 = 0``, are
(scikit-learn user guide 1.4.6, "Kernel functions")::

    linear    <x, y>
    poly      (gamma <x, y>) ** degree
    rbf       exp(-gamma |x - y|^2),  and |x - y|^2 = <x, x> + <y, y> - 2 <x, y>
    sigmoid   tanh(gamma <x, y>)

so each follows from G = X X^T, whose diagonal holds <x, x>. The subtraction in rbf loses what
rounding loses: |x - y|^2 is wrong by about 1e-16 of <x, x>, which in the kernel is far below
6e-8, the resolution of the 32-bit numbers that libsvm keeps kernel values in (`Qfloat` in
svm.cpp). Negative distances from that rounding are set to 0.

**When two configurations have the same kernel.** scikit-learn's ``gamma="scale"`` is
1 / (features * variance), the variance taken over all standardised pixels. `StandardScaler` gives
each pixel that varies mean 0 and variance 1, and each constant pixel 0 everywhere, so the variance
over all is (pixels that vary) / features, and ``scale`` is exactly 1 / (pixels that vary).
``auto`` is 1 / features. They are the same kernel if, and only if, no pixel is constant: a count,
not a tolerance. scikit-learn's own floating point sum differs from it by about 1e-15 of its value.
A gamma that a kernel does not use (linear), or a degree, does not make it another kernel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.specs import Spec, SvmSpec

Matrix = NDArray[np.float64]

GRAM_KERNELS = ("linear", "poly", "rbf", "sigmoid")
# Values transformed at a time: 256 KB, which stay in a core's cache from one step to the next.
CHUNK = 2**15


def fits_plainly(spec: SvmSpec) -> bool:
    """Return whether scikit-learn fits `spec` alone: it asks for that, or its kernel does.

    A kernel that does not follow from inner products has no Gram matrix to share.
    """
    return spec.plain or spec.kernel not in GRAM_KERNELS


def plain_notice(specs: Iterable[Spec]) -> str | None:
    """Return a line for the user about those of `specs` that take long, or None."""
    plain = [spec for spec in specs if isinstance(spec, SvmSpec) and fits_plainly(spec)]
    if not plain:
        return None
    kernels = ", ".join(dict.fromkeys(spec.kernel for spec in plain))
    cells = "1 cell" if len(plain) == 1 else f"{len(plain)} cells"
    shared = "" if all(spec.plain for spec in plain) else "no Gram matrix can be shared, so "
    return (
        f"{cells} with kernel {kernels}: {shared}each is fitted by scikit-learn alone, which takes "
        "up to minutes at 10,000 images"
    )


def resolve_gamma(gamma: str | float, n_features: int, n_varying: int) -> float:
    """Return the number that `gamma` stands for, for standardised images.

    Args:
        gamma: ``scale``, ``auto`` or a number.
        n_features: pixels an image.
        n_varying: those of them that are not the same in all training images.
    """
    if gamma == "auto":
        return 1 / n_features
    if gamma == "scale":
        # scikit-learn takes 1 where nothing varies.
        return 1 / max(n_varying, 1)
    return float(gamma)


@dataclass(frozen=True)
class Kernel:
    """A kernel that follows from inner products; equal kernels give equal values.

    Attributes:
        name: one of `GRAM_KERNELS`.
        gamma: as a number; 0 where the kernel has none.
        degree: of the polynomial kernel; 0 for the others.
    """

    name: str
    gamma: float
    degree: int

    @classmethod
    def of(cls, spec: SvmSpec, n_features: int, n_varying: int) -> "Kernel":
        """Return the kernel of `spec` for standardised images; see `resolve_gamma`."""
        return cls(
            name=spec.kernel,
            gamma=(
                0.0 if spec.kernel == "linear" else resolve_gamma(spec.gamma, n_features, n_varying)
            ),
            degree=spec.degree if spec.kernel == "poly" else 0,
        )

    def apply(self, products: Matrix, left: Matrix, right: Matrix, out: NDArray[Any]) -> None:
        """Turn inner products into kernel values.

        Args:
            products: <x, y>, shape (rows, columns).
            left: <x, x>, shape (rows,).
            right: <y, y>, shape (columns,).
            out: where to put the values, which may be the products themselves.
        """
        rows = max(1, CHUNK // products.shape[1])
        for start in range(0, len(products), rows):
            some = slice(start, start + rows)
            values = products[some].copy()
            self._transform(values, left[some, None], right)
            out[some] = values

    def diagonal(self, products: Matrix, squares: Matrix) -> Matrix:
        """Return the kernel values of images with themselves.

        Args:
            products: as for `apply`, of images with the same ones.
            squares: <x, x> of them.
        """
        values = products.diagonal().copy()
        self._transform(values, squares, squares)
        return values

    def _transform(self, values: Matrix, left: Matrix, right: Matrix) -> None:
        if self.name == "rbf":
            values *= 2 * self.gamma
            values -= self.gamma * right
            values -= self.gamma * left
            np.minimum(values, 0, out=values)
            np.exp(values, out=values)
        elif self.name == "poly":
            values *= self.gamma
            _power(values, self.degree)
        elif self.name == "sigmoid":
            values *= self.gamma
            np.tanh(values, out=values)

    def check_range(self, largest: float) -> None:
        """Refuse a kernel whose values libsvm could not hold.

        Args:
            largest: the largest <x, x> of all images: by Cauchy and Schwarz no inner product is
                larger, so no other pair of images needs a look.

        Raises:
            InvalidInput: values are beyond 32-bit floating point numbers.
        """
        value = np.array([[largest]])
        with np.errstate(over="ignore"):
            self._transform(value, value.copy(), value.copy())
            fits = np.isfinite(value.astype(np.float32)).all()
        if not fits:
            raise InvalidInput(
                f"the {self.name} kernel of degree {self.degree} with gamma {self.gamma:g} "
                "overflows on these images: use a smaller degree or gamma"
            )


def _power(values: Matrix, degree: int) -> None:
    """Raise to a power in place, by squaring as libsvm does (`powi` in svm.cpp)."""
    square = values.copy()
    if degree % 2 == 0:
        values.fill(1)
    while degree := degree // 2:
        square *= square
        if degree % 2:
            values *= square
