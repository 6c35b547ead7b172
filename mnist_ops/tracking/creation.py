"""Create or upgrade the tables of a store, whole or not at all.

MLflow creates them in the store's own file in some seconds and a thousand steps, and can use
neither what an interruption leaves nor what two processes create together.
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

# A program that makes its tables writes all the time: after this long without, it has ended.
QUIET_S = 3.0
# How long a program that has the file open may pause in that.
PATIENCE_S = 60.0
# How long one that makes a store as we do may take, on a busy machine.
_MAKING_S = 300.0
_POLL_S = 0.25
# What SQLite keeps beside a file while it is written.
_COMPANIONS = ("-journal", "-wal", "-shm")
# Any number that is the same for all who make a store.
_POSTGRESQL_LOCK = 6_641_170_217


def create_store(path: Path, artifact_root: str | None) -> None:
    """Have a whole store at `path` where there is none, or a half-made one that nobody has used.

    It is made under another name and renamed, so that whatever ends this process leaves a whole
    store or none. Where another program is making it, this waits for that. A half-made file stays
    beside as ``<name>.half-made-<time>``.

    Args:
        path: of the SQLite file.
        artifact_root: where the default experiment has its artifacts, a path or URI; with None the
            experiment is left to whoever opens the store first.

    Raises:
        TrackingUnavailable: it cannot be written, or another program has it open and pauses.
    """
    # Behind a link, so that the new file takes the place of the file.
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
            f"the tracking store {path} cannot be made: {first_line(error)}"
        ) from None


def upgrade(uri: str) -> Path:
    """Bring a SQLite store to the schema of this MLflow, as its own ``mlflow db upgrade`` does.

    A copy is upgraded and takes the store's name when it is whole.

    Returns:
        The file as it was, under another name.

    Raises:
        DiskFull: there is no room for the copy.
        TrackingUnavailable: MLflow cannot upgrade it, or another process uses it; it is as it was.
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
            # What a migration raises depends on its step.
            raise TrackingUnavailable(
                f"MLflow cannot upgrade {path} ({first_line(error)}): it is left as it was"
            ) from error
        _sync(fresh)
        _link(path, kept)
        fresh.replace(path)
        atomic_files.sync_folder(path.parent)
    return kept


def make_postgresql_tables(engine: sqlalchemy.Engine) -> None:
    """Have MLflow's tables in a PostgreSQL database that has none or an interruption's.

    What each migration does there is undone when it is interrupted. Processes that begin at once
    take turns, by a lock that ends with the connection.
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
    """Be the only one that makes or upgrades the store at `path`; leave nothing beside it."""
    lock = _beside(path, "lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock, timeout=_MAKING_S))
        except Timeout:
            raise TrackingUnavailable(
                f"another process has been making the tracking store {path} for {_MAKING_S:.0f} s, "
                "or is paused: end it, and the same command goes on"
            ) from None
        _remove_new(path)
        try:
            yield
        finally:
            _remove_new(path)
        # One who waits for the removed lock finds a whole store, and has nothing to make.
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
                    f"the tracking store {path} was begun by {user} and is not whole: end it, "
                    "and the same command goes on"
                )
        time.sleep(_POLL_S)


def _user_of(path: Path) -> str | None:
    """Return the id and name of another process here that has the file open; None without one."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        # Those of other users cannot be looked into, and some end meanwhile.
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
        # Its constructor makes the default experiment; a second one finds what the first made.
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
    """Rename what is left of a store, its companions first: SQLite would apply them to another."""
    kept = _other_name(path, "half-made")
    for end in (*_COMPANIONS, ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(kept.with_name(kept.name + end))


def _put_in_place(fresh: Path, path: Path) -> bool:
    """Give `fresh` the name `path`; return False where another program has made `path`."""
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
        # A file system without such links, of a USB stick for example.
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
