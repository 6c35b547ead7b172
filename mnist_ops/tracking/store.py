"""Connect to a tracking store, and explain its failures in one line."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response
from sqlalchemy.exc import SQLAlchemyError

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import InvalidInput, TrackingUnavailable
from mnist_ops.tracking.client import CheckedClient
from mnist_ops.tracking.creation import create_store, make_postgresql_tables
from mnist_ops.tracking.database import (
    artifact_root,
    first_line,
    quieten,
    sqlite_path,
    sqlite_uri,
    without_password,
)
from mnist_ops.tracking.schema import Schema, schema_of

CONNECT_TIMEOUT_S = 5
# Exceptions of a store that fails after it was connected.
STORE_ERRORS = (MlflowException, SQLAlchemyError, requests.RequestException)
# Variable with the artifact root of databases that MLflow opens, instead of ./mlruns.
_ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
_HTTP = ("http://", "https://")
# MLflow's variables for servers with a certificate that no public authority signed.
_CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_INSECURE_TLS = "MLFLOW_TRACKING_INSECURE_TLS"


def default_uri() -> str:
    """Return MLflow's tracking URI, with an absolute path so that workers use the same file.

    Raises:
        InvalidInput: the path is not valid UTF-8, which a URI of a store must be.
    """
    try:
        # A variable that is set from a file may end with a newline.
        uri = mlflow.get_tracking_uri().strip()
        path = sqlite_path(uri)
        return uri if path is None else sqlite_uri(path)
    except UnicodeEncodeError:
        raise InvalidInput(
            f"MLflow cannot keep a store in a folder whose name is not UTF-8 ({Path.cwd()}): "
            "rename it, or set MLFLOW_TRACKING_URI to a store elsewhere"
        ) from None


def connect(uri: str, *, create: bool = True) -> MlflowClient:
    """Return a client of the store at `uri`, after checking its schema and a first request.

    Args:
        uri: tracking URI.
        create: whether to create a missing SQLite store.

    Raises:
        TrackingUnavailable: the store does not answer, is not MLflow's, or has another schema.
    """
    quieten()
    shown = without_password(uri)
    is_mlflow = True
    try:
        if uri.startswith(_HTTP):
            health = uri.rstrip("/") + "/health"
            answer = requests.get(health, timeout=CONNECT_TIMEOUT_S, verify=_verify())
            is_mlflow = answer.status_code == 200 and answer.text.strip() == "OK"
            _check_sign_in(uri)
        else:
            check_database(uri, create=create, artifact_root=artifact_root(Path.cwd()))
        with _artifacts_in(artifact_root(Path.cwd())):
            client = CheckedClient(uri)
        client.search_experiments(max_results=1)
    except requests.exceptions.SSLError as error:
        raise TrackingUnavailable(
            f"the tracking server at {shown} has a certificate that cannot be verified: set "
            f"{_CERTIFICATE} to the file of the authority that signed it ({first_line(error)})"
        ) from None
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
        # A proxy with a sign-in of its own may deny access to /health as well.
        refusal = _refusal(error, uri)
        if not is_mlflow and not (refusal and answer.status_code == 401):
            raise TrackingUnavailable(
                f"the program that answers at {shown} is not an MLflow server (its /health gives "
                f"{answer.status_code}): start one on another port, or set MLFLOW_TRACKING_URI to "
                "one that runs"
            ) from None
        raise TrackingUnavailable(
            refusal or f"the tracking store {shown} cannot be used: {first_line(error)}"
        ) from None
    return client


def check_database(uri: str, *, create: bool = True, artifact_root: str | None = None) -> None:
    """Check the SQLite file or PostgreSQL server of a store, and create its tables.

    MLflow itself would write its tables into any file, and retry for minutes after any error.

    Args:
        uri: of the store; other kinds of stores are not checked.
        create: whether to create missing tables.
        artifact_root: artifact location of the default experiment of a new SQLite store; with None
            the first program that opens the store creates that experiment.

    Raises:
        TrackingUnavailable: the store does not answer, denies access, or is not MLflow's.
        ImportError: its driver is not installed.
        SQLAlchemyError: SQLAlchemy cannot parse the URI.
    """
    if path := sqlite_path(uri):
        _check_sqlite(path, create=create)
        if create:
            create_store(path, artifact_root)
    if not uri.startswith("postgresql"):
        return
    engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        engine.connect().close()
        if create:
            make_postgresql_tables(engine)
    except sqlalchemy.exc.DBAPIError as error:
        # The driver's message, without SQLAlchemy's class names and link.
        raise TrackingUnavailable(
            f"the database {without_password(uri)} cannot be used: "
            f"{first_line(error.orig or error)}; check that it runs, its address, user and password"
        ) from None
    finally:
        engine.dispose()


def check_writable(uri: str) -> None:
    """Check that a SQLite store is writable; MLflow would retry for minutes.

    Raises:
        NotWritable: its file, the folder of the file or of its artifacts is not writable.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    # SQLite writes its journal beside the file, MLflow the artifacts.
    for written in (path.parent, path, path.parent / "mlruns"):
        atomic_files.check_writable(written, "set MLFLOW_TRACKING_URI to another store")


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Convert the exceptions of a failing store to `TrackingUnavailable` with one line."""
    try:
        yield
    except (*STORE_ERRORS, sqlite3.Error) as error:
        raise TrackingUnavailable(
            _refusal(error, uri)
            or f"the tracking store {without_password(uri)} failed: {first_line(error)}"
        ) from error


@contextmanager
def _artifacts_in(root: str) -> Iterator[None]:
    """Set the artifact root of the database stores that MLflow opens in the block."""
    before = os.environ.get(_ARTIFACT_ROOT)
    os.environ[_ARTIFACT_ROOT] = root
    try:
        yield
    finally:
        del os.environ[_ARTIFACT_ROOT]
        if before is not None:
            os.environ[_ARTIFACT_ROOT] = before


def _check_sign_in(uri: str) -> None:
    """Send one request with the credentials; MLflow itself would retry for minutes.

    Raises:
        MlflowException: the server denied access, or is not an MLflow server.
    """
    endpoint = "/api/2.0/mlflow/experiments/search"
    answer = http_request(
        get_default_host_creds(uri),
        endpoint,
        "GET",
        params={"max_results": 1},
        max_retries=0,
        timeout=CONNECT_TIMEOUT_S * 4,
        raise_on_status=False,
    )
    verify_rest_response(answer, endpoint)


def _refusal(error: Exception, uri: str) -> str | None:
    """Return a message if the server denied access; None for another error."""
    if not uri.startswith(_HTTP) or not isinstance(error, MlflowException):
        return None
    server = f"the tracking server at {without_password(uri)}"
    status, text = error.get_http_status_code(), str(error)
    # MLflow's basic authentication fails with 500 on a token.
    if status == 401 or (status == 500 and os.environ.get("MLFLOW_TRACKING_TOKEN")):
        if os.environ.get("MLFLOW_TRACKING_TOKEN"):
            return (
                f"{server} denied the token, which may have expired: set MLFLOW_TRACKING_TOKEN to "
                "a new one"
            )
        known = os.environ.get("MLFLOW_TRACKING_USERNAME") or urlsplit(uri).username
        problem = "denied the user or password: check" if known else "needs a sign-in: set"
        return f"{server} {problem} MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if status == 403 and "Host header" in text:
        return (
            f"{server} does not accept the host name {urlsplit(uri).hostname}: use one that it "
            "accepts, or add this one to its --allowed-hosts"
        )
    if status == 403:
        return f"{server} denies you this operation: ask its administrator for the permission"
    return None


def _verify() -> bool | str:
    """Return how to verify a server's certificate, as MLflow's own client does."""
    insecure = os.environ.get(_INSECURE_TLS, "").lower() in ("1", "true")
    return os.environ.get(_CERTIFICATE) or not insecure


def _check_sqlite(path: Path, *, create: bool) -> None:
    """Check that a file is a store of this MLflow, or can become one."""
    other = "or set MLFLOW_TRACKING_URI to another"
    try:
        schema = schema_of(sqlite_uri(path))
    except TrackingUnavailable as error:
        raise TrackingUnavailable(f"{error}; move the file away, {other}") from None
    absent = not path.exists()
    if not create and (absent or schema is Schema.HALF_MADE):
        why = "" if absent else ", but an incomplete one whose creation was interrupted"
        raise TrackingUnavailable(
            f"there is no tracking store at {path}{why}: run `mnist-ops run all --preset quick` "
            "first, or set MLFLOW_TRACKING_URI"
        )
    if schema is Schema.NONE and not absent:
        raise TrackingUnavailable(
            f"{path} is a database of another program, not an MLflow store: move it away, {other}"
        )
    if schema is Schema.OLDER:
        raise TrackingUnavailable(
            f"the tracking store {path} has an older schema than this MLflow: end all programs "
            "that use it, then upgrade it with `mnist-ops doctor --fix`, which keeps a backup"
        )
    if schema is Schema.NEWER:
        raise TrackingUnavailable(
            f"the tracking store {path} was written by a newer MLflow: `pip install --upgrade "
            f"mlflow`, {other}"
        )
