"""Read, write and apply fitted support vector classifiers.

The file has the arrays of a fitted `StandardScaler` and `SVC`, from which the same estimator is
restored without a pickle. Kernel and C come from the run's spec.
"""

import math
from copy import copy
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops.serving.inference import tensors
from mnist_ops.serving.inference.tensors import ModelRefused
from mnist_ops.study.dataset import Dataset
from mnist_ops.study.specs import SvmSpec

LAPLACIAN = "laplacian"


def _arrays(dataset: Dataset) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of each array, by name; -1 is the number of support vectors."""
    pixels, classes = math.prod(dataset.image_shape), dataset.n_classes
    pairs = math.comb(classes, 2)
    return {
        "scaler.mean": ("float64", (pixels,)),
        "scaler.variance": ("float64", (pixels,)),
        "scaler.scale": ("float64", (pixels,)),
        "scaler.n_images": ("int64", (1,)),
        "gamma": ("float64", (1,)),
        "support_vectors": ("float64", (-1, pixels)),
        "support": ("int32", (-1,)),
        "support_by_class": ("int32", (classes,)),
        "dual_coefficients": ("float64", (classes - 1, -1)),
        "intercepts": ("float64", (pairs,)),
        "iterations": ("int32", (pairs,)),
    }


class Svm:
    """A support vector classifier of raw images."""

    def __init__(self, estimator: Pipeline):
        """Use `estimator`, whose input is grey levels 0 to 255, shape (n, pixels)."""
        self.estimator = estimator
        self._n_classes = len(estimator[-1].classes_)
        margins = copy(estimator[-1]).set_params(decision_function_shape="ovo")
        self._margins = make_pipeline(estimator[0], margins)

    def predict(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return the class of each image, shape (n,), and the scores, shape (n, classes).

        The class is scikit-learn's: the one with the most votes of all pairs of classes, the first
        of equals. The score of a class is the smallest margin of its pairs, above 0 for a class
        that wins all of them. Only if no class does, another class may have the highest score.

        Args:
            images: uint8, shape (n, height, width): grey levels, 0 is background; or with the
                channels of colours, (n, 3, height, width).
        """
        if not len(images):
            return np.empty(0, np.uint8), np.empty((0, self._n_classes))
        pixels = images.reshape(len(images), -1).astype(np.float64)
        margins = self._margins.decision_function(pixels)
        scores = np.full((len(images), self._n_classes), np.inf)
        for pair, (first, second) in enumerate(combinations(range(self._n_classes), 2)):
            np.minimum(scores[:, first], margins[:, pair], out=scores[:, first])
            np.minimum(scores[:, second], -margins[:, pair], out=scores[:, second])
        return self.estimator.predict(pixels).astype(np.uint8), scores


def scorer(spec: SvmSpec, data: Dataset, estimator: Pipeline, mean: float, std: float) -> Svm:
    """Return the classifier, of which the estimator is all."""
    return Svm(estimator)


def write(path: Path, estimator: Pipeline, spec: SvmSpec) -> None:
    """Write a fitted ``make_pipeline(StandardScaler(), SVC(...))``.

    Raises:
        ModelRefused: it was not fitted to all classes.
    """
    scaler, classifier = estimator[0], estimator[-1]
    if len(classifier.classes_) != spec.data.n_classes:
        raise ModelRefused(f"a classifier of {len(classifier.classes_)} classes cannot be written")
    if callable(classifier.kernel):
        gamma = classifier.kernel.keywords["gamma"]
        # With a kernel function, scikit-learn keeps all training images.
        vectors = classifier._BaseLibSVM__Xfit[classifier.support_]
    else:
        gamma, vectors = classifier._gamma, classifier.support_vectors_
    tensors.write(
        path,
        {
            "scaler.mean": scaler.mean_,
            "scaler.variance": scaler.var_,
            "scaler.scale": scaler.scale_,
            "scaler.n_images": np.array([scaler.n_samples_seen_], np.int64),
            "gamma": np.array([gamma], np.float64),
            "support_vectors": vectors,
            "support": classifier.support_,
            "support_by_class": classifier._n_support,
            "dual_coefficients": classifier._dual_coef_,
            "intercepts": classifier._intercept_,
            "iterations": np.asarray(classifier.n_iter_, np.int32),
        },
    )


def read(path: Path, spec: SvmSpec, data: Dataset | None = None) -> Pipeline:
    """Read the estimator that `write` wrote, for images of the form of `data`.

    Raises:
        ModelRefused: the file does not match the spec; see `tensors.read`.
    """
    expected = _arrays(data or spec.data)
    arrays = tensors.read(path, {name: dtype for name, (dtype, _) in expected.items()})
    for name, (_, shape) in expected.items():
        tensors.shaped(path, name, arrays[name], shape)
    _check(path, arrays)
    scaler = StandardScaler()
    scaler.mean_, scaler.var_ = arrays["scaler.mean"], arrays["scaler.variance"]
    scaler.scale_ = arrays["scaler.scale"]
    scaler.n_samples_seen_ = arrays["scaler.n_images"][0]
    scaler.n_features_in_ = len(scaler.mean_)
    return make_pipeline(scaler, _classifier(spec, arrays))


def _check(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse numbers that would make scikit-learn's compiled code read out of bounds."""
    n_support = len(arrays["support_vectors"])
    by_class = arrays["support_by_class"]
    wrong = [
        "support" if len(arrays["support"]) != n_support else "",
        "support" if n_support and arrays["support"].min() < 0 else "",
        "dual_coefficients" if arrays["dual_coefficients"].shape[1] != n_support else "",
        "support_by_class" if (by_class < 0).any() or by_class.sum() != n_support else "",
        "scaler.scale" if (arrays["scaler.scale"] <= 0).any() else "",
        "gamma" if arrays["gamma"][0] <= 0 else "",
    ]
    if name := next(filter(None, wrong), None):
        raise ModelRefused(
            f"model file {path.name} is refused: {name!r} does not match the other arrays"
        )


def _classifier(spec: SvmSpec, arrays: dict[str, NDArray[Any]]) -> SVC:
    """Return an `SVC` with the state of its fit."""
    vectors, support = arrays["support_vectors"], arrays["support"]
    gamma = float(arrays["gamma"][0])
    plain = spec.kernel == LAPLACIAN
    classifier = SVC(
        kernel=partial(laplacian_kernel, gamma=gamma) if plain else spec.kernel,
        C=spec.C,
        gamma=gamma,
        degree=spec.degree,
    )
    # A fit on one image per class sets all other attributes.
    n_classes, n_pixels = len(arrays["support_by_class"]), vectors.shape[1]
    classifier.fit(np.eye(n_classes, n_pixels), np.arange(n_classes))
    state: dict[str, Any] = {
        "support_": np.arange(len(vectors), dtype=np.int32) if plain else support,
        "support_vectors_": vectors,
        "_n_support": arrays["support_by_class"],
        "dual_coef_": arrays["dual_coefficients"],
        "_dual_coef_": arrays["dual_coefficients"],
        "intercept_": arrays["intercepts"],
        "_intercept_": arrays["intercepts"],
        "shape_fit_": (len(vectors), n_pixels),
        "n_iter_": arrays["iterations"],
        "_num_iter": arrays["iterations"],
    }
    if plain:
        # Kernel values are computed with the support vectors alone, in their order.
        state |= {"_BaseLibSVM__Xfit": vectors, "support_vectors_": np.empty((0, 0))}
    else:
        state["shape_fit_"] = (int(arrays["scaler.n_images"][0]), n_pixels)
    for name, value in state.items():
        setattr(classifier, name, value)
    return classifier
