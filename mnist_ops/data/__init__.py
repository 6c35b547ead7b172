"""MNIST and FashionMNIST: got from somewhere, verified, pooled and split.

`ensure` makes the files present and intact, `status` says what lies where, `load` gives all
70,000 images as one resident tensor, `split` gives the indices of train, validation and test, and
`split_of` those of a spec.
"""

from mnist_ops.data.catalog import DATASETS, DatasetInfo
from mnist_ops.data.images import Images, load
from mnist_ops.data.splits import Split, split, split_of
from mnist_ops.data.store import DatasetStatus, FileStatus, default_data_dir, ensure, status

__all__ = [
    "DATASETS",
    "DatasetInfo",
    "DatasetStatus",
    "FileStatus",
    "Images",
    "Split",
    "default_data_dir",
    "ensure",
    "load",
    "split",
    "split_of",
    "status",
]
