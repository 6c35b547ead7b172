"""Fits of scikit-learn's own, which share nothing; other kernels than its own as a function."""

from collections.abc import Callable
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
from mnist_ops.study.specs import SvmSpec


def fit(spec: SvmSpec, images: Images, parts: Split) -> Pipeline:
    """Fit `StandardScaler` and `SVC` on the training images.

    Raises:
        InvalidInput: pixels are not finite, or the images are all of one class.
        TooManyImages: the kernel function's whole matrix does not fit into memory.
    """
    check_pixels(images)
    labels = images.labels[parts.train]
    check_classes(np.unique(labels))
    if spec.kernel not in GRAM_KERNELS:
        needed = memory.plain_bytes(len(parts.train))
        memory.require(needed, memory.allowed_bytes(), len(parts.train))
    train = pixels(images, parts.train)
    n_varying = int(np.count_nonzero(np.ptp(train, axis=0)))
    gamma = resolve_gamma(spec.gamma, train.shape[1], n_varying)
    kernel: str | Callable[..., Matrix] = spec.kernel
    if spec.kernel == "laplacian":
        kernel = partial(laplacian_kernel, gamma=gamma)
    classifier = SVC(
        kernel=kernel, C=spec.C, gamma=gamma, degree=spec.degree, cache_size=memory.CACHE_MB
    )
    return make_pipeline(StandardScaler(), classifier).fit(train, labels)
