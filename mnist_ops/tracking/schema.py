"""Compare the schema of a database store with that of this MLflow.

MLflow's client refuses any other schema, so this reads the database directly.
"""

import sqlite3
from contextlib import closing
from enum import Enum, auto
from pathlib import Path

import sqlalchemy
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db import utils
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.dbmodels.initial_models import Base as FirstBase
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking.database import first_line, open_sqlite, sqlite_path, without_password

# Prefix of the copy of a table during a migration.
_COPIED = "_alembic_tmp_"
# Tables that have rows in an unused store, and the rows that MLflow did not write.
_WRITTEN_BY_MLFLOW = {
    "alembic_version": "",
    "workspaces": "WHERE name <> 'default'",
    "experiments": "WHERE experiment_id <> 0",
}


class Schema(Enum):
    """A store's schema, compared with that of this MLflow."""

    CURRENT = auto()
    OLDER = auto()
    NEWER = auto()
    # A SQLite file without runs in which MLflow did not complete its tables.
    HALF_MADE = auto()
    # Unknown: a server, a missing file, or a file that is not a store.
    NONE = auto()


def schema_of(uri: str) -> Schema:
    """Return the schema of the store at `uri`, without writing to it.

    Raises:
        TrackingUnavailable: the database cannot be read.
    """
    if "://" not in uri or uri.startswith(("http://", "https://", "databricks", "file:")):
        return Schema.NONE
    try:
        path = sqlite_path(uri)
        return _of_server(uri) if path is None else _of_file(path)
    except (sqlite3.Error, SQLAlchemyError, ImportError) as error:
        raise TrackingUnavailable(
            f"the tracking store {without_password(uri)} cannot be read: {first_line(error)}"
        ) from None


def _of_server(uri: str) -> Schema:
    engine = sqlalchemy.create_engine(uri)
    try:
        return _of_revision(utils._get_schema_version(engine))
    finally:
        engine.dispose()


def _of_file(path: Path) -> Schema:
    if not path.exists():
        return Schema.NONE
    with closing(open_sqlite(path)) as database:
        # One transaction, as another program may create tables meanwhile.
        database.execute("BEGIN")
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in rows if not name.startswith("sqlite_")}
        of_mlflow = {"alembic_version", *FirstBase.metadata.tables, *Base.metadata.tables}
        row = None
        if "alembic_version" in tables:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        found = _of_revision(str(row[0]) if row else None)
        if found is Schema.CURRENT and tables >= Base.metadata.tables.keys():
            return found
        if found is Schema.NEWER:
            return found
        ours = {name for name in tables if name in of_mlflow or name.startswith(_COPIED)}
        if tables == ours and not any(_is_used(database, name) for name in tables):
            return Schema.HALF_MADE
        return Schema.OLDER if {"experiments", "runs"} <= tables else Schema.NONE


def _is_used(database: sqlite3.Connection, table: str) -> bool:
    """Return whether a table has rows that MLflow did not write by itself."""
    if table == "alembic_version":
        return False
    others = _WRITTEN_BY_MLFLOW.get(table.removeprefix(_COPIED), "")
    return database.execute(f'SELECT 1 FROM "{table}" {others} LIMIT 1').fetchone() is not None


def _of_revision(revision: str | None) -> Schema:
    if revision is None:
        return Schema.NONE
    known = ScriptDirectory.from_config(utils._get_alembic_config(""))
    if revision in known.get_heads():
        return Schema.CURRENT
    try:
        known.get_revision(revision)
    except CommandError:
        return Schema.NEWER
    return Schema.OLDER
