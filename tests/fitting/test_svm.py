"""Support vector machines on real images, against scikit-learn used by hand."""

import dataclasses

import numpy as np
import pytest
from data_fixtures import fixture_images
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops.core import keys
from mnist_ops.data import Images, load, split_of
from mnist_ops.fitting import svm
from mnist_ops.study.specs import SvmSpec

SPEC = SvmSpec(
    study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0, train_limit=300, test_limit=100
)


@pytest.fixture(scope="module")
def images() -> Images:
    return fixture_images("MNIST")


def by_hand(spec: SvmSpec, images: Images) -> tuple[SVC, np.ndarray]:
    parts = split_of(spec, images)
    pixels = images.images.reshape(len(images.images), -1).astype(float)
    labels = images.labels
    classifier = SVC(kernel=spec.kernel, C=spec.C, gamma=spec.gamma, degree=spec.degree)
    pipeline = make_pipeline(StandardScaler(), classifier)
    pipeline.fit(pixels[parts.train], labels[parts.train])
    return classifier, pipeline.predict(pixels[parts.test])


@pytest.mark.parametrize("dataset", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": "poly", "C": 1.0, "gamma": "auto"},
        {"kernel": "poly", "degree": 2},
        {"kernel": "poly", "degree": 5, "gamma": 0.01},
        {"kernel": "linear", "C": 0.1},
        {"kernel": "sigmoid", "gamma": "auto"},
        {"kernel": "rbf", "gamma": 0.002, "seed": 3},
        {"kernel": "rbf", "C": 0.1, "train_limit": 0, "test_limit": 0},
    ],
)
def test_gives_what_scikit_learn_gives(dataset: str, changes: dict[str, object]) -> None:
    spec = dataclasses.replace(SPEC, dataset=dataset, **changes)
    images = fixture_images(dataset)
    classifier, expected = by_hand(spec, images)
    result = svm.fit(spec, images)
    assert np.array_equal(result.predictions, expected)
    assert result.metrics[keys.SUPPORT_VECTORS] == len(classifier.support_)
    assert result.metrics[keys.DUAL_COEFFICIENTS] == np.count_nonzero(classifier.dual_coef_)
    assert result.metrics[keys.TEST_ACCURACY] == np.mean(result.labels == expected)


def test_kernel_without_a_gram_matrix_is_fitted_plainly(images: Images) -> None:
    spec = dataclasses.replace(SPEC, kernel="laplacian", gamma=0.001)
    parts = split_of(spec, images)
    pixels = images.images.reshape(len(images.images), -1).astype(float)
    scaler = StandardScaler().fit(pixels[parts.train])
    train, test = (scaler.transform(pixels[index]) for index in (parts.train, parts.test))
    classifier = SVC(kernel="precomputed", C=spec.C)
    classifier.fit(laplacian_kernel(train, gamma=0.001), images.labels[parts.train])
    result = svm.fit(spec, images)
    expected = classifier.predict(laplacian_kernel(test, train, gamma=0.001))
    assert np.array_equal(result.predictions, expected)
    assert result.metrics[keys.SUPPORT_VECTORS] == len(classifier.support_)


def test_a_plain_fit_is_scikit_learns_alone(images: Images) -> None:
    spec = dataclasses.replace(SPEC, plain=True)
    # With the default's value the field is no part of the fingerprint: older runs keep theirs.
    assert "plain" not in SPEC.canonical
    assert spec.fingerprint != SPEC.fingerprint
    alone, shared = svm.fit_all([spec, SPEC], images)
    assert np.array_equal(alone.predictions, shared.predictions)
    # Shared fits have prepared pixels and inner products in common.
    assert alone.metrics[keys.SHARED_TRAIN_TIME_S] == alone.metrics[keys.TRAIN_TIME_S]
    notice = svm.plain_notice([spec])
    assert notice is not None
    assert "Gram" not in notice


def test_notice_names_the_kernels_that_take_long() -> None:
    slow = dataclasses.replace(SPEC, kernel="laplacian")
    assert svm.plain_notice([SPEC]) is None
    notice = svm.plain_notice([SPEC, slow, dataclasses.replace(slow, C=1.0)])
    assert notice is not None
    assert notice.startswith("2 cells with kernel laplacian")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "changes"),
    [
        ("MNIST", {"kernel": "rbf", "C": 10.0}),
        ("MNIST", {"kernel": "poly", "C": 1.0, "gamma": "auto"}),
        ("FashionMNIST", {"kernel": "rbf", "C": 1.0}),
    ],
)
def test_agrees_with_scikit_learn_on_10000_images(dataset: str, changes: dict[str, object]) -> None:
    spec = dataclasses.replace(
        SPEC, dataset=dataset, seed=5, train_limit=10_000, test_limit=2_000, **changes
    )
    images = load(dataset)
    classifier, expected = by_hand(spec, images)
    result = svm.fit(spec, images)
    assert np.mean(result.predictions == expected) >= 0.999
    assert abs(result.metrics[keys.SUPPORT_VECTORS] - len(classifier.support_)) <= 2


def test_cost_by_hand() -> None:
    """3 support vectors of 4 features, 3 classes."""
    assert svm.predict_flops(3, 4, 3, "linear") == 3 * 4 + 2 * 3
    assert svm.predict_flops(3, 4, 3, "poly", degree=3) == 3 * (4 + 3) + 2 * 3
    assert svm.predict_flops(3, 4, 3, "rbf") == 3 * (4 + 2) + 2 * 3
    assert svm.stored_numbers(3, 4, 3) == 3 * 4 + 2 * 3 + 3


def test_logged_cost_counts_the_support_vectors(images: Images) -> None:
    metrics = svm.fit(SPEC, images).metrics
    support = int(metrics[keys.SUPPORT_VECTORS])
    assert metrics[keys.FLOPS] == svm.predict_flops(support, 784, 10, "rbf")
    assert metrics[keys.TRAIN_TIME_S] > 0
    assert 0 <= metrics[keys.VAL_ACCURACY] <= 1
