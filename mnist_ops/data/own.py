"""Data sets for a user's study: a folder of images, an ``.npz`` file, torchvision's classes."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.study import lookup
from mnist_ops.study.dataset import Content, OwnData


def folder(
    name: str, path: str, *, size: tuple[int, int] | None = None, grey: bool = False
) -> OwnData:
    """Return the data set of image files in a folder for each class, named like the class.

    Args:
        name: of the data set.
        path: of the folder of these folders; from the study's file, or else the current folder.
        size: height and width that images are scaled to; None for images that have one size.
        grey: whether colours are turned into grey levels.
    """
    root = lookup.beside(path)

    def read() -> Content:
        if not root.is_dir():
            raise InvalidInput(f"data set {name}: {root} is no folder")
        classes = sorted(each.name for each in root.iterdir() if each.is_dir())
        found = [
            (label, file) for label, each in enumerate(classes) for file in _files(root / each)
        ]
        if not found:
            raise InvalidInput(f"data set {name}: {root} has no image in a folder of a class")
        images = [_image(file, size, "L" if grey else "RGB") for _, file in found]
        for image, (_, file) in zip(images, found, strict=True):
            if image.shape != images[0].shape:
                (height, width), (h, w) = images[0].shape[:2], image.shape[:2]
                raise InvalidInput(
                    f"data set {name}: {file} is {h}x{w}, others are {height}x{width}: give "
                    f"size=({height}, {width})"
                )
        return Content(np.stack(images), np.array([label for label, _ in found]), tuple(classes))

    return OwnData(name, read)


def npz(name: str, path: str) -> OwnData:
    """Return the data set of an ``.npz`` file with the arrays ``images`` and ``labels``.

    It may have ``class_names`` as well, and ``n_train``: how many images come first that are for
    training, where the rest are official test images.
    """
    file = lookup.beside(path)

    def read() -> Content:
        with np.load(file, allow_pickle=False) as arrays:
            if absent := {"images", "labels"} - set(arrays.files):
                raise InvalidInput(f"data set {name}: {file} has no array {sorted(absent)[0]}")
            names = arrays["class_names"].tolist() if "class_names" in arrays.files else ()
            n_train = int(arrays["n_train"]) if "n_train" in arrays.files else None
            return Content(arrays["images"], arrays["labels"], tuple(names), n_train)

    return OwnData(name, read)


def torchvision_set(name: str, **options: Any) -> OwnData:
    """Return a data set that torchvision fetches: KMNIST, EMNIST, QMNIST, USPS, CIFAR10, SVHN.

    Args:
        name: of its class in `torchvision.datasets`, and of the data set.
        options: further arguments of the class, as ``split="balanced"`` for EMNIST.
    """

    def read() -> Content:
        import torchvision.datasets

        from mnist_ops.data.store import default_data_dir

        kind = getattr(torchvision.datasets, name, None)
        if kind is None:
            raise InvalidInput(f"torchvision has no data set {name}")
        by_split = "train" not in inspect.signature(kind).parameters and name not in _BY_TRAIN
        parts = [{"split": part} if by_split else {"train": part == "train"} for part in _PARTS]
        try:
            train, test = (
                kind(str(default_data_dir()), download=True, **part, **options) for part in parts
            )
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise DataUnavailable(f"torchvision cannot fetch {name}: {reason}") from error
        images = [_as_bytes(part.data) for part in (train, test)]
        labels = np.concatenate([_labels(part) for part in (train, test)])
        names = tuple(map(str, getattr(train, "classes", ())))
        # EMNIST's letters begin with 1.
        names = names if len(names) > labels.max() else ()
        return Content(np.concatenate(images), labels, names, len(images[0]))

    return OwnData(name, read)


_PARTS = ("train", "test")
# Their signature hides it.
_BY_TRAIN = ("EMNIST", "QMNIST")


def _files(folder: Path) -> list[Path]:
    from PIL import Image

    known = Image.registered_extensions()
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in known)


def _image(file: Path, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = opened.convert(mode)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read as an image: {error}") from None
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]))
    return np.asarray(image)


def _as_bytes(data: Any) -> NDArray[np.uint8]:
    """Return images with their channels last."""
    images: NDArray[np.uint8] = np.asarray(data)
    return np.moveaxis(images, 1, 3) if images.ndim == 4 and images.shape[1] == 3 else images


def _labels(part: Any) -> NDArray[np.int64]:
    """Return the classes; of QMNIST they are the first of several columns."""
    labels = np.asarray(part.targets if hasattr(part, "targets") else part.labels)
    return (labels[:, 0] if labels.ndim == 2 else labels).astype(np.int64)
