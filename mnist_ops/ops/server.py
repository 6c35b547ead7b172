"""Start MLflow's tracking server with safe settings, and stop it cleanly.

Nothing secret is on its command line, where every user of the machine could read it: addresses with
passwords, and passwords, go by the environment or by a file that only its owner reads.
"""

import ipaddress
import os
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from mnist_ops import tracking
from mnist_ops.core import atomic_files
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.redaction import redacted

# What someone who is signed in may do with the runs of others: add to their experiments, so that a
# team shares one grid, but delete nothing.
DEFAULT_PERMISSION = "EDIT"
# A password is checked with a slow hash at every request: remembering the answer for a minute
# makes writing several times faster, and a changed password counts at once all the same.
_AUTH_CACHE_S = 60
_ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
_SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
_STOP_LIMIT_S = 10
_START_LIMIT_S = 180
_S3 = "s3://"

Log = Callable[[str], None]


@dataclass(frozen=True)
class ServerSettings:
    """How the server is started.

    Attributes:
        backend_store_uri: where runs are kept: SQLite, PostgreSQL, or what else MLflow takes.
        artifacts_destination: folder or ``s3://BUCKET/PATH`` of the artifacts; clients reach it
            through the server.
        host: address to listen on.
        port: 1 to 65535.
        auth: ask every client for a user and a password.
        auth_database_uri: where users are kept; None is the backend store's database, or a file
            beside it where that is SQLite.
        admin_password: of the user ``admin``, read when there is none yet.
        allowed_hosts: names that clients reach the server under; names of the loopback device are
            always allowed there.
        cors_allowed_origins: web pages of other origins that may write through a browser.
        tls_certificate: PEM file; with `tls_key` the server speaks TLS itself.
        tls_key: PEM file.
        behind_tls_proxy: a proxy in front of the server ends TLS.

    Raises:
        InvalidInput: they do not fit together, or would let in whom nobody invited.
    """

    backend_store_uri: str
    artifacts_destination: str
    host: str = "127.0.0.1"
    port: int = 5000
    auth: bool = False
    auth_database_uri: str | None = None
    admin_password: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors_allowed_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidInput("--tls-cert and --tls-key go together: give both")
        if "*" in self.allowed_hosts or "*" in self.cors_allowed_origins:
            raise InvalidInput("* would let every web page in: name the hosts and origins")
        if not self.loopback:
            self._check_public()
        if self.auth and not self.admin_password:
            raise InvalidInput(
                f"--auth needs a password for the user admin: set {_ADMIN_PASSWORD}, or name its "
                "file with --admin-password-file"
            )

    def _check_public(self) -> None:
        public = f"listening on {self.host} lets the network in"
        if not self.auth:
            raise InvalidInput(f"{public}: add --auth, so that clients sign in")
        if not self.tls_certificate and not self.behind_tls_proxy:
            raise InvalidInput(
                f"{public}, and without TLS passwords would cross it readable: add --tls-cert and "
                "--tls-key, or --behind-tls-proxy where a proxy in front ends TLS"
            )
        if not self.allowed_hosts:
            raise InvalidInput(f"{public}: name with --allowed-hosts what clients call this server")

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def uri(self) -> str:
        """What clients on this machine set as MLFLOW_TRACKING_URI."""
        scheme = "https" if self.tls_certificate else "http"
        host = self.host
        if not self.loopback:
            host = self.allowed_hosts[0].split(":")[0]
        elif ":" in host:
            host = f"[{host}]"
        return f"{scheme}://{host}:{self.port}"


def serve(settings: ServerSettings, ready: Callable[[str], None], log: Log) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Args:
        settings: how.
        ready: gets the server's URI once it answers.
        log: gets the server's own log, a line at a time, without secrets.

    Raises:
        TrackingUnavailable: the database does not answer.
        MnistOpsError: the port is taken, the bucket cannot be used, a package is missing, or the
            server ended by itself.
    """
    _check_port(settings)
    _check_packages(settings)
    with atomic_files.private_files():
        _check_database(settings)
    _check_bucket(settings.artifacts_destination)
    restrict_access(settings)
    with (
        atomic_files.private_files(),
        _auth_config(settings) as config,
        _terminable() as stopped,
    ):
        environment = server_environment(settings, config)
        process = subprocess.Popen(
            server_command(settings),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Of its own group: Ctrl-C reaches us alone, and stopping it reaches its children.
            start_new_session=True,
        )
        output = _Output(process, log)
        try:
            if _wait_until_ready(settings, process, stopped):
                ready(settings.uri)
                while process.poll() is None and not stopped.wait(0.2):
                    pass
            if not stopped.is_set():
                raise MnistOpsError(f"the server ended by itself: {output.reason()}")
        finally:
            _stop(process)
            output.close()


def server_command(settings: ServerSettings) -> list[str]:
    """Return the command line of the server; it has no password."""
    uvicorn = ["--no-access-log", "--http", "mnist_ops.ops.own_origin:OwnOriginProtocol"]
    if settings.tls_certificate and settings.tls_key:
        uvicorn += ["--ssl-certfile", str(settings.tls_certificate)]
        uvicorn += ["--ssl-keyfile", str(settings.tls_key)]
    if settings.behind_tls_proxy:
        uvicorn += ["--proxy-headers"]
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", settings.host, "--port", str(settings.port)]
    # More workers answer several times slower: their sockets have no TCP_NODELAY.
    command += ["--workers", "1"]
    command += ["--allowed-hosts", ",".join(_hosts(settings))]
    command += ["--cors-allowed-origins", ",".join(_origins(settings))]
    command += ["--uvicorn-opts", shlex.join(uvicorn)]
    return command + (["--app-name", "basic-auth"] if settings.auth else [])


def _hosts(settings: ServerSettings) -> list[str]:
    names = list(settings.allowed_hosts)
    if settings.loopback:
        names += ["localhost", "127.0.0.1", "[::1]"]
    # A client's Host header has the port unless it is the scheme's own.
    with_port = [f"{name}:{settings.port}" for name in names if not _has_port(name)]
    return list(dict.fromkeys([*names, *with_port]))


def _has_port(name: str) -> bool:
    return name.rpartition(":")[2].isdigit() and not name.endswith("]")


def _origins(settings: ServerSettings) -> list[str]:
    own = f"{urlsplit(settings.uri).scheme}://"
    if settings.behind_tls_proxy:
        own = "https://"
    return [*settings.cors_allowed_origins, *(own + name for name in _hosts(settings))]


def server_environment(settings: ServerSettings, auth_config: Path | None) -> dict[str, str]:
    """Return the environment of the server, `auth_config` being the file of its sign-in."""
    # Nothing of the caller's may undo what is decided here.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")
        and not name.startswith(("MLFLOW_SERVER_", "MLFLOW_AUTH_"))
        and not name.endswith(("_OPTS", "_STATIC_PREFIX"))
    }
    return kept | {
        "MLFLOW_BACKEND_STORE_URI": settings.backend_store_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts_destination,
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        # Jobs of the GenAI part, which runs code and starts processes of its own.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
        **(
            {
                "MLFLOW_AUTH_CONFIG_PATH": str(auth_config),
                _SECRET_KEY: os.environ.get(_SECRET_KEY) or secrets.token_hex(32),
            }
            if auth_config
            else {}
        ),
    }


def restrict_access(settings: ServerSettings) -> None:
    """Take from others what they could read past the server: passwords' hashes, guarded runs."""
    stores = [_auth_database(settings)]
    guarded = []
    if settings.auth:
        stores.append(settings.backend_store_uri)
        guarded.append(Path(settings.artifacts_destination))
    for path in (*filter(None, map(tracking.sqlite_path, stores)), *guarded):
        atomic_files.tighten(path)


@contextmanager
def _auth_config(settings: ServerSettings) -> Iterator[Path | None]:
    """MLflow's file of sign-in settings, which nobody else can read, while the block runs."""
    if not settings.auth:
        yield None
        return
    # Interpolation would take a % in a password for its own.
    config = ConfigParser(interpolation=None)
    config["mlflow"] = _escaped(
        {
            "default_permission": DEFAULT_PERMISSION,
            "database_uri": _auth_database(settings),
            "admin_username": "admin",
            "admin_password": settings.admin_password or "",
            "authorization_function": "mnist_ops.ops.auth:authenticate",
            "auth_cache_ttl_seconds": str(_AUTH_CACHE_S),
        }
    )
    # mkdtemp() makes a folder that only its owner can enter.
    with tempfile.TemporaryDirectory(prefix="mnist-ops-server-") as folder:
        path = Path(folder, "basic_auth.ini")
        with path.open("w", encoding="utf-8") as file:
            config.write(file)
        yield path


def _escaped(values: Mapping[str, str]) -> dict[str, str]:
    """As MLflow's reader, which interpolates, will get them back."""
    return {name: value.replace("%", "%%") for name, value in values.items()}


def _auth_database(settings: ServerSettings) -> str:
    if settings.auth_database_uri:
        return settings.auth_database_uri
    backend = settings.backend_store_uri
    # SQLite takes one writer at a time: signing in should not wait for runs being written.
    path = tracking.sqlite_path(backend)
    return backend if path is None else tracking.sqlite_uri(path.with_name("basic_auth.db"))


def _check_port(settings: ServerSettings) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as free:
            # As uvicorn does: connections of a server that just ended do not count.
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(address)
    except socket.gaierror:
        raise InvalidInput(f"--host {settings.host} is no address of this machine") from None
    except OSError as error:
        raise MnistOpsError(
            f"cannot listen on {settings.host} port {settings.port}: "
            f"{error.strerror or error}; name another with --port"
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
    users = _auth_database(settings)
    # A file of users is none of MLflow's runs, and is made where there is none.
    if settings.auth and not users.startswith("sqlite"):
        tracking.check_database(users, create=False)


def _check_bucket(destination: str) -> None:
    """Ask for the bucket once: MLflow would tell of a wrong one at the first artifact only."""
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


def _wait_until_ready(
    settings: ServerSettings, process: "subprocess.Popen[str]", stopped: threading.Event
) -> bool:
    """Whether the server answers; False where it ended, or was told to stop, before."""
    deadline = time.monotonic() + _START_LIMIT_S
    while process.poll() is None and not stopped.wait(0.2):
        if _answers(settings):
            return True
        if time.monotonic() > deadline:
            raise MnistOpsError(f"the server did not answer within {_START_LIMIT_S} s")
    return False


def _answers(settings: ServerSettings) -> bool:
    host = settings.host if settings.loopback else "127.0.0.1"
    scheme = urlsplit(settings.uri).scheme
    host = f"[{host}]" if ":" in host else host
    # Our own process on our own port: its certificate is of the name that others call it by.
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(f"{scheme}://{host}:{settings.port}/health", timeout=2, context=unverified):
            return True
    except (URLError, OSError):
        return False


@contextmanager
def _terminable() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set while the block runs."""
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(process: "subprocess.Popen[str]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            continue


class _Output:
    """Passes a process's output on, and keeps its end to say why it ended."""

    def __init__(self, process: "subprocess.Popen[str]", log: Log):
        self._process = process
        self._log = log
        self._last: deque[str] = deque(maxlen=200)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def reason(self) -> str:
        """The last line that tells an error."""
        self._thread.join(_STOP_LIMIT_S)
        lines = [line for line in self._last if line.strip()]
        errors = [line for line in lines if "Error: " in line or "Exception: " in line]
        return (errors or lines or [f"exit code {self._process.returncode}"])[-1].strip()

    def close(self) -> None:
        self._thread.join(_STOP_LIMIT_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            shown = redacted(line.rstrip())
            self._last.append(shown)
            self._log(shown)
