"""The machine as a scikit-learn estimator: the state of a plain fit, its predictions."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from data_fixtures import fixture_images
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops.data import Images, split_of
from mnist_ops.fitting import svm
from mnist_ops.study.specs import SvmSpec

SPEC = SvmSpec(
    study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0, train_limit=300, test_limit=100
)


@pytest.fixture(scope="module")
def images() -> Images:
    return fixture_images("MNIST")


def pixels_of(images: Images, spec: SvmSpec, part: str) -> tuple[np.ndarray, np.ndarray]:
    parts = split_of(spec, images)
    index = getattr(parts, part)
    return images.images[index].reshape(len(index), -1), images.labels[index]


def plain(spec: SvmSpec, images: Images) -> Pipeline:
    classifier = SVC(kernel=spec.kernel, C=spec.C, gamma=spec.gamma, degree=spec.degree)
    return make_pipeline(StandardScaler(), classifier).fit(*pixels_of(images, spec, "train"))


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear", "sigmoid"])
def test_state_is_that_of_a_plain_fit(images: Images, kernel: str) -> None:
    spec = dataclasses.replace(SPEC, kernel=kernel)
    ours, theirs = svm.to_estimator(spec, images)[-1], plain(spec, images)[-1]
    assert vars(ours).keys() == vars(theirs).keys()
    for name in ("support_", "n_support_", "classes_", "shape_fit_"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.support_vectors_ == pytest.approx(theirs.support_vectors_, rel=1e-5, abs=1e-7)
    # The solver stops where the conditions hold to `tol`; at which step of those that do depends on
    # the rounding of its inner products, and so on the processor.
    assert ours.n_iter_ == pytest.approx(theirs.n_iter_, abs=2)
    for name in ("dual_coef_", "intercept_"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=5 * theirs.tol)
    pixels = theirs.support_vectors_
    assert ours.decision_function(pixels) == pytest.approx(
        theirs.decision_function(pixels), abs=5 * theirs.tol
    )
    assert ours.n_features_in_ == 784


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear", "sigmoid", "laplacian"])
def test_predicts_what_the_fit_predicts(images: Images, kernel: str) -> None:
    spec = dataclasses.replace(SPEC, kernel=kernel, seed=2)
    estimator = svm.to_estimator(spec, images)
    pixels, _ = pixels_of(images, spec, "test")
    assert np.array_equal(estimator.predict(pixels), svm.fit(spec, images).predictions)


def test_predicts_without_this_package(images: Images, tmp_path: Path) -> None:
    pixels, _ = pixels_of(images, SPEC, "test")
    joblib.dump(svm.to_estimator(SPEC, images), tmp_path / "champion.joblib")
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys; sys.modules['mnist_ops'] = None\n"
        "import joblib, numpy as np\n"
        "np.save('classes.npy', joblib.load('champion.joblib').predict(np.load('pixels.npy')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    classes = np.load(tmp_path / "classes.npy")
    assert np.array_equal(classes, svm.fit(SPEC, images).predictions)


def test_scikit_learn_that_keeps_its_state_otherwise_fits_itself(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def useless(*_: object) -> SVC:
        return SVC().fit(*pixels_of(images, SPEC, "val"))

    monkeypatch.setattr("mnist_ops.fitting.svm.estimator.filled", useless)
    pixels, _ = pixels_of(images, SPEC, "test")
    estimator = svm.to_estimator(SPEC, images)
    assert np.array_equal(estimator.predict(pixels), plain(SPEC, images).predict(pixels))
