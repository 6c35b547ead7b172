"""Data sets: got from somewhere, verified, pooled and split.

`ensure` makes the files present and intact, `status` says what lies where, `pixels` reads some
images, and `load` holds them as one resident array. `split` gives the indices of train, validation
and test, and `split_of` those of a spec. What data sets there are says `catalog`. Each is imported
when it is first used: splits need scikit-learn.
"""

from typing import TYPE_CHECKING

from mnist_ops.core import lazy

if TYPE_CHECKING:
    from mnist_ops.data.idx import pixels
    from mnist_ops.data.images import Images, load
    from mnist_ops.data.own import folder, npz, torchvision_set
    from mnist_ops.data.splits import Split, split, split_of
    from mnist_ops.data.store import DatasetStatus, FileStatus, default_data_dir, ensure, status

__all__ = [
    "DatasetStatus",
    "FileStatus",
    "Images",
    "Split",
    "default_data_dir",
    "ensure",
    "folder",
    "load",
    "npz",
    "pixels",
    "split",
    "split_of",
    "status",
    "torchvision_set",
]

__getattr__ = lazy.attributes(
    __name__,
    dict.fromkeys(__all__, "store")
    | {"pixels": "idx", "Images": "images", "load": "images"}
    | dict.fromkeys(("Split", "split", "split_of"), "splits")
    | dict.fromkeys(("folder", "npz", "torchvision_set"), "own"),
)
