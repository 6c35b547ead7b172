"""Support vector machines on real images, against scikit-learn used by hand."""

import dataclasses

import numpy as np
import pytest
from data_fixtures import fixture_images
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops import keys, svm
from mnist_ops.data import Images, split
from mnist_ops.specs import SvmSpec

SPEC = SvmSpec(
    study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0, train_limit=300, test_limit=100
)


@pytest.fixture(scope="module")
def images() -> Images:
    return fixture_images("MNIST")


def by_hand(spec: SvmSpec, images: Images) -> tuple[SVC, np.ndarray]:
    parts = split(images.labels, spec.seed, spec.train_limit, spec.val_limit, spec.test_limit)
    pixels = images.images.flatten(1).numpy().astype(float)
    labels = images.labels.numpy()
    classifier = SVC(kernel=spec.kernel, C=spec.C, gamma=spec.gamma, degree=spec.degree)
    pipeline = make_pipeline(StandardScaler(), classifier)
    pipeline.fit(pixels[parts.train], labels[parts.train])
    return classifier, pipeline.predict(pixels[parts.test])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": "poly", "C": 1.0, "gamma": "auto"},
        {"kernel": "poly", "degree": 2},
        {"kernel": "linear", "C": 0.1},
        {"kernel": "rbf", "gamma": 0.002, "seed": 3},
    ],
)
def test_gives_what_scikit_learn_gives(images: Images, changes: dict[str, object]) -> None:
    spec = dataclasses.replace(SPEC, **changes)
    classifier, expected = by_hand(spec, images)
    result = svm.fit(spec, images)
    assert np.array_equal(result.predictions, expected)
    assert result.metrics[keys.SUPPORT_VECTORS] == len(classifier.support_)
    assert result.metrics[keys.TEST_ACCURACY] == np.mean(result.labels == expected)


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
