"""Fit a support vector classifier and evaluate it: the same shape of result as a network's."""

import time

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from mnist_ops import keys
from mnist_ops.data import Images, split
from mnist_ops.results import FitResult, OnEpoch, scores
from mnist_ops.specs import SvmSpec

CACHE_MB = 1000

# Operations on the inner product (rbf: on the squared distance) that turn it into a kernel value:
# scale and exponential, scale and power, scale and tangent.
_OPS_AFTER_PRODUCT = {"linear": 0, "rbf": 2, "sigmoid": 2}


def fit(spec: SvmSpec, images: Images, on_epoch: OnEpoch = lambda epoch: None) -> FitResult:
    """Fit the classifier of `spec` on standardised pixels, and predict the test images.

    `StandardScaler` is fitted on the training images alone.

    Args:
        spec: what to fit.
        images: the pooled data set that the spec names.
        on_epoch: never called: a fit has no epochs.

    Raises:
        InvalidInput: a limit of the spec does not fit the data set.
    """
    parts = split(images.labels, spec.seed, spec.train_limit, spec.val_limit, spec.test_limit)
    scaler = StandardScaler()
    x_train = scaler.fit_transform(_pixels(images, parts.train))
    classifier = SVC(
        kernel=spec.kernel,
        C=spec.C,
        gamma=spec.gamma,
        degree=spec.degree,
        cache_size=CACHE_MB,
    )
    start = time.perf_counter()
    classifier.fit(x_train, images.labels[parts.train].numpy())
    train_time = time.perf_counter() - start

    def predict(index: Tensor) -> NDArray[np.uint8]:
        return classifier.predict(scaler.transform(_pixels(images, index))).astype(np.uint8)

    start = time.perf_counter()
    predictions = predict(parts.test)
    predict_time = time.perf_counter() - start
    labels = images.labels[parts.test].numpy().astype(np.uint8)
    val_labels = images.labels[parts.val].numpy()
    n_support, n_features = classifier.support_vectors_.shape
    n_classes = len(classifier.classes_)
    return FitResult(
        predictions=predictions,
        labels=labels,
        test_index=parts.test.numpy().astype(np.int32),
        n_train=len(parts.train),
        n_val=len(parts.val),
        metrics=scores(labels, predictions)
        | {
            keys.VAL_ACCURACY: float(np.mean(predict(parts.val) == val_labels)),
            keys.TRAIN_TIME_S: train_time,
            keys.PREDICT_TIME_S: predict_time,
            keys.IMAGES_PER_SECOND: len(parts.train) / train_time,
            keys.SUPPORT_VECTORS: n_support,
            keys.FLOPS: predict_flops(n_support, n_features, n_classes, spec.kernel, spec.degree),
            keys.PARAMETERS: stored_numbers(n_support, n_features, n_classes),
        },
    )


def predict_flops(
    n_support: int, n_features: int, n_classes: int, kernel: str, degree: int = 3
) -> int:
    """Operations that classify one image, a multiply-accumulate counted as one.

    One kernel value for each support vector, ``n_features`` multiply-accumulates and then the
    kernel's own function of that sum; and the one-vs-one decision functions, in which each
    support vector takes part ``n_classes - 1`` times (Chang and Lin, LIBSVM, ACM TIST 2(3), 2011,
    section 6: sum of alpha_i y_i K(x_i, x) + b for each pair of classes)::

        n_support * (n_features + after_product) + (n_classes - 1) * n_support

    ``after_product`` is 0 for linear, `degree` for poly (a scale, then degree - 1 products), 2
    for rbf and sigmoid (a scale, then one exponential or tangent).
    """
    after_product = degree if kernel == "poly" else _OPS_AFTER_PRODUCT[kernel]
    return n_support * (n_features + after_product) + (n_classes - 1) * n_support


def stored_numbers(n_support: int, n_features: int, n_classes: int) -> int:
    """Numbers a fitted classifier keeps: support vectors, dual coefficients, intercepts."""
    pairs = n_classes * (n_classes - 1) // 2
    return n_support * n_features + (n_classes - 1) * n_support + pairs


def _pixels(images: Images, index: Tensor) -> NDArray[np.float64]:
    return images.images[index].flatten(1).numpy().astype(np.float64)
