"""The only package that writes to or reads from MLflow.

Runs are addressed by explicit ids through `MlflowClient`, never through MLflow's active run: the
first ``start_run`` of a process would take over the run that ``mlflow run`` opened.
"""

from mnist_ops.tracking.moving import (
    counted_runs,
    digest_of,
    drop_doubles,
    fingerprint,
    finished_cells,
    import_parent,
    note_imported_reasons,
    read_record,
    unfinished_imports,
    write_record,
)
from mnist_ops.tracking.reading import (
    Predictions,
    cell_runs,
    finished,
    history,
    not_measured,
    predictions,
)
from mnist_ops.tracking.store import (
    CONNECT_TIMEOUT_S,
    check_database,
    connect,
    default_uri,
    tracking_errors,
    without_password,
)
from mnist_ops.tracking.writing import (
    CellRun,
    Parent,
    close_parent,
    experiment,
    note_not_measured,
    open_parent,
)

__all__ = [
    "CONNECT_TIMEOUT_S",
    "CellRun",
    "Parent",
    "Predictions",
    "cell_runs",
    "check_database",
    "close_parent",
    "connect",
    "counted_runs",
    "default_uri",
    "digest_of",
    "drop_doubles",
    "experiment",
    "fingerprint",
    "finished",
    "finished_cells",
    "history",
    "import_parent",
    "not_measured",
    "note_imported_reasons",
    "note_not_measured",
    "open_parent",
    "predictions",
    "read_record",
    "tracking_errors",
    "unfinished_imports",
    "without_password",
    "write_record",
]
