"""Training on real images: reproducible, honest about time, and it learns."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from data_fixtures import fixture_images
from sklearn.metrics import accuracy_score, f1_score
from specs import RESNET, network_spec
from torch.nn import functional

from mnist_ops.core import keys
from mnist_ops.data import Images, split_of
from mnist_ops.data.catalog import DATASETS
from mnist_ops.fitting import fast
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.fast.cropped_kernels import CroppedConv2d
from mnist_ops.fitting.resnet import models, train
from mnist_ops.fitting.resnet.feed import Feed, augmented
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import ResNetSpec

DIGITS = DATASETS["MNIST"]

SPEC = dataclasses.replace(RESNET, train_limit=64, test_limit=40)


@pytest.fixture(scope="module")
def images() -> Images:
    return fixture_images("MNIST")


def fit(spec: ResNetSpec, images: Images) -> FitResult:
    return train.fit(spec, images)[spec.epochs]


@pytest.mark.slow
def test_learns_real_digits(images: Images) -> None:
    spec = dataclasses.replace(SPEC, train_limit=400, test_limit=0, epochs=5, precision="float32")
    epochs: list[EpochResult] = []
    result = train.fit(spec, images, epochs.append)[5]
    assert result.metrics[keys.TEST_ACCURACY] > 0.7
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1].train_loss < epochs[0].train_loss / 2


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_same_spec_same_predictions(images: Images, optimizer: str, precision: str) -> None:
    spec = dataclasses.replace(SPEC, optimizer=optimizer, precision=precision, epochs=1)
    with reproducible(threads=1):
        first, again = fit(spec, images), fit(spec, images)
        other = fit(dataclasses.replace(spec, learning_rate=0.01), images)
    assert np.array_equal(first.predictions, again.predictions)
    assert first.metrics[keys.TRAIN_LOSS] == again.metrics[keys.TRAIN_LOSS]
    assert first.metrics[keys.TRAIN_LOSS] != other.metrics[keys.TRAIN_LOSS]


def test_a_short_training_is_the_beginning_of_a_long_one(images: Images) -> None:
    with reproducible(threads=1):
        short = fit(SPEC, images)
        taken = train.fit(dataclasses.replace(SPEC, epochs=3), images, results_after=(2,))
    assert list(taken) == [2, 3]
    assert np.array_equal(taken[2].predictions, short.predictions)
    same = (keys.TRAIN_LOSS, keys.VAL_ACCURACY, keys.TEST_ACCURACY, keys.TEST_F1)
    assert [taken[2].metrics[name] for name in same] == [short.metrics[name] for name in same]
    assert taken[2].metrics[keys.TRAIN_TIME_S] < taken[3].metrics[keys.TRAIN_TIME_S]


@pytest.mark.parametrize("plain", [False, True])
def test_plain_is_torchvisions_network(plain: bool) -> None:
    network = models.build(SPEC)
    fast.prepare(network, DIGITS.image_shape, dataclasses.replace(SPEC, plain=plain))
    kinds = {type(module) for module in network.modules()}
    assert (CroppedConv2d in kinds) is not plain


@pytest.mark.slow
def test_fast_and_plain_learn_equally_well(images: Images) -> None:
    spec = dataclasses.replace(SPEC, train_limit=400, test_limit=0, epochs=5)
    accuracies = {}
    with reproducible(threads=1):
        for plain in (False, True):
            specs = [dataclasses.replace(spec, seed=seed, plain=plain) for seed in range(5)]
            accuracies[plain] = np.array(
                [fit(one, images).metrics[keys.TEST_ACCURACY] for one in specs]
            )
    for plain, values in accuracies.items():
        print(f"plain={plain}: {values.mean():.4f}, deviation {values.std(ddof=1):.4f}")
    # Seeds pair the two: the interval is that of the mean difference, Student's t for 4 degrees.
    difference = accuracies[False] - accuracies[True]
    assert abs(difference.mean()) < 2.776 * difference.std(ddof=1) / math.sqrt(5)


def test_result_is_about_the_test_part(images: Images) -> None:
    result = fit(SPEC, images)
    parts = split_of(SPEC, images)
    assert np.array_equal(result.test_index, parts.test)
    assert np.array_equal(result.labels, images.labels[parts.test])
    assert (result.n_train, result.n_val, len(result.labels)) == (64, 10, 40)
    predicted = result.predictions
    expected = {
        keys.TEST_ACCURACY: accuracy_score(result.labels, predicted),
        keys.TEST_F1: f1_score(result.labels, predicted, average="weighted", zero_division=0),
        keys.TEST_F1_MACRO: f1_score(result.labels, predicted, average="macro", zero_division=0),
        keys.FLOPS: models.complexity(network_spec("resnet18")).flops,
        keys.PARAMETERS: models.complexity(network_spec("resnet18")).parameters,
    }
    assert {name: result.metrics[name] for name in expected} == pytest.approx(expected)


def test_time_counts_training_images_only(images: Images) -> None:
    epochs: list[EpochResult] = []
    result = train.fit(SPEC, images, epochs.append)[2]
    seconds = result.metrics[keys.TRAIN_TIME_S]
    assert seconds == epochs[-1].train_time_s > epochs[0].train_time_s > 0
    assert result.metrics[keys.IMAGES_PER_SECOND] == pytest.approx(2 * 64 / seconds)


def test_last_batch_of_one_image_is_left_out(images: Images) -> None:
    result = fit(dataclasses.replace(SPEC, train_limit=33, epochs=1), images)
    seconds = result.metrics[keys.TRAIN_TIME_S]
    assert result.metrics[keys.IMAGES_PER_SECOND] * seconds == pytest.approx(32)


def test_pixels_are_normalised_with_the_training_images(images: Images) -> None:
    feed = Feed(images, np.arange(300), torch.device("cpu"), pin_memory=False)
    pixels, labels = feed(torch.arange(300))
    assert pixels.shape == (300, 1, 28, 28)
    assert pixels.dtype == torch.float32
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(labels, images.labels[:300])


def test_augmented_images_are_shifted_or_flipped() -> None:
    pixels = torch.arange(1, 97, dtype=torch.uint8).reshape(2, 3, 2, 8).repeat(20, 1, 8, 1)
    assert augmented(pixels, "none", (0, 1, 2)) is pixels
    flipped = augmented(pixels, "flip", (0, 1, 2))
    kept = [torch.equal(new, old) for new, old in zip(flipped, pixels, strict=True)]
    assert 5 < sum(kept) < 35
    for new, old, same in zip(flipped, pixels, kept, strict=True):
        assert torch.equal(new, old if same else old.flip(-1))
    shifted = augmented(pixels, "shift", (0, 1, 2))
    offsets = set()
    for new, old in zip(shifted, pixels, strict=True):
        padded = functional.pad(old, (1, 1, 2, 2))
        (found,) = [
            (down, right)
            for down in range(5)
            for right in range(3)
            # Rows repeat: what a shift leaves open says how far it went.
            if torch.equal(new, padded[:, down : down + 16, right : right + 8])
        ]
        offsets.add(found)
    assert len(offsets) > 8
    both = augmented(pixels, "shift-flip", (0, 1, 2))
    assert torch.equal(both, augmented(pixels, "shift-flip", (0, 1, 2)))
    assert not torch.equal(both, augmented(pixels, "shift-flip", (0, 1, 3)))


@pytest.mark.slow
def test_augmentation_is_of_training_images_alone(images: Images) -> None:
    spec = dataclasses.replace(SPEC, train_limit=64, test_limit=0, epochs=2, precision="float32")
    shift = dataclasses.replace(spec, augmentation="shift")
    assert shift.fingerprint != spec.fingerprint
    assert shift.name.endswith("-aug-shift-s0")
    with reproducible(threads=1):
        plain, first, again = fit(spec, images), fit(shift, images), fit(shift, images)
        short = fit(dataclasses.replace(shift, epochs=1), images)
        taken = train.fit(shift, images, results_after=(1,))[1]
    assert first.metrics[keys.TRAIN_LOSS] != plain.metrics[keys.TRAIN_LOSS]
    assert first.metrics[keys.TRAIN_LOSS] == again.metrics[keys.TRAIN_LOSS]
    assert np.array_equal(first.predictions, again.predictions)
    assert np.array_equal(short.predictions, taken.predictions)


def test_diverging_loss_ends_with_advice(images: Images) -> None:
    spec = dataclasses.replace(SPEC, optimizer="SGD", learning_rate=1e30, precision="float32")
    with pytest.raises(train.TrainingDiverged, match="lower learning rate"):
        train.fit(spec, images)


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@cuda
@pytest.mark.parametrize("pin_memory", [False, True])
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_cuda_trains_reproducibly(images: Images, precision: str, pin_memory: bool) -> None:
    spec = dataclasses.replace(SPEC, device="cuda", precision=precision, pin_memory=pin_memory)
    with reproducible(threads=1):
        first, again = fit(spec, images), fit(spec, images)
    assert np.array_equal(first.predictions, again.predictions)
    assert math.isfinite(first.metrics[keys.TRAIN_LOSS])


@cuda
def test_pinned_memory_changes_nothing_but_the_way(images: Images) -> None:
    pinned, pageable = (
        Feed(images, torch.arange(50), torch.device("cuda"), pin_memory=pin)
        for pin in (True, False)
    )
    assert torch.equal(pinned(torch.arange(9))[0], pageable(torch.arange(9))[0])
