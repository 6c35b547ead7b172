"""A fitted classifier as a scikit-learn estimator, which predicts without this package."""

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from mnist_ops.data import Images, split_of
from mnist_ops.fitting.svm import one_vs_one, plain
from mnist_ops.fitting.svm.kernels import Kernel, fits_plainly
from mnist_ops.fitting.svm.one_vs_one import OneVsOne
from mnist_ops.fitting.svm.problem import Problem, pixels, problem_of
from mnist_ops.fitting.svm.solutions import solutions_of
from mnist_ops.study.specs import SvmSpec


def to_estimator(spec: SvmSpec, images: Images) -> Pipeline:
    """Return a fitted ``StandardScaler`` and ``SVC`` for grey levels 0 to 255, shape (n, pixels).

    It is made of the solution that `fit` logs (which this process has already, or solves now), and
    gives the test images the classes that `fit` gives them. Its ``gamma`` is a number.

    Raises:
        InvalidInput, TooManyImages: as `fit`.
    """
    if fits_plainly(spec):
        parts = split_of(spec, images)
        return plain.fit(spec, images, parts)
    problem, _ = problem_of(spec, images)
    kernel = Kernel.of(spec, problem.n_features, problem.n_varying)
    wanted = kernel, spec.C
    solution, _ = solutions_of(problem, [wanted])[wanted]
    classifier = filled(spec, problem, kernel, solution.classifier)
    estimator = make_pipeline(problem.scaler, classifier)
    # Half of what is filled in is private to scikit-learn: a version that keeps it otherwise would
    # predict otherwise, and fits for itself.
    if not np.array_equal(estimator.predict(pixels(images, problem.parts.test)), solution.test):
        return plain.fit(spec, images, problem.parts)
    return estimator


def filled(spec: SvmSpec, problem: Problem, kernel: Kernel, solved: OneVsOne) -> SVC:
    """Return an `SVC` with the state that a fit on all training images would have left."""
    classifier = SVC(
        kernel=kernel.name,
        C=spec.C,
        gamma=kernel.gamma or "auto",
        degree=spec.degree,
    )
    # A fit on one image a class sets everything else.
    firsts = problem.train[[problem.of_class(c).start for c in range(len(problem.classes))]]
    classifier.fit(problem.standardised(firsts), problem.classes)
    vectors = problem.standardised(problem.train[solved.support])
    # With two classes, and only then, the public ones have the other sign.
    sign = -1 if len(problem.classes) == 2 else 1
    state = {
        "support_": problem.positions[solved.support].astype(np.int32),
        "support_vectors_": vectors,
        "_n_support": one_vs_one.support_by_class(problem, solved).astype(np.int32),
        "dual_coef_": sign * solved.coefficients,
        "_dual_coef_": solved.coefficients,
        "intercept_": sign * solved.intercepts,
        "_intercept_": solved.intercepts,
        "shape_fit_": (len(problem.train), problem.n_features),
        "n_iter_": solved.iterations,
        "_num_iter": solved.iterations,
    }
    for name, value in state.items():
        setattr(classifier, name, value)
    return classifier
