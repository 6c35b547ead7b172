"""Finished runs as one file, to move them between stores (docs/export-format.md).

The file is data alone: what is read from it is checked value by value before anyone gets it.
"""

from mnist_ops.tracking.exchange.archive import (
    FORMAT,
    VERSION,
    Archive,
    BadArchive,
    is_archive,
    write,
)
from mnist_ops.tracking.exchange.records import MAX_PARAM as MAX_REASON
from mnist_ops.tracking.exchange.records import (
    DatasetUse,
    Point,
    RunRecord,
    TestSet,
    portable_tag,
    portable_text,
)

__all__ = [
    "FORMAT",
    "MAX_REASON",
    "VERSION",
    "Archive",
    "BadArchive",
    "DatasetUse",
    "Point",
    "RunRecord",
    "TestSet",
    "is_archive",
    "portable_tag",
    "portable_text",
    "write",
]
