"""The images of a data set, all of them, in memory, once for all processes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_ops.data import idx
from mnist_ops.data.mapped import mapped
from mnist_ops.data.store import absolute
from mnist_ops.study import dataset
from mnist_ops.study.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Images:
    """A data set, its published train and test parts pooled, train first.

    Attributes:
        name: Name of the data set.
        images: uint8, (n, height, width): grey levels, 0 is background; of colours (n, 3, height,
            width).
        labels: int64, (n,): 0, 1, ...
        n_train: how many of them were published for training.
        digest: 16 hexadecimal digits that stand for the content of the files.
        class_names: The names of labels 0, 1, ...
        groups: int64, (n,): which images belong together; None for no such groups.
        split: indices of the images for training, validation and test; None where they are drawn.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    n_train: int
    digest: str
    class_names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    split: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None


def load(name: str, data_dir: Path | None = None) -> Images:
    """Verify the files of a data set and read them; once a process, then from memory.

    All callers get the same arrays: do not write into them.

    Args:
        name: Name of the data set.
        data_dir: The data directory, by default `default_data_dir()`.

    Raises:
        DataUnavailable: A file is missing or corrupt.
        InvalidInput: There is no data set of that name.
    """
    info = dataset.named(name)
    return _load(name, absolute(data_dir)) if info.content is None else _own(info)


@cache
def _load(name: str, root: Path) -> Images:
    info = dataset.named(name)
    parts = idx.read(name, root)
    return Images(
        name=name,
        images=mapped([images for images, _ in parts], f"{name}-{info.digest}"),
        labels=np.concatenate([labels for _, labels in parts]).astype(np.int64),
        n_train=len(parts[0][0]),
        digest=info.digest,
        class_names=info.class_names,
    )


@cache
def _own(info: Dataset) -> Images:
    assert info.content is not None
    content = info.content
    pixels = np.ascontiguousarray(content.images)
    return Images(
        name=info.name,
        images=mapped([pixels], f"{info.name}-{info.digest}"),
        labels=content.labels,
        n_train=len(pixels) if content.n_train is None else content.n_train,
        digest=info.digest,
        class_names=info.class_names,
        groups=content.groups,
        split=content.split,
    )
