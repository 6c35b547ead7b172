"""Reach a tracking store: its address, whether it answers, and what it says when it fails."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops.errors import TrackingUnavailable

CONNECT_TIMEOUT_S = 5
# What a store raises that worked when it was connected to.
STORE_ERRORS = (MlflowException, SQLAlchemyError, requests.RequestException)
_SQLITE = "sqlite:///"


def default_uri() -> str:
    """MLflow's own tracking URI, a SQLite path made absolute so that workers see the same file."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        return _SQLITE + str(_sqlite_path(uri))
    return uri


def connect(uri: str, *, create: bool = True) -> MlflowClient:
    """A client of the store at `uri`, after its schema exists and it has answered once.

    Several processes that open a fresh SQLite store at once break its migration, so the one that
    starts the others connects first.

    Args:
        uri: tracking URI.
        create: whether a SQLite store that is not there yet is created.

    Raises:
        TrackingUnavailable: the store does not answer, is not MLflow's, or has another schema.
    """
    # What MLflow logs of an error, pages of SQL, it raises too, and that is told in one line.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = without_password(uri)
    try:
        if uri.startswith(_SQLITE):
            _check_sqlite(_sqlite_path(uri), create=create)
        elif uri.startswith(("http://", "https://")):
            requests.get(uri.rstrip("/") + "/health", timeout=CONNECT_TIMEOUT_S)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except requests.RequestException:
        raise TrackingUnavailable(
            f"the tracking server at {shown} does not answer: start it, or set "
            "MLFLOW_TRACKING_URI to one that runs"
        ) from None
    except ImportError as error:
        raise TrackingUnavailable(
            f"the tracking store {shown} needs the Python package {error.name}: install it"
        ) from None
    except (MlflowException, SQLAlchemyError, OSError, ValueError) as error:
        raise TrackingUnavailable(
            f"the tracking store {shown} cannot be used: {first_line(error)}"
        ) from None
    return client


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises while the store fails into one line."""
    try:
        yield
    except STORE_ERRORS as error:
        raise TrackingUnavailable(
            f"the tracking store {without_password(uri)} failed: {first_line(error)}"
        ) from error


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite store, absolute; None of any other store."""
    return _sqlite_path(uri) if uri.startswith(_SQLITE) else None


def without_password(uri: str) -> str:
    """`uri` with the password, if it has one, replaced by ``***``."""
    try:
        password = urlsplit(uri).password
    except ValueError:
        return "(a URI that cannot be read)"
    return uri.replace(f":{password}@", ":***@", 1) if password else uri


def first_line(error: Exception) -> str:
    """The part of a store's error that helps, of what may be a page of SQL."""
    text = str(error).strip()
    if "disk is full" in text or "No space left" in text:
        return "its disk is full; make room, and the same command goes on"
    return text.splitlines()[0] if text else type(error).__name__


def _check_sqlite(path: Path, *, create: bool) -> None:
    """Refuse a file that is not an MLflow store before MLflow writes its tables into it."""
    if not path.exists():
        if not create:
            raise TrackingUnavailable(
                f"there is no tracking store at {path}: run `mnist-ops run all --preset quick` "
                "first, or set MLFLOW_TRACKING_URI"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows}
    except sqlite3.Error as error:
        raise TrackingUnavailable(
            f"the tracking store {path} cannot be read: {error}; move the file away, or set "
            "MLFLOW_TRACKING_URI to another"
        ) from None
    if tables and not {"alembic_version", "experiments", "runs"} <= tables:
        raise TrackingUnavailable(
            f"{path} is a database of another program, not an MLflow store: move it away, or set "
            "MLFLOW_TRACKING_URI to another"
        )


def _sqlite_path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix(_SQLITE))).absolute()
