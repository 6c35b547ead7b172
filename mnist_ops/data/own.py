"""Data sets for a user's study: a folder of images, an ``.npz`` file, torchvision's classes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core.errors import DataUnavailable, InvalidInput
from mnist_ops.study import lookup
from mnist_ops.study.dataset import Content, OwnData


def folder(
    name: str,
    path: str,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    group: Callable[[Path], str] | None = None,
) -> OwnData:
    """Return the data set of image files in a folder for each class, named like the class.

    If these folders are in folders ``train``, ``val`` and ``test``, that is the split; without
    ``val``, validation images are drawn from the training images.

    Args:
        name: of the data set.
        path: of the folder of these folders; from the study's file, or else the current folder.
        size: height and width that images are scaled to; None for images that have one size.
        grey: whether colours are turned into grey levels.
        group: from an image file to the name of its group, as of a person; no group is in two parts
            of the split.
    """
    root = lookup.beside(path)

    def read() -> Content:
        if not root.is_dir():
            raise InvalidInput(f"data set {name}: {root} is no folder")
        parts = _parts(name, root)
        classes = sorted({each for _, folder in parts for each in _folders(folder)})
        found = [
            (part, label, file)
            for part, folder in parts
            for label, each in enumerate(classes)
            for file in _files(folder / each)
        ]
        if not found:
            raise InvalidInput(f"data set {name}: {root} has no image in a folder of a class")
        images = [_image(file, size, "L" if grey else "RGB") for _, _, file in found]
        for image, (_, _, file) in zip(images, found, strict=True):
            if image.shape != images[0].shape:
                (height, width), (h, w) = images[0].shape[:2], image.shape[:2]
                raise InvalidInput(
                    f"data set {name}: {file} is {h}x{w}, others are {height}x{width}: give "
                    f"size=({height}, {width})"
                )
        of_part = np.array([part for part, _, _ in found])
        train, val, test = (np.flatnonzero(of_part == part) for part in range(3))
        return Content(
            np.stack(images),
            np.array([label for _, label, _ in found]),
            tuple(classes),
            groups=np.array([str(group(file)) for _, _, file in found]) if group else None,
            split=(train, val, test) if len(parts) > 1 else None,
        )

    return OwnData(name, read)


def npz(name: str, path: str) -> OwnData:
    """Return the data set of an ``.npz`` file with the arrays ``images`` and ``labels``.

    It may have ``class_names`` as well, and ``n_train``: how many images come first that are for
    training, where the rest are official test images. ``groups`` has the group of each image, and
    ``train``, ``val`` and ``test`` are the indices of a split (see `Content`).
    """
    file = lookup.beside(path)

    def read() -> Content:
        with np.load(file, allow_pickle=False) as arrays:
            if absent := {"images", "labels"} - set(arrays.files):
                raise InvalidInput(f"data set {name}: {file} has no array {sorted(absent)[0]}")
            names = arrays["class_names"].tolist() if "class_names" in arrays.files else ()
            n_train = int(arrays["n_train"]) if "n_train" in arrays.files else None
            train, val, test = (
                arrays[part] if part in arrays.files else np.arange(0) for part in _SPLIT
            )
            return Content(
                arrays["images"],
                arrays["labels"],
                tuple(names),
                n_train,
                arrays["groups"] if "groups" in arrays.files else None,
                (train, val, test) if len(train) or len(val) or len(test) else None,
            )

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
_SPLIT = ("train", "val", "test")
# Names of the folders of a split -> which part it is.
_FOLDERS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
# Their signature hides it.
_BY_TRAIN = ("EMNIST", "QMNIST")


def _folders(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _parts(name: str, root: Path) -> list[tuple[int, Path]]:
    """Return the folders that have the folders of classes, each with its part of the split."""
    names = _folders(root)
    is_split = bool(names) and set(names) <= _FOLDERS.keys()
    if not is_split or not all(_folders(root / each) for each in names):
        return [(0, root)]
    if absent := [part for part in _PARTS if part not in names]:
        raise InvalidInput(
            f"data set {name}: {root} has {' and '.join(names)}, but no folder {absent[0]}"
        )
    return [(_FOLDERS[each], root / each) for each in names]


def _files(folder: Path) -> list[Path]:
    from PIL import Image

    known = Image.registered_extensions()
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in known)


def _image(file: Path, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert(mode)
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
