"""Data sets of a user's own: folders, ``.npz`` files, functions, torchvision's classes."""

import gzip
import shutil
from pathlib import Path

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
    assert np.array_equal(images.images.numpy(), pixels)


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
