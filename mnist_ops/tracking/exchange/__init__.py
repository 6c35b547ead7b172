"""Move finished runs between stores through a file (docs/export-format.md).

`records` and `archive` read and write the file, and check every value of it. `exporting` fills it
from a store, `importing` writes its runs into one, `exported_runs` reads them without a store.
"""

from mnist_ops.tracking.exchange.archive import FORMAT, VERSION, BadArchive
from mnist_ops.tracking.exchange.exported_runs import ExportedRuns
from mnist_ops.tracking.exchange.exporting import Exported, export_runs
from mnist_ops.tracking.exchange.importing import Imported, import_runs

__all__ = [
    "FORMAT",
    "VERSION",
    "BadArchive",
    "Exported",
    "ExportedRuns",
    "Imported",
    "export_runs",
    "import_runs",
]
