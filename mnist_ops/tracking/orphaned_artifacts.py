"""Find folders of artifacts whose runs are not in a store."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from mnist_ops.tracking.database import open_sqlite
from mnist_ops.tracking.moved_artifacts import local_path
from mnist_ops.tracking.search import experiments

SET_ASIDE = "orphaned-artifacts"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def artifact_roots(client: MlflowClient, store: Path | None) -> list[Path]:
    """Return the artifact roots of a store that are on this machine.

    A root beside another store belongs to that store; this one is then a copy of it.

    Args:
        client: of the store.
        store: its file; None if it is not a file.
    """
    found = {}
    for an_experiment in experiments(client, ViewType.ALL):
        folder = local_path(an_experiment.artifact_location)
        if folder is not None and folder.name == an_experiment.experiment_id:
            found[folder.parent] = folder.parent.is_dir()
    return sorted(root for root, is_here in found.items() if is_here and _is_ours(root, store))


def orphaned_artifacts(client: MlflowClient, store: Path | None) -> list[Path]:
    """Return the folders of runs that neither the store nor a store beside it has.

    Deleted runs count as present. Several stores may share an artifact root.
    """
    orphans = []
    for root in artifact_roots(client, store):
        folders = [folder for folder in _run_folders(root) if not _exists(client, folder.name)]
        others: set[str] = set()
        for database in root.parent.glob("*.db") if folders else ():
            others |= _runs_of(database) or set()
        orphans += [folder for folder in folders if folder.name not in others]
    return orphans


def _is_ours(root: Path, store: Path | None) -> bool:
    beside = [other for other in root.parent.glob("*.db") if _runs_of(other) is not None]
    return not beside or (store is not None and store.parent == root.parent)


def _run_folders(root: Path) -> Iterator[Path]:
    for experiment in sorted(root.iterdir()):
        if experiment.name == SET_ASIDE or not experiment.is_dir():
            continue
        for folder in sorted(experiment.iterdir()):
            # A folder with a meta.yaml is a run of MLflow's file store, which has no database.
            if _RUN_ID.fullmatch(folder.name) and not (folder / "meta.yaml").exists():
                yield folder


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except MlflowException as error:
        # Such as a missing permission: the run exists.
        return bool(error.error_code != "RESOURCE_DOES_NOT_EXIST")
    return True


def _runs_of(database: Path) -> set[str] | None:
    """Return the ids of the runs of a SQLite store; None if the file is not an MLflow store."""
    try:
        with closing(open_sqlite(database)) as opened:
            return {run_id for (run_id,) in opened.execute("SELECT run_uuid FROM runs")}
    except sqlite3.Error:
        return None
