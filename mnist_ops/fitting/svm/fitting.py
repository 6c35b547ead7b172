"""Fit cells together, and evaluate each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core import keys
from mnist_ops.data import Images, Split, split_of
from mnist_ops.fitting.svm import plain
from mnist_ops.fitting.svm.cost import predict_flops, stored_numbers
from mnist_ops.fitting.svm.kernels import Kernel, fits_plainly
from mnist_ops.fitting.svm.problem import pixels, problem_of
from mnist_ops.fitting.svm.solutions import solutions_of
from mnist_ops.study.results import FitResult, scores
from mnist_ops.study.specs import SvmSpec


@dataclass(frozen=True)
class _Fitted:
    """Predictions, sizes and times of one fit."""

    val: NDArray[np.uint8]
    test: NDArray[np.uint8]
    n_support: int
    n_coefficients: int
    alone_s: float
    shared_s: float
    predict_s: float


def fit(spec: SvmSpec, images: Images) -> FitResult:
    """Fit one spec; see `fit_all`."""
    return fit_all([spec], images)[0]


def fit_all(specs: Sequence[SvmSpec], images: Images) -> list[FitResult]:
    """Fit the classifier of each spec on standardised pixels, and predict the test images.

    `StandardScaler` is fitted on the training images alone. Fits share what they have in common,
    with each other and with what this process fitted before; the same spec gives the same
    predictions, whatever it shared.

    Args:
        specs: what to fit: the same data set, seed and limits, other kernels and parameters.
        images: the pooled data set that the specs name.

    Returns:
        A result for each spec, in their order.

    Raises:
        InvalidInput: a limit of the specs does not fit the data set, pixels are not finite, all
            training images are of one class, or a kernel overflows on them.
        TooManyImages: a fit needs more memory than this process may use.
    """
    parts = split_of(specs[0], images)
    sharing = [spec for spec in specs if not fits_plainly(spec)]
    fitted = _shared(sharing, images) if sharing else {}
    return [
        _result(spec, images, parts, fitted.get(spec) or _plainly(spec, images, parts))
        for spec in specs
    ]


def _result(spec: SvmSpec, images: Images, parts: Split, fitted: _Fitted) -> FitResult:
    labels = images.labels[parts.test].astype(np.uint8)
    val_labels = images.labels[parts.val]
    n_features = images.images[0].size
    n_classes = len(np.unique(images.labels[parts.train]))
    return FitResult(
        predictions=fitted.test,
        labels=labels,
        test_index=parts.test.astype(np.int32),
        n_train=len(parts.train),
        n_val=len(parts.val),
        metrics=scores(labels, fitted.test)
        | {
            keys.VAL_ACCURACY: float(np.mean(fitted.val == val_labels)),
            keys.TRAIN_TIME_S: fitted.alone_s,
            keys.SHARED_TRAIN_TIME_S: fitted.shared_s,
            keys.PREDICT_TIME_S: fitted.predict_s,
            keys.IMAGES_PER_SECOND: len(parts.train) / fitted.alone_s,
            keys.SUPPORT_VECTORS: fitted.n_support,
            keys.DUAL_COEFFICIENTS: fitted.n_coefficients,
            keys.FLOPS: predict_flops(
                fitted.n_support, n_features, n_classes, spec.kernel, spec.degree
            ),
            keys.PARAMETERS: stored_numbers(fitted.n_support, n_features, n_classes),
        },
    )


def _shared(specs: Sequence[SvmSpec], images: Images) -> dict[SvmSpec, _Fitted]:
    problem, is_prepared_now = problem_of(specs[0], images)
    wanted = {
        spec: (Kernel.of(spec, problem.n_features, problem.n_varying), spec.C) for spec in specs
    }
    solutions = solutions_of(problem, wanted.values())
    # What is shared is paid by the first that needs it, inner products of several kernels by each.
    unpaid_s = dict.fromkeys(wanted.values(), 0.0)
    unpaid_s[wanted[specs[0]]] += problem.prepare_s if is_prepared_now else 0.0
    seen: set[Kernel] = set()
    for (kernel, penalty), (solution, is_solved_now) in solutions.items():
        if is_solved_now:
            unpaid_s[kernel, penalty] += solution.solver_s
            if kernel not in seen:
                unpaid_s[kernel, penalty] += solution.kernel_s
                unpaid_s[kernel, penalty] += solution.products_s / solution.sharing
                seen.add(kernel)
    fitted = {}
    for spec, each in wanted.items():
        solution, _ = solutions[each]
        fitted[spec] = _Fitted(
            val=solution.val,
            test=solution.test,
            n_support=len(solution.classifier.support),
            n_coefficients=int(np.count_nonzero(solution.classifier.coefficients)),
            alone_s=problem.prepare_s + solution.products_s + solution.kernel_s + solution.solver_s,
            shared_s=unpaid_s.pop(each, 0.0),
            predict_s=solution.predict_s,
        )
    return fitted


def _plainly(spec: SvmSpec, images: Images, parts: Split) -> _Fitted:
    start = time.perf_counter()
    estimator = plain.fit(spec, images, parts)
    fit_s = time.perf_counter() - start
    start = time.perf_counter()
    test = estimator.predict(pixels(images, parts.test)).astype(np.uint8)
    predict_s = time.perf_counter() - start
    classifier = estimator[-1]
    return _Fitted(
        val=estimator.predict(pixels(images, parts.val)).astype(np.uint8),
        test=test,
        n_support=len(classifier.support_),
        n_coefficients=int(np.count_nonzero(classifier.dual_coef_)),
        alone_s=fit_s,
        shared_s=fit_s,
        predict_s=predict_s,
    )
