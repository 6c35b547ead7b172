"""Find folders of artifacts whose runs are in no store."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from mnist_ops.tracking.artifacts import local_path
from mnist_ops.tracking.database import open_sqlite
from mnist_ops.tracking.search import experiments

SET_ASIDE = "orphaned-artifacts"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def artifact_roots(client: MlflowClient, store: Path | None) -> list[Path]:
    """Return the folders on this machine that have a folder for each experiment's artifacts.

    A root beside another store belongs to that store, of which ours is then a copy.

    Args:
        client: of the store.
        store: its file; None where it is none.
    """
    found = {}
    for an_experiment in experiments(client, ViewType.ALL):
        folder = local_path(an_experiment.artifact_location)
        if folder is not None and folder.name == an_experiment.experiment_id:
            found[folder.parent] = folder.parent.is_dir()
    return sorted(root for root, is_here in found.items() if is_here and _is_ours(root, store))


def orphaned_artifacts(client: MlflowClient, store: Path | None) -> list[Path]:
    """Return the folders of runs that the store does not have, deleted ones included.

    Nor does a store beside it have them: several may keep their artifacts below one root.
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
            # What has a meta.yaml is a run of MLflow's older file store, which needs no database.
            if _RUN_ID.fullmatch(folder.name) and not (folder / "meta.yaml").exists():
                yield folder


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except MlflowException as error:
        # A run that the user may not see exists.
        return bool(error.error_code != "RESOURCE_DOES_NOT_EXIST")
    return True


def _runs_of(database: Path) -> set[str] | None:
    """Return the runs of an MLflow store in a file; None where it is something else."""
    try:
        with closing(open_sqlite(database)) as opened:
            return {run_id for (run_id,) in opened.execute("SELECT run_uuid FROM runs")}
    except sqlite3.Error:
        return None
