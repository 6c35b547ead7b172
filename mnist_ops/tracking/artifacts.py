"""Find the artifacts of a SQLite store, also after its folder was moved or copied.

MLflow writes absolute paths into a store. Where the end of such a path exists beside the store, the
artifacts are read from there; commands that write first change the paths in the store. Locations
that the user chose elsewhere are left alone.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from mnist_ops.tracking.database import open_sqlite, sqlite_path

# <root>/<experiment>/<run>/artifacts, and <root>/<experiment>/models/<model>/artifacts.
RUN_DEPTH = 4
MODEL_DEPTH = 5
# Beside experiments: table -> columns that name artifacts below an experiment's location.
_COLUMNS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Moved:
    """An experiment whose artifacts lie beside the store, which names another place.

    Attributes:
        before: its artifact location in the store.
        after: what it should be.
        folder: what `before` means, absolute.
    """

    before: str
    after: str
    folder: Path


def local_path(location: str) -> Path | None:
    """The folder of artifacts that lie on this machine; None of others."""
    try:
        return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None
    except (MlflowException, ValueError):
        # A file: URI of another host, or no URI at all.
        return None


def artifact_location(folder: Path) -> str:
    """Return the artifact location that MLflow reads as `folder`."""
    text = str(folder.absolute())
    # MLflow decodes plain paths, too.
    return text if local_path(text) == folder.absolute() else folder.absolute().as_uri()


def beside_store(client: MlflowClient, location: str, depth: int = RUN_DEPTH) -> Path | None:
    """The folder on this machine that has the artifacts which a store names `location`.

    Args:
        client: of the store.
        location: the artifact URI of a run, or the location of a model.
        depth: how many parts of it come from MLflow, the root's name included.

    Returns:
        The folder beside the store where it is there, else the one that is named; None where the
        artifacts are not on this machine.
    """
    folder = local_path(location)
    store = sqlite_path(client.tracking_uri)
    if folder is None or store is None:
        return folder
    own = store.parent.joinpath(*folder.parts[-depth:])
    return own if own.is_dir() else folder


def moved(store: Path) -> list[Moved]:
    """The experiments of the SQLite store whose artifacts lie beside it, and which say otherwise.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(open_sqlite(store)) as database:
        found = database.execute("SELECT experiment_id, artifact_location FROM experiments")
        experiments = [(str(number), location) for number, location in found if location]
        runs: dict[str, set[str]] = {number: set() for number, _ in experiments}
        for run_id, number in database.execute("SELECT run_uuid, experiment_id FROM runs"):
            runs.setdefault(str(number), set()).add(run_id)
        measured = {run_id for (run_id,) in database.execute("SELECT run_uuid FROM latest_metrics")}
    elsewhere = []
    for number, location in experiments:
        folder = local_path(location)
        if folder is None or folder.name != number:
            continue
        own = store.parent / folder.parent.name / number
        if own != folder and own.resolve() != folder.resolve():
            elsewhere.append((location, folder, own, runs[number]))
    # One experiment with its runs here shows that a root was moved or copied.
    roots = {folder.parent for _, folder, own, ids in elsewhere if _holds(own, ids)}
    return [
        Moved(location, artifact_location(own), folder)
        for location, folder, own, ids in elsewhere
        # MLflow reads such a location as another folder than the one that it meant.
        if location == str(own)
        or _holds(own, ids)
        or (folder.parent in roots and not _holds(folder, ids))
        # Nothing was logged before the project's folder was moved.
        or (not folder.parent.parent.is_dir() and measured.isdisjoint(ids))
    ]


def repoint(store: Path, before: str, after: str) -> int:
    """Have a SQLite store look for an experiment's artifacts elsewhere; how many runs that are.

    Args:
        store: its file.
        before: the experiment's location as it is.
        after: its location from now on.

    Raises:
        sqlite3.Error: it cannot be written; nothing was changed.
    """
    with closing(open_sqlite(store)) as database, database:
        database.execute("PRAGMA busy_timeout = 20000")
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?",
            (after, before),
        )
        changed = 0
        for table, column in _COLUMNS:
            cursor = database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, f"{before}/"),
            )
            changed += cursor.rowcount if table == "runs" else 0
        return changed


def repoint_moved(uri: str, log: Callable[[str], None]) -> None:
    """Re-point a SQLite store whose folder was moved or copied, before anything is written.

    Raises:
        sqlite3.Error: it cannot be read or written.
    """
    store = sqlite_path(uri)
    if store is None:
        return
    if found := moved(store):
        runs = sum(repoint(store, each.before, each.after) for each in found)
        log(
            f"the artifacts of {runs} runs are looked for beside the store, in {store.parent}: "
            f"it was moved or copied from {found[0].folder.parent.parent}"
        )


def _holds(folder: Path, runs: set[str]) -> bool:
    """Return whether some of `runs` have their artifacts in an experiment's `folder`."""
    return folder.is_dir() and any(path.name in runs for path in folder.iterdir())
