"""Check the port, packages, database and bucket before the server starts."""

import os
import socket
from urllib.parse import urlsplit

from mnist_ops import tracking
from mnist_ops.core import atomic_files
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.redaction import redacted
from mnist_ops.ops.server.access import auth_database
from mnist_ops.ops.server.settings import ServerSettings

_S3 = "s3://"


def check(settings: ServerSettings) -> None:
    """Check the port, the packages, the database and the bucket.

    Raises:
        TrackingUnavailable: the database does not answer.
        MnistOpsError: the port is taken, a package is missing, or the bucket cannot be used.
    """
    _check_port(settings)
    _check_packages(settings)
    with atomic_files.private_files():
        _check_database(settings)
    _check_bucket(settings.artifacts_destination)


def _check_port(settings: ServerSettings) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as free:
            # As uvicorn does, so that connections of a server that has just ended do not count.
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(address)
    except socket.gaierror:
        raise InvalidInput(f"--host {settings.host} is not an address of this machine") from None
    except OSError as error:
        raise MnistOpsError(
            f"cannot listen on {settings.host} port {settings.port}: "
            f"{error.strerror or error}; choose another with --port"
        ) from None


def _check_packages(settings: ServerSettings) -> None:
    if settings.auth:
        _need("flask_wtf", "--auth")
    if settings.artifacts_destination.startswith(_S3):
        _need("boto3", _S3)


def _need(module: str, what: str) -> None:
    try:
        __import__(module)
    except ImportError:
        raise MnistOpsError(
            f"{what} needs the Python package {module}: pip install 'mnist-ops[server]'"
        ) from None


def _check_database(settings: ServerSettings) -> None:
    tracking.check_database(settings.backend_store_uri)
    users = auth_database(settings)
    # Not for a SQLite file, which MLflow creates; and the tables of users are not those of runs.
    if settings.auth and not users.startswith("sqlite"):
        tracking.check_database(users, create=False)


def _check_bucket(destination: str) -> None:
    """Access the bucket once: MLflow itself would report an error at the first artifact only."""
    if not destination.startswith(_S3):
        return
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = urlsplit(destination).netloc
    options = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 1})
    try:
        store = boto3.client(
            "s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=options
        )
        store.head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise MnistOpsError(
            f"the bucket {bucket} cannot be used: {redacted(str(error))}; check its name, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and MLFLOW_S3_ENDPOINT_URL"
        ) from None
