"""Address and open the database of a tracking store, and explain its errors."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

from mnist_ops.core.redaction import redacted

_SQLITE = "sqlite:///"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a SQLite store, absolute; None for any other store."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(sqlalchemy.make_url(uri).database or "").absolute()


def sqlite_uri(path: Path) -> str:
    """Return the tracking URI of the SQLite store at `path`."""
    plain = _SQLITE + str(path.absolute())
    if sqlite_path(plain) == path.absolute():
        return plain
    # Without slashes: MLflow creates the folder of the path before it decodes the path.
    return _SQLITE + quote(str(path.absolute()), safe="")


def artifact_root(folder: Path) -> str:
    """Return the artifact root of a store that is used in `folder`.

    It is a URI if that differs from the path, as MLflow decodes paths as if they were URIs, and
    quotes them wrongly in SQL.
    """
    root = folder.absolute() / "mlruns"
    return str(root) if root.as_uri() == f"file://{root}" else root.as_uri()


def open_sqlite(path: Path) -> sqlite3.Connection:
    """Open the existing SQLite file at `path`.

    The connection is not read-only: after a process was killed while writing, SQLite has to roll
    back before it can read.

    Raises:
        sqlite3.Error: the file does not exist, or cannot be opened.
    """
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=rw", uri=True)


@contextmanager
def unsynchronised() -> Iterator[None]:
    """Open SQLite connections in the block that do not wait for the disk.

    This is for temporary stores: a crash of the machine would destroy the store.
    """

    def relax(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


def without_password(uri: str) -> str:
    """Return `uri` with its password, if any, replaced by ``***``."""
    return redacted(uri)


def first_line(error: BaseException) -> str:
    """Return a store's error, which may be a page of SQL, as one line without secrets."""
    text = str(error).strip()
    if "readonly database" in text or "unable to open database file" in text:
        return "it cannot be written: grant yourself write permission for the file and its folder"
    if "disk is full" in text or "No space left" in text:
        return "its disk is full; make room, and the same command continues"
    if "Max retries exceeded" in text:
        return "it does not answer"
    return redacted(text.splitlines()[0]) if text else type(error).__name__


def quieten() -> None:
    """Silence logs of exceptions and migrations, and MLflow's progress bars and links."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic", "sqlalchemy.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
