"""Real servers for the tests, as subprocesses: PostgreSQL, one that speaks S3, MLflow's own.

Each is a context manager that starts it on a free port of the loopback device, waits until it
answers, and ends it. Where one cannot be had, `MISSING` says why.
"""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ACCESS_KEY = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "only-for-loopback"}


def free_port() -> int:
    """Return a free port of the loopback device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them out of the path."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in versions), key=lambda p: int(p.parent.name), default=None)


def _missing() -> str:
    if _postgres_programs() is None:
        return "needs PostgreSQL's server: apt install postgresql"
    for module, package in (("psycopg", "psycopg[binary]"), ("moto", "moto[server]")):
        if importlib.util.find_spec(module) is None:
            return f"needs {package}: pip install -e '.[dev]'"
    return ""


# Why the team's servers cannot be had here; empty where they can.
MISSING = _missing()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Wait for a server; it must not end before, nor take longer than `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not ready():
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args} does not answer"
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Return whether a process listens on `port` of the loopback device."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of its own with a password; yields the URI of an empty database."""
    programs = _postgres_programs()
    assert programs is not None
    # It refuses to run as root; Debian's package brings a user for it, who must own its folder.
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="mnist-ops-postgres-"))
    password, port = secrets.token_hex(8), free_port()
    try:
        (folder / "password").write_text(password)
        if user:
            shutil.chown(folder, **user)
            shutil.chown(folder / "password", **user)
        data = folder / "data"
        make = [programs / "initdb", "-D", data, "-U", "mlflow", "--pwfile", folder / "password"]
        make += ["--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        run = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder]
        run += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        # The data live as long as a test.
        run += ["-c", "fsync=off", "-c", "shared_buffers=128MB"]
        process = subprocess.Popen(run, stderr=subprocess.DEVNULL, cwd=folder, **user)
        try:
            wait_until(lambda: listens(port), process, 60)
            uri = f"postgresql://mlflow:{password}@127.0.0.1:{port}"
            _make_database(f"{uri}/postgres")
            yield f"{uri}/mlflow"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_database(uri: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, isolation_level="AUTOCOMMIT")
    # It listens a moment before it lets anybody in.
    for _ in range(100):
        try:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text("CREATE DATABASE mlflow"))
            break
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.1)
    engine.dispose()


@contextmanager
def s3(bucket: str = "mnist-ops") -> Iterator[dict[str, str]]:
    """A server that speaks S3, with a bucket; yields the environment that its clients need."""
    import boto3

    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: listens(port), process, 60)
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCESS_KEY["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=bucket)
        region = {"AWS_DEFAULT_REGION": "us-east-1"}
        yield ACCESS_KEY | region | {"MLFLOW_S3_ENDPOINT_URL": endpoint}
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def mnist_ops_server(
    *arguments: str, environment: Mapping[str, str], folder: Path
) -> Iterator[str]:
    """``mnist-ops server`` on a free port, working in `folder`; yields its URI."""
    command = [sys.executable, "-m", "mnist_ops", "server", "--port", str(free_port()), "--json"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "server.log").read_text()
            yield json.loads(line)["uri"]
        finally:
            process.terminate()
            assert process.wait(30) == 0, (folder / "server.log").read_text()


@dataclass(frozen=True)
class Team:
    """The servers of a team, and how to sign in.

    Attributes:
        uri: of the tracking server.
        database: URI of its PostgreSQL database, password and all.
        user: may sign in.
        password: of `user`.
        folder: where the tracking server works and writes its log.
    """

    uri: str
    database: str
    user: str
    password: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a client."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": self.user,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }


@contextmanager
def team(folder: Path) -> Iterator[Team]:
    """PostgreSQL, S3 and the tracking server with sign-in, all on the loopback device."""
    password = secrets.token_hex(12)
    with postgres() as database, s3() as bucket:
        environment = bucket | {
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://mnist-ops/runs",
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        }
        with mnist_ops_server("--auth", environment=environment, folder=folder) as uri:
            yield Team(uri, database, "admin", password, folder)
