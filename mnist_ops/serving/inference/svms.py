"""A fitted support vector machine: its file, and the scikit-learn estimator that it is.

The file has the numbers that a fit leaves in a `StandardScaler` and an `SVC`. From them the same
estimator is made again, without a pickle. Kernel and C come from the run's spec.
"""

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
from mnist_ops.study.specs import N_CLASSES, SvmSpec

N_PIXELS = 28 * 28
N_PAIRS = N_CLASSES * (N_CLASSES - 1) // 2
LAPLACIAN = "laplacian"
# Name in the file -> type and shape; -1 is the number of support vectors.
_ARRAYS = {
    "scaler.mean": ("float64", (N_PIXELS,)),
    "scaler.variance": ("float64", (N_PIXELS,)),
    "scaler.scale": ("float64", (N_PIXELS,)),
    "scaler.n_images": ("int64", (1,)),
    "gamma": ("float64", (1,)),
    "support_vectors": ("float64", (-1, N_PIXELS)),
    "support": ("int32", (-1,)),
    "support_by_class": ("int32", (N_CLASSES,)),
    "dual_coefficients": ("float64", (N_CLASSES - 1, -1)),
    "intercepts": ("float64", (N_PAIRS,)),
    "iterations": ("int32", (N_PAIRS,)),
}


class Machine:
    """A support vector machine that classifies raw images."""

    def __init__(self, estimator: Pipeline):
        """Use `estimator`, which takes grey levels 0 to 255, shape (n, 784)."""
        self.estimator = estimator
        margins = copy(estimator[-1]).set_params(decision_function_shape="ovo")
        self._margins = make_pipeline(estimator[0], margins)

    def predict(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The class of each image, shape (n,), and a score of each class, shape (n, 10).

        The class has the most of the 45 votes, the first of equals, as scikit-learn predicts it.
        Votes say little of how sure a machine is: the score of a class is the margin of the closest
        of its nine pairs, above 0 for a class that wins all of them. Only where no class does may
        the scores favour another one than the votes.

        Args:
            images: uint8, shape (n, 28, 28): grey levels, 0 is background.
        """
        if not len(images):
            return np.empty(0, np.uint8), np.empty((0, N_CLASSES))
        pixels = images.reshape(len(images), -1).astype(np.float64)
        margins = self._margins.decision_function(pixels)
        scores = np.full((len(images), N_CLASSES), np.inf)
        for pair, (first, second) in enumerate(combinations(range(N_CLASSES), 2)):
            np.minimum(scores[:, first], margins[:, pair], out=scores[:, first])
            np.minimum(scores[:, second], -margins[:, pair], out=scores[:, second])
        return self.estimator.predict(pixels).astype(np.uint8), scores


def write(path: Path, estimator: Pipeline) -> None:
    """Write a fitted ``make_pipeline(StandardScaler(), SVC(...))`` of 10 classes.

    Raises:
        ModelRefused: it was fitted to fewer classes.
    """
    scaler, classifier = estimator[0], estimator[-1]
    if len(classifier.classes_) != N_CLASSES:
        raise ModelRefused(f"a machine of {len(classifier.classes_)} classes cannot be kept")
    if callable(classifier.kernel):
        gamma = classifier.kernel.keywords["gamma"]
        # With a kernel function scikit-learn keeps the training images instead.
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


def read(path: Path, spec: SvmSpec) -> Pipeline:
    """The estimator that `write` was given.

    Raises:
        ModelRefused: the file is not that of such a machine; see `tensors.read`.
    """
    arrays = tensors.read(path, {name: dtype for name, (dtype, _) in _ARRAYS.items()})
    for name, (_, shape) in _ARRAYS.items():
        tensors.shaped(path, name, arrays[name], shape)
    _check(path, arrays)
    scaler = StandardScaler()
    scaler.mean_, scaler.var_ = arrays["scaler.mean"], arrays["scaler.variance"]
    scaler.scale_ = arrays["scaler.scale"]
    scaler.n_samples_seen_ = arrays["scaler.n_images"][0]
    scaler.n_features_in_ = N_PIXELS
    return make_pipeline(scaler, _classifier(spec, arrays))


def _check(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse numbers that scikit-learn's compiled code would follow out of its memory."""
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
            f"model file {path.name} is refused: {name!r} does not go with the others"
        )


def _classifier(spec: SvmSpec, arrays: dict[str, NDArray[Any]]) -> SVC:
    """An `SVC` with the state that its fit left."""
    vectors, support = arrays["support_vectors"], arrays["support"]
    gamma = float(arrays["gamma"][0])
    plain = spec.kernel == LAPLACIAN
    classifier = SVC(
        kernel=partial(laplacian_kernel, gamma=gamma) if plain else spec.kernel,
        C=spec.C,
        gamma=gamma,
        degree=spec.degree,
    )
    # A fit on one image a class sets everything else.
    classifier.fit(np.eye(N_CLASSES, N_PIXELS), np.arange(N_CLASSES))
    state: dict[str, Any] = {
        "support_": np.arange(len(vectors), dtype=np.int32) if plain else support,
        "support_vectors_": vectors,
        "_n_support": arrays["support_by_class"],
        "dual_coef_": arrays["dual_coefficients"],
        "_dual_coef_": arrays["dual_coefficients"],
        "intercept_": arrays["intercepts"],
        "_intercept_": arrays["intercepts"],
        "shape_fit_": (len(vectors), N_PIXELS),
        "n_iter_": arrays["iterations"],
        "_num_iter": arrays["iterations"],
    }
    if plain:
        # Its kernel values are those with the support vectors alone, in their order.
        state |= {"_BaseLibSVM__Xfit": vectors, "support_vectors_": np.empty((0, 0))}
    else:
        state["shape_fit_"] = (int(arrays["scaler.n_images"][0]), N_PIXELS)
    for name, value in state.items():
        setattr(classifier, name, value)
    return classifier
