"""Create or upgrade the tables of a store, completely or not at all.

MLflow creates the tables in the store's file, in a thousand steps over some seconds. It can use
neither an incomplete file nor one that two processes created at the same time.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil
import sqlalchemy
from filelock import FileLock, Timeout
from mlflow.store.db import utils
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.database import (
    first_line,
    open_sqlite,
    quieten,
    sqlite_path,
    sqlite_uri,
    unsynchronised,
)
from mnist_ops.tracking.schema import Schema, schema_of

# A program that creates tables writes all the time; after this long without a write it has ended.
QUIET_S = 3.0
# Longest pause of a program that still has the file open.
PATIENCE_S = 60.0
# Longest time of a process of this program for creating a store, on a busy machine.
_MAKING_S = 300.0
_POLL_S = 0.25
# Suffixes of SQLite's files beside the database.
_COMPANIONS = ("-journal", "-wal", "-shm")
# Key of the advisory lock, the same in all processes of this program.
_POSTGRESQL_LOCK = 6_641_170_217


def create_store(path: Path, artifact_root: str | None) -> None:
    """Create the store at `path` if there is none, or an incomplete one without runs.

    The store is created under another name and renamed, so that an interruption leaves a complete
    store or none. If another program is creating it, wait for that. An incomplete file is kept as
    ``<name>.half-made-<time>``.

    Args:
        path: of the SQLite file.
        artifact_root: artifact location of the default experiment, a path or URI; with None the
            first program that opens the store creates that experiment.

    Raises:
        TrackingUnavailable: the store cannot be written, or another program has it open but does
            not complete it.
    """
    # Resolve symbolic links, so that the file itself is replaced.
    path = path.resolve()
    quieten()
    lock = _beside(path, "lock")
    if schema_of(sqlite_uri(path)) is Schema.CURRENT and not lock.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            while not path.exists() or _await_others(path) is Schema.HALF_MADE:
                fresh = _make(path, artifact_root)
                _set_aside(path)
                if _put_in_place(fresh, path):
                    break
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingUnavailable(
            f"the tracking store {path} cannot be created: {first_line(error)}"
        ) from None


def upgrade(uri: str) -> Path:
    """Upgrade a SQLite store to the schema of this MLflow, as ``mlflow db upgrade`` does.

    A copy is upgraded, and replaces the store when it is complete.

    Returns:
        The path of the backup, which is the file as it was before.

    Raises:
        DiskFull: there is no room for the copy.
        TrackingUnavailable: MLflow cannot upgrade the store, or another process uses it; the store
            is unchanged.
    """
    path = sqlite_path(uri)
    assert path is not None, "other databases are backed up by their own means"
    path = path.resolve()
    quieten()
    if user := _user_of(path):
        raise TrackingUnavailable(f"{path} is in use by {user}: end it, and try again")
    atomic_files.check_room(path.parent, path.stat().st_size)
    kept = _other_name(path, "before-upgrade")
    with _alone(path):
        fresh = _beside(path, "new")
        try:
            with (
                closing(open_sqlite(path)) as source,
                closing(sqlite3.connect(fresh)) as target,
            ):
                source.backup(target)
            with _engine(fresh) as engine:
                utils._upgrade_db(engine)
        except Exception as error:
            # Each migration raises exceptions of its own.
            raise TrackingUnavailable(
                f"MLflow cannot upgrade {path} ({first_line(error)}): it is unchanged"
            ) from error
        _sync(fresh)
        _link(path, kept)
        fresh.replace(path)
        atomic_files.sync_folder(path.parent)
    return kept


def make_postgresql_tables(engine: sqlalchemy.Engine) -> None:
    """Create MLflow's tables in a PostgreSQL database that lacks some.

    PostgreSQL rolls back an interrupted migration. Simultaneous processes take turns by a lock that
    ends with the connection.
    """
    if utils._all_tables_exist(engine):
        return
    quieten()
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_POSTGRESQL_LOCK})"))
        if not utils._all_tables_exist(engine):
            utils._initialize_tables(engine)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock the creation and upgrade of the store at `path`, and remove temporary files."""
    lock = _beside(path, "lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock, timeout=_MAKING_S))
        except Timeout:
            raise TrackingUnavailable(
                f"another process has been creating the tracking store {path} for "
                f"{_MAKING_S:.0f} s, or is paused: end it, and run the same command again"
            ) from None
        _remove_new(path)
        try:
            yield
        finally:
            _remove_new(path)
        # A process that waits for the removed lock then finds a complete store.
        lock.unlink(missing_ok=True)


def _await_others(path: Path) -> Schema:
    """Wait until no other program creates the store at `path`, and return its schema."""
    seen, since = None, time.monotonic()
    while True:
        schema = schema_of(sqlite_uri(path))
        if schema is not Schema.HALF_MADE:
            return schema
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) != seen:
            seen, since = (state.st_size, state.st_mtime_ns), time.monotonic()
        quiet_s = time.monotonic() - since
        if max(quiet_s, time.time() - state.st_mtime) > QUIET_S:
            user = _user_of(path)
            if user is None:
                return schema
            if quiet_s > PATIENCE_S:
                raise TrackingUnavailable(
                    f"the tracking store {path} was begun by {user} and is incomplete: end it, "
                    "and run the same command again"
                )
        time.sleep(_POLL_S)


def _user_of(path: Path) -> str | None:
    """Return id and name of another process of this machine that has the file open, or None."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        # Processes of other users cannot be inspected, and some end meanwhile.
        with suppress(psutil.Error, OSError):
            if any(Path(file.path) == path for file in process.open_files()):
                return f"process {process.pid} ({process.name()})"
    return None


def _make(path: Path, artifact_root: str | None) -> Path:
    """Create a store without runs under a name that no other program opens; return its path."""
    fresh = _beside(path, "new")
    with unsynchronised(), _engine(fresh) as engine:
        utils._initialize_tables(engine)
    if artifact_root is not None:
        # Its constructor creates the default experiment.
        store = SqlAlchemyStore(sqlite_uri(fresh), artifact_root)
        store.engine.dispose()
    _sync(fresh)
    return fresh


@contextmanager
def _engine(path: Path) -> Iterator[sqlalchemy.Engine]:
    engine = utils.create_sqlalchemy_engine(sqlite_uri(path))
    try:
        yield engine
    finally:
        engine.dispose()


def _set_aside(path: Path) -> None:
    """Rename an incomplete store, its journals first: SQLite would apply them to the new file."""
    kept = _other_name(path, "half-made")
    for end in (*_COMPANIONS, ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(kept.with_name(kept.name + end))


def _put_in_place(fresh: Path, path: Path) -> bool:
    """Give `fresh` the name `path`; return False if another program has created `path`."""
    try:
        _link(fresh, path)
    except FileExistsError:
        return False
    atomic_files.sync_folder(path.parent)
    return True


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, which must be free."""
    try:
        new.hardlink_to(old)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links, for example of a USB stick.
        if new.exists():
            raise FileExistsError(new) from None
        old.rename(new)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_new(path: Path) -> None:
    fresh = _beside(path, "new")
    for end in ("", *_COMPANIONS):
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _other_name(path: Path, why: str) -> Path:
    return path.with_name(f"{path.name}.{why}-{datetime.now():%Y%m%d-%H%M%S}")
