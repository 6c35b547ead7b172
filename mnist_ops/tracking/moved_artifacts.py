"""Find the artifacts of a SQLite store, also after its folder was moved or copied.

MLflow writes absolute paths into a store. If the last part of such a path exists beside the store,
the artifacts are read from there; commands that write update the paths in the store first.
Locations that the user chose elsewhere stay unchanged.
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
# Table, and its column with paths below an experiment's location.
_COLUMNS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Moved:
    """An experiment whose artifacts are beside the store, which has another location for them.

    Attributes:
        before: its artifact location in the store.
        after: its correct location.
        folder: the folder of `before`, absolute.
    """

    before: str
    after: str
    folder: Path


def local_path(location: str) -> Path | None:
    """Return the folder of an artifact location; None if it is not on this machine."""
    try:
        return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None
    except (MlflowException, ValueError):
        # A file: URI of another host, or not a URI.
        return None


def artifact_location(folder: Path) -> str:
    """Return the artifact location that MLflow reads as `folder`."""
    text = str(folder.absolute())
    # MLflow decodes plain paths, too.
    return text if local_path(text) == folder.absolute() else folder.absolute().as_uri()


def beside_store(client: MlflowClient, location: str, depth: int = RUN_DEPTH) -> Path | None:
    """Return the folder on this machine with the artifacts at `location` of a store.

    Args:
        client: of the store.
        location: the artifact URI of a run, or the location of a model.
        depth: number of the last parts of its path that MLflow chose, the root's name included.

    Returns:
        The folder beside the store if it exists, else the folder of `location`; None if the
        artifacts are not on this machine.
    """
    folder = local_path(location)
    store = sqlite_path(client.tracking_uri)
    if folder is None or store is None:
        return folder
    own = store.parent.joinpath(*folder.parts[-depth:])
    return own if own.is_dir() else folder


def moved(store: Path) -> list[Moved]:
    """Return the experiments whose artifacts are beside their SQLite store, but recorded elsewhere.

    Raises:
        sqlite3.Error: the store cannot be read.
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
    # One experiment with artifacts of its runs here shows that the root was moved or copied.
    roots = {folder.parent for _, folder, own, ids in elsewhere if _holds(own, ids)}
    return [
        Moved(location, artifact_location(own), folder)
        for location, folder, own, ids in elsewhere
        # MLflow reads this location as another folder than it recorded.
        if location == str(own)
        or _holds(own, ids)
        or (folder.parent in roots and not _holds(folder, ids))
        # Nothing was logged before the project's folder was moved.
        or (not folder.parent.parent.is_dir() and measured.isdisjoint(ids))
    ]


def repoint(store: Path, before: str, after: str) -> int:
    """Change the location of an experiment's artifacts in a SQLite store.

    Args:
        store: its file.
        before: the experiment's location now.
        after: its new location.

    Returns:
        The number of runs whose location changed.

    Raises:
        sqlite3.Error: the store cannot be written; it is unchanged.
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
    """Correct the artifact locations of a SQLite store whose folder was moved or copied.

    Raises:
        sqlite3.Error: the store cannot be read or written.
    """
    store = sqlite_path(uri)
    if store is None:
        return
    if found := moved(store):
        runs = sum(repoint(store, each.before, each.after) for each in found)
        log(
            f"the store was moved or copied from {found[0].folder.parent.parent}: the artifacts of "
            f"{runs} runs are now read from {store.parent}"
        )


def _holds(folder: Path, runs: set[str]) -> bool:
    """Return whether `folder` of an experiment has artifacts of some of `runs`."""
    return folder.is_dir() and any(path.name in runs for path in folder.iterdir())
