"""Whether a database store has the schema of this MLflow, and how an older one gets it.

MLflow itself refuses any other schema, so this looks past its client, and only reads.
"""

import os
import sqlite3
from contextlib import closing, redirect_stderr
from datetime import datetime
from enum import Enum, auto
from pathlib import Path

import sqlalchemy
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow import db
from mlflow.store.db import utils
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops import durable
from mnist_ops.errors import TrackingUnavailable
from mnist_ops.tracking.store import first_line, open_sqlite, sqlite_path, without_password


class Schema(Enum):
    """A store's schema, against the one that this MLflow reads and writes."""

    CURRENT = auto()
    OLDER = auto()
    NEWER = auto()
    # A server keeps its own, and a file that is not there or is no store has none.
    NONE = auto()


def schema_of(uri: str) -> Schema:
    """The schema of the store at `uri`, which is left as it is.

    Raises:
        TrackingUnavailable: the database cannot be read.
    """
    if "://" not in uri or uri.startswith(("http://", "https://", "databricks", "file:")):
        return Schema.NONE
    try:
        found = _revision(uri)
    except (sqlite3.Error, SQLAlchemyError, ImportError) as error:
        raise TrackingUnavailable(
            f"the tracking store {without_password(uri)} cannot be read: {first_line(error)}"
        ) from None
    if found is None:
        return Schema.NONE
    known = ScriptDirectory.from_config(utils._get_alembic_config(""))
    if found in known.get_heads():
        return Schema.CURRENT
    try:
        known.get_revision(found)
    except CommandError:
        return Schema.NEWER
    return Schema.OLDER


def upgrade(uri: str) -> Path:
    """Bring a SQLite store to the schema of this MLflow, with MLflow's own command.

    Returns:
        A copy of the file as it was.

    Raises:
        DiskFull: there is no room for the copy.
        TrackingUnavailable: MLflow cannot upgrade it; the copy is named.
    """
    path = sqlite_path(uri)
    assert path is not None, "other databases are backed up by their own means"
    durable.check_room(path.parent, path.stat().st_size)
    copy = path.with_name(f"{path.name}.before-upgrade-{datetime.now():%Y%m%d-%H%M%S}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    try:
        # Alembic tells each of its steps.
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            command = db.upgrade.callback
            assert command is not None
            command(uri)
    except Exception as error:
        # What a migration raises depends on its step; the copy is whole whatever it was.
        raise TrackingUnavailable(
            f"MLflow cannot upgrade {path} ({first_line(error)}): it is as it was in {copy}"
        ) from error
    return copy


def _revision(uri: str) -> str | None:
    path = sqlite_path(uri)
    if path is None:
        engine = sqlalchemy.create_engine(uri)
        try:
            return utils._get_schema_version(engine)
        finally:
            engine.dispose()
    if not path.exists():
        return None
    with closing(open_sqlite(path)) as database:
        tables = {n for (n,) in database.execute("SELECT name FROM sqlite_master")}
        if not {"alembic_version", "experiments", "runs"} <= tables:
            return None
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None
