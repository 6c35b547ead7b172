"""Data sets: got from somewhere, verified, pooled and split.

`ensure` makes the files present and intact, `status` says what lies where, `load` gives all images
as one resident tensor, `split` gives the indices of train, validation and test, and `split_of`
those of a spec. What data sets there are says `catalog`, which imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_ops.data.images import Images, load
    from mnist_ops.data.splits import Split, split, split_of
    from mnist_ops.data.store import DatasetStatus, FileStatus, default_data_dir, ensure, status

__all__ = [
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

_MODULES = {"Images": "images", "load": "images"} | dict.fromkeys(
    ("Split", "split", "split_of"), "splits"
)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the catalog is of use without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'store')}"), name)
