"""Kernels that share no Gram matrix: each fit is scikit-learn's own, with a kernel function."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops.data import Images, Split
from mnist_ops.fitting.svm import memory
from mnist_ops.fitting.svm.kernels import GRAM_KERNELS, Matrix, resolve_gamma
from mnist_ops.fitting.svm.problem import check_classes, check_pixels, pixels
from mnist_ops.study.specs import Spec, SvmSpec


def fits_plainly(spec: SvmSpec) -> bool:
    """Return whether the kernel of `spec` does not follow from inner products."""
    return spec.kernel not in GRAM_KERNELS


def plain_notice(specs: Iterable[Spec]) -> str | None:
    """Return a line for the user about those of `specs` that take long, or None."""
    plain = [spec for spec in specs if isinstance(spec, SvmSpec) and fits_plainly(spec)]
    if not plain:
        return None
    kernels = ", ".join(dict.fromkeys(spec.kernel for spec in plain))
    cells = "1 cell" if len(plain) == 1 else f"{len(plain)} cells"
    return (
        f"{cells} with kernel {kernels}: no Gram matrix can be shared, so each is fitted by "
        "scikit-learn alone, which takes minutes at 10,000 images"
    )


def fit(spec: SvmSpec, images: Images, parts: Split) -> Pipeline:
    """Fit `StandardScaler` and `SVC` on the training images.

    Raises:
        InvalidInput: pixels are not finite, or the images are all of one class.
        TooManyImages: the kernel function's whole matrix does not fit into memory.
    """
    check_pixels(images)
    labels = images.labels[parts.train].numpy()
    check_classes(np.unique(labels))
    if fits_plainly(spec):
        needed = memory.plain_bytes(len(parts.train))
        memory.require(needed, memory.allowed_bytes(), len(parts.train))
    train = pixels(images, parts.train.numpy())
    n_varying = int(np.count_nonzero(np.ptp(train, axis=0)))
    gamma = resolve_gamma(spec.gamma, train.shape[1], n_varying)
    kernel: str | Callable[..., Matrix] = spec.kernel
    if spec.kernel == "laplacian":
        kernel = partial(laplacian_kernel, gamma=gamma)
    classifier = SVC(
        kernel=kernel, C=spec.C, gamma=gamma, degree=spec.degree, cache_size=memory.CACHE_MB
    )
    return make_pipeline(StandardScaler(), classifier).fit(
        train, images.labels[parts.train].numpy()
    )
