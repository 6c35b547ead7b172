"""The files of a data set, verified and read into memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core.errors import DataUnavailable
from mnist_ops.data.store import FileStatus, absolute, status
from mnist_ops.study import dataset

# Images and labels of each part, in the order in which they are pooled.
_FILES = [(f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]

Pixels = Callable[[NDArray[np.int32]], NDArray[np.uint8]]


def read(name: str, root: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return images (n, height, width) and labels (n,) as published: for training, for testing.

    Raises:
        DataUnavailable: a file is missing or corrupt.
        InvalidInput: there is no data set of that name.
    """
    folder = _verified(name, root)
    return [(_array(folder / images), _array(folder / labels)) for images, labels in _FILES]


def pixels(name: str, data_dir: Path | None = None) -> Pixels:
    """Return a function from an index to those images of a data set, in the order of `load`.

    Images beyond the end are black. The files are verified once, and only the images that are
    asked for are read into memory. Raises as `read`.
    """
    if (content := dataset.named(name).content) is not None:
        return partial(_at, [content.images])
    folder = _verified(name, absolute(data_dir))
    return partial(_at, [_array(folder / images, _map) for images, _ in _FILES])


def _at(published: list[NDArray[np.uint8]], index: NDArray[np.int32]) -> NDArray[np.uint8]:
    found = np.zeros((len(index), *published[0].shape[1:]), np.uint8)
    begin = 0
    for images in published:
        inside = (index >= begin) & (index < begin + len(images))
        found[inside] = images[index[inside] - begin]
        begin += len(images)
    return found


def _verified(name: str, root: Path) -> Path:
    found = status(name, root)
    if not found.intact:
        bad = "; ".join(_describe(file) for file in found.files if file.state != "intact")
        raise DataUnavailable(f"{name}: {bad} (`mnist-ops data` fetches it)")
    return dataset.named(name).folder(root)


def _array(
    path: Path, read: Callable[[Path, type[np.uint8]], NDArray[np.uint8]] = np.fromfile
) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: two zeros, a type, the number of axes, their sizes, the values."""
    content = read(path, np.uint8)
    values = 4 + 4 * int(content[3])
    return content[values:].reshape(content[4:values].view(">u4"))


def _map(path: Path, kind: type[np.uint8]) -> NDArray[np.uint8]:
    return np.memmap(path, kind, mode="r")


def _describe(file: FileStatus) -> str:
    if file.md5_found is None:
        return f"{file.path} is {file.state}"
    return f"{file.path} is corrupt: MD5 {file.md5_found}, expected {file.md5_expected}"
