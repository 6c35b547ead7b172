"""The only package that writes to or reads from MLflow.

Runs are written to journals on this machine (`journal`), which a thread uploads to the store
(`uploader`). Claims in the store (`claims`) decide which process computes a cell. A process has one
`Tracker` per store, which combines the three.

Runs are addressed by their ids through `MlflowClient`, never through MLflow's active run: the first
``start_run`` of a process would take over the run that ``mlflow run`` opened.
"""

from mnist_ops.tracking.checking import (
    Invalid,
    LeftOut,
    cell_of,
    first_lines,
    named,
    once,
    valid_cells,
)
from mnist_ops.tracking.claims import Claims, Entries
from mnist_ops.tracking.database import sqlite_path, sqlite_uri, unsynchronised, without_password
from mnist_ops.tracking.destination import experiment, opened_for_us
from mnist_ops.tracking.journal import JournalBusy, JournalGone
from mnist_ops.tracking.moved_artifacts import repoint_moved
from mnist_ops.tracking.process_id import ProcessId
from mnist_ops.tracking.queries import (
    counted_runs,
    ended_of,
    experiment_runs,
    failed,
    fingerprint,
    finished,
    finished_of,
    finished_runs,
    not_measured,
    specs_of,
)
from mnist_ops.tracking.reading import cell_runs, history, predictions
from mnist_ops.tracking.run_source import RunSource, StoredRuns
from mnist_ops.tracking.stale_runs import ended_among, find_stale_runs, recover_stale_runs
from mnist_ops.tracking.store import (
    CONNECT_TIMEOUT_S,
    STORE_ERRORS,
    check_database,
    check_writable,
    connect,
    default_uri,
    tracking_errors,
)
from mnist_ops.tracking.tracker import Address, Tracker, close_tracker, open_tracker, shared_tracker
from mnist_ops.tracking.writing import CellPlace, CellRun, Parent, ParentRun, open_parent

__all__ = [
    "CONNECT_TIMEOUT_S",
    "STORE_ERRORS",
    "Address",
    "CellPlace",
    "CellRun",
    "Claims",
    "Entries",
    "Invalid",
    "JournalBusy",
    "JournalGone",
    "LeftOut",
    "Parent",
    "ParentRun",
    "ProcessId",
    "RunSource",
    "StoredRuns",
    "Tracker",
    "cell_of",
    "cell_runs",
    "check_database",
    "check_writable",
    "close_tracker",
    "connect",
    "counted_runs",
    "default_uri",
    "ended_among",
    "ended_of",
    "experiment",
    "experiment_runs",
    "failed",
    "find_stale_runs",
    "fingerprint",
    "finished",
    "finished_of",
    "finished_runs",
    "first_lines",
    "history",
    "named",
    "not_measured",
    "once",
    "open_parent",
    "open_tracker",
    "opened_for_us",
    "predictions",
    "recover_stale_runs",
    "repoint_moved",
    "shared_tracker",
    "specs_of",
    "sqlite_path",
    "sqlite_uri",
    "tracking_errors",
    "unsynchronised",
    "valid_cells",
    "without_password",
]
