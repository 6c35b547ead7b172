"""Data sets of a user's own: folders, ``.npz`` files, functions, torchvision's classes."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_fixtures import GZIPPED
from PIL import Image

from mnist_ops import data
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import Content, OwnData, lookup

DRAW = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def nothing_known(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "registered", {})


def write_images(folder: Path, counts: dict[str, int], shape: tuple[int, ...] = (6, 9, 3)) -> None:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = DRAW.integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def loaded(own: OwnData) -> data.Images:
    lookup.register("datasets", own.name, own)
    return data.load(own.name)


def test_a_folder_of_images(home: Path) -> None:
    write_images(home / "pets", {"dog": 4, "cat": 6})
    images = loaded(data.folder("pets", "pets"))
    assert images.class_names == ("cat", "dog")
    assert images.images.shape == (10, 3, 6, 9)
    assert images.labels.tolist() == [0] * 6 + [1] * 4
    grey = loaded(data.folder("grey", "pets", grey=True, size=(5, 5)))
    assert grey.images.shape == (10, 5, 5)
    before = images.digest
    (home / "pets" / "dog" / "0.png").unlink()
    assert data.folder("pets", "pets").dataset.digest != before


def test_an_npz_file_with_official_test_images(home: Path) -> None:
    pixels = DRAW.integers(0, 255, (30, 4, 7), dtype=np.uint8)
    labels = np.arange(30) % 3
    np.savez("mine.npz", images=pixels, labels=labels, n_train=24, class_names=["a", "b", "c"])
    images = loaded(data.npz("mine", "mine.npz"))
    assert (images.n_train, images.class_names) == (24, ("a", "b", "c"))
    assert np.array_equal(images.images, pixels)


def test_torchvision_s_classes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its KMNIST, from files that are there already, as they have the form of MNIST's."""
    monkeypatch.setenv("MNIST_OPS_DATA", str(home / "data"))
    shutil.copytree(GZIPPED / "MNIST" / "raw", home / "data" / "KMNIST" / "raw")
    for packed in (home / "data" / "KMNIST" / "raw").glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    images = loaded(data.torchvision_set("KMNIST"))
    assert (len(images.labels), images.n_train) == (600, 400)
    assert images.class_names[1] == "ki"


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"cat": 6, "dog": 1}, "too few images of dog (1)"),
        ({}, "is no folder"),
        ({"cat": 6}, "it has 1 classes"),
    ],
)
def test_folders_that_are_no_data_set(home: Path, counts: dict[str, int], told: str) -> None:
    write_images(home / "pets", counts)
    with pytest.raises(InvalidInput) as caught:
        loaded(data.folder("pets", "pets"))
    assert told in str(caught.value)


def test_images_of_several_sizes_need_one(home: Path) -> None:
    write_images(home / "pets", {"cat": 4})
    write_images(home / "pets", {"dog": 4}, (7, 9, 3))
    with pytest.raises(InvalidInput, match=r"is 7x9, others are 6x9: give size=\(6, 9\)"):
        loaded(data.folder("pets", "pets"))


def test_a_damaged_image_is_named(home: Path) -> None:
    write_images(home / "pets", {"cat": 4, "dog": 4})
    (home / "pets" / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"dog/1.png cannot be read as an image"):
        loaded(data.folder("pets", "pets"))


def test_labels_are_those_of_the_images() -> None:
    pixels = np.zeros((9, 4, 4), np.uint8)
    with pytest.raises(InvalidInput, match="labels are whole numbers from 0, one for each of 9"):
        loaded(OwnData("odd", lambda: Content(pixels, np.zeros(8, int))))


def test_folders_of_a_split(home: Path) -> None:
    write_images(home / "pets" / "train", {"cat": 20, "dog": 16})
    write_images(home / "pets" / "test", {"dog": 5, "cat": 4})
    write_images(home / "pets" / "val", {"cat": 3, "dog": 2})
    images = loaded(data.folder("pets", "pets"))
    assert images.class_names == ("cat", "dog")
    found = [data.split(images.labels, seed, given=images.split) for seed in (0, 1)]
    for part, counts in (("train", [20, 16]), ("val", [3, 2]), ("test", [4, 5])):
        first, second = (getattr(each, part) for each in found)
        assert np.bincount(images.labels[first]).tolist() == counts
        # The seed shuffles them alone.
        assert sorted(first.tolist()) == sorted(second.tolist())
    assert not np.array_equal(found[0].train, found[1].train)
    before = images.digest
    shutil.move(home / "pets" / "val" / "cat" / "0.png", home / "pets" / "train" / "cat" / "v.png")
    assert data.folder("pets", "pets").dataset.digest != before
    # Without a folder of validation images these are drawn, by seed.
    shutil.rmtree(home / "pets" / "val")
    images = loaded(data.folder("drawn", "pets"))
    drawn = data.split(images.labels, 0, given=images.split)
    assert (len(drawn.train), len(drawn.val), len(drawn.test)) == (32, 5, 9)
    shutil.rmtree(home / "pets" / "test")
    with pytest.raises(InvalidInput, match="has train, but no folder test"):
        loaded(data.folder("less", "pets"))


def test_a_limit_of_training_images_fits_a_given_split(home: Path) -> None:
    labels = np.arange(60) % 2
    given = np.arange(0, 50), np.arange(50, 53), np.arange(53, 60)
    pixels = DRAW.integers(0, 255, (60, 4, 4), dtype=np.uint8)
    images = loaded(OwnData("mine", lambda: Content(pixels, labels, split=given)))
    found = data.split(images.labels, 0, 40, 6, 4, given=images.split)
    assert (len(found.train), len(found.val), len(found.test)) == (40, 3, 4)
    np.savez("m.npz", images=pixels, labels=labels, train=given[0], val=given[1], test=given[2])
    assert data.npz("mine", "m.npz").dataset.digest == images.digest
    plain = OwnData("mine", lambda: Content(pixels, labels)).dataset
    assert plain.digest != images.digest


def test_groups_are_in_one_part(home: Path) -> None:
    write_images(home / "pets", {"cat": 60, "dog": 90})
    own = data.folder("pets", "pets", group=lambda file: file.parent.name + file.stem[:-1])
    images = loaded(own)
    assert own.dataset.digest != data.folder("pets", "pets").dataset.digest
    assert images.groups is not None
    for seed in range(5):
        found = data.split(images.labels, seed, groups=images.groups)
        parts = [found.train, found.val, found.test]
        assert sorted(np.concatenate(parts)) == list(range(150))
        held = [set(images.groups[part].tolist()) for part in parts]
        assert sum(map(len, held)) == len(set().union(*held)) == len(set(images.groups.tolist()))
        assert all(len(set(images.labels[part].tolist())) == 2 for part in parts)
        assert 20 <= len(parts[2]) <= 40
        assert 10 <= len(parts[1]) <= 20
        again = data.split(images.labels, seed, groups=images.groups)
        assert np.array_equal(again.train, found.train)


PIXELS = np.zeros((12, 4, 4), np.uint8)
LABELS = np.arange(12) % 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"split": ([0, 1], [2, 3], [3, 4])}, "split is wrong: image 3 is in it twice"),
        ({"split": ([0, 1], [2, 3], [4, 12])}, "test images are given as whole numbers from 0 to"),
        ({"split": ([0, 1], [2, 3], [4, 5], [])}, "split is (train, validation, test), 3 arrays"),
        ({"split": ([0, 1], [2, 4], [5, 6])}, "no validation image is of class 1: give one"),
        ({"split": ([0, 1], [], [])}, "no test image is of class 0"),
        ({"split": ([0, 1], [], [2, 3]), "n_train": 2}, "give either n_train or split"),
        ({"groups": np.zeros(11, int)}, "groups are whole numbers or texts, one for each of 12"),
        (
            {"split": ([0, 1], [], [2, 3]), "groups": list("aabaaaaaaaaa")},
            "group a has training images and test images",
        ),
    ],
)
def test_a_split_that_is_none_is_one_line(more: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        loaded(OwnData("odd", lambda: Content(PIXELS, LABELS, **more)))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_groups_are_one_line(home: Path) -> None:
    groups = LABELS * 1
    images = loaded(OwnData("odd", lambda: Content(PIXELS, LABELS, groups=groups)))
    with pytest.raises(InvalidInput, match="12 images in 2 groups cannot be split so that every"):
        data.split(images.labels, 0, groups=images.groups)
