"""Splits into training, validation and test images."""

import dataclasses
import hashlib

import numpy as np
import pytest
from data_fixtures import fixture_images
from numpy.typing import NDArray

from mnist_ops.core.errors import InvalidInput
from mnist_ops.data import (
    split,
    split_of,
)
from mnist_ops.study.specs import SvmSpec

MNIST_CLASS_SIZES = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]


@pytest.fixture(scope="module")
def labels() -> NDArray[np.int64]:
    """70,000 labels with the class sizes of MNIST."""
    return np.arange(10).repeat(MNIST_CLASS_SIZES)


def test_split_is_exact_disjoint_and_complete(labels: NDArray[np.int64]) -> None:
    parts = split(labels, seed=0)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [49_000, 7_000, 14_000]
    everything = np.concatenate([parts.train, parts.val, parts.test])
    assert everything.dtype == np.int64
    assert np.array_equal(np.sort(everything), np.arange(70_000))


@pytest.mark.parametrize("limits", [(0, 0, 0), (10_000, 1_000, 2_000), (48_999, 6_995, 13_991)])
def test_parts_have_each_class_in_proportion(
    labels: NDArray[np.int64], limits: tuple[int, int, int]
) -> None:
    parts = split(labels, 3, *limits)
    shares = np.bincount(labels) / len(labels)
    for part, limit in zip((parts.train, parts.val, parts.test), limits, strict=True):
        assert limit in (0, len(part))
        assert np.abs(np.bincount(labels[part]) - shares * len(part)).max() < 1.5


def test_the_smallest_limit_has_each_class_once(labels: NDArray[np.int64]) -> None:
    parts = split(labels, 0, 10, 10, 10)
    for part in (parts.train, parts.val, parts.test):
        assert np.bincount(labels[part]).tolist() == [1] * 10


def test_a_limited_part_is_a_part_of_the_larger_one(labels: NDArray[np.int64]) -> None:
    small, large = split(labels, 0, 100).train, split(labels, 0, 1_000).train
    assert set(small.tolist()) < set(large.tolist()) < set(split(labels, 0).train.tolist())


def test_split_is_pinned_by_its_seed(labels: NDArray[np.int64]) -> None:
    def fingerprint(seed: int, *limits: int) -> str:
        parts = split(labels, seed, *limits)
        content = np.concatenate([parts.train, parts.val, parts.test]).tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    assert fingerprint(0) == "9b6f3b4fea442c18"
    assert fingerprint(1) == "1d3eef1e75364a7a"
    assert fingerprint(0, 1_000, 200, 500) == "3f29cf8806fc2bae"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((9, 0, 0), r"train_limit is 9: allowed are 0 \(all\) or 10 to 49000"),
        ((0, -1, 0), r"val_limit is -1: allowed are 0 \(all\) or 10 to 7000"),
        ((0, 0, 14_001), r"test_limit is 14001: allowed are 0 \(all\) or 10 to 14000"),
    ],
)
def test_limits_out_of_range_are_named(
    labels: NDArray[np.int64], limits: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        split(labels, 0, *limits)


@pytest.mark.parametrize("limits", [(0, 0, 0), (10_000, 1_429, 2_000)])
def test_the_official_test_images_can_be_kept_apart(
    labels: NDArray[np.int64], limits: tuple[int, int, int]
) -> None:
    mixed = np.random.default_rng(0).permutation(labels)
    parts = split(mixed, 0, *limits, test_from=60_000)
    sizes = [len(p) for p in (parts.train, parts.val, parts.test)]
    assert sizes == ([53_000, 7_000, 10_000] if limits == (0, 0, 0) else list(limits))
    assert parts.test.min() >= 60_000 > max(parts.train.max(), parts.val.max())
    assert len(np.unique(np.concatenate([parts.train, parts.val]))) == sizes[0] + sizes[1]
    shares = np.bincount(mixed[60_000:]) / 10_000
    assert np.abs(np.bincount(mixed[parts.test]) - shares * sizes[2]).max() < 1.5
    assert not np.array_equal(parts.test, split(mixed, 1, *limits, test_from=60_000).test)


def test_a_spec_says_which_parts() -> None:
    images = fixture_images("MNIST")
    spec = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=1.0)
    assert len(split_of(spec, images).test) == 120
    official = split_of(dataclasses.replace(spec, parts="official"), images)
    assert sorted(official.test) == list(range(400, 600))


def test_seeds_out_of_range_are_named(labels: NDArray[np.int64]) -> None:
    with pytest.raises(InvalidInput, match="seed is -1: allowed are 0 to 4294967295"):
        split(labels, seed=-1)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InvalidInput, match="50 images cannot be split"):
        split(np.arange(50) % 10, seed=0)
    rare = np.append(np.arange(500) % 9, [9, 9])
    with pytest.raises(InvalidInput):
        split(rare, seed=0)


def test_the_small_data_sets_can_be_split() -> None:
    labels = fixture_images("FashionMNIST").labels
    parts = split(labels, 0)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [420, 60, 120]
    assert np.bincount(labels[parts.val]).tolist() == [6] * 10
