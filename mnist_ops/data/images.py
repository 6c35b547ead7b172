"""The images of a data set, all of them, in memory, once for all processes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torchvision.datasets

from mnist_ops.core.errors import DataUnavailable
from mnist_ops.data.mapped import mapped
from mnist_ops.data.store import FileStatus, absolute, status
from mnist_ops.study import dataset


@dataclass(frozen=True, eq=False)
class Images:
    """A data set, its published train and test parts pooled, train first.

    Attributes:
        name: Name of the data set.
        images: uint8, (n, height, width): grey levels, 0 is background.
        labels: int64, (n,): 0, 1, ...
        n_train: how many of them were published for training.
        digest: 16 hexadecimal digits that stand for the content of the files.
        class_names: The names of labels 0, 1, ...
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    n_train: int
    digest: str
    class_names: tuple[str, ...]


def load(name: str, data_dir: Path | None = None) -> Images:
    """Verify the files of a data set and read them; once a process, then from memory.

    All callers get the same tensors: do not write into them.

    Args:
        name: Name of the data set.
        data_dir: The data directory, by default `default_data_dir()`.

    Raises:
        DataUnavailable: A file is missing or corrupt.
        InvalidInput: There is no data set of that name.
    """
    return _load(name, absolute(data_dir))


@cache
def _load(name: str, root: Path) -> Images:
    info = dataset.named(name)
    found = status(name, root)
    if not found.intact:
        bad = "; ".join(_describe(file) for file in found.files if file.state != "intact")
        raise DataUnavailable(f"{name}: {bad} (`mnist-ops data` fetches it)")
    parts = [_reader(name)(root, train=train) for train in (True, False)]
    return Images(
        name=name,
        images=mapped([part.data for part in parts], f"{name}-{info.digest}"),
        labels=torch.cat([part.targets for part in parts]),
        n_train=len(parts[0].data),
        digest=info.digest,
        class_names=info.class_names,
    )


def _describe(file: FileStatus) -> str:
    if file.md5_found is None:
        return f"{file.path} is {file.state}"
    return f"{file.path} is corrupt: MD5 {file.md5_found}, expected {file.md5_expected}"


def _reader(name: str) -> type[torchvision.datasets.MNIST]:
    # torchvision prefers the .pt files of its old layout if they lie beside: not verified ones.
    legacy = {"_check_legacy_exist": lambda self: False}
    return type(name, (getattr(torchvision.datasets, name),), legacy)
