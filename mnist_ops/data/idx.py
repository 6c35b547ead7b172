"""The files of a data set, verified and read into memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_ops.core.errors import DataUnavailable
from mnist_ops.data.store import FileStatus, absolute, status
from mnist_ops.study import dataset


def read(name: str, root: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return images (n, height, width) and labels (n,) as published: for training, for testing.

    Raises:
        DataUnavailable: a file is missing or corrupt.
        InvalidInput: there is no data set of that name.
    """
    found = status(name, root)
    if not found.intact:
        bad = "; ".join(_describe(file) for file in found.files if file.state != "intact")
        raise DataUnavailable(f"{name}: {bad} (`mnist-ops data` fetches it)")
    folder = dataset.named(name).folder(root)
    return [
        (_array(folder / f"{part}-images-idx3-ubyte"), _array(folder / f"{part}-labels-idx1-ubyte"))
        for part in ("train", "t10k")
    ]


def pixels(name: str, data_dir: Path | None = None) -> NDArray[np.uint8]:
    """Return all images of a data set, as `load` has them; raises as `read`."""
    if (content := dataset.named(name).content) is not None:
        return content.images
    return np.concatenate([images for images, _ in read(name, absolute(data_dir))])


def _array(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: two zeros, a type, the number of axes, their sizes, the values."""
    content = np.fromfile(path, np.uint8)
    values = 4 + 4 * int(content[3])
    return content[values:].reshape(content[4:values].view(">u4"))


def _describe(file: FileStatus) -> str:
    if file.md5_found is None:
        return f"{file.path} is {file.state}"
    return f"{file.path} is corrupt: MD5 {file.md5_found}, expected {file.md5_expected}"
