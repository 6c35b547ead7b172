"""Move finished runs between stores by way of one file (docs/export-format.md).

`records` and `archive` are the file, which is data alone: every value is checked before anyone gets
it. `exporting` fills it from a store, `importing` writes it into one.
"""

from mnist_ops.tracking.exchange.archive import FORMAT, VERSION, BadArchive
from mnist_ops.tracking.exchange.exporting import Exported, export_runs
from mnist_ops.tracking.exchange.importing import Imported, import_runs, store_of

__all__ = [
    "FORMAT",
    "VERSION",
    "BadArchive",
    "Exported",
    "Imported",
    "export_runs",
    "import_runs",
    "store_of",
]
