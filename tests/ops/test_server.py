"""The tracking server: what it refuses, and how it starts, answers and ends."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
import services
from click.testing import CliRunner, Result
from requirements import require

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.server.access import restrict_access
from mnist_ops.ops.server.command import server_command, server_environment
from mnist_ops.ops.server.settings import ServerSettings

PUBLIC = ["--host", "0.0.0.0"]
TLS = ["--behind-tls-proxy"]
PASSWORD = "correct horse battery"


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["server", *arguments], env=environment, catch_exceptions=False)


def refused(result: Result, code: int = 2) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (PUBLIC, "add --auth"),
        ([*PUBLIC, "--auth"], "without TLS passwords are sent in plain text"),
        ([*PUBLIC, "--auth", *TLS], "--allowed-hosts"),
        (["--host", "::"], "add --auth"),
        (["--host", "192.168.1.2", *TLS], "add --auth"),
        (["--host", "tracking.example"], "add --auth"),
        (["--allowed-hosts", "*"], "* would allow every web page"),
        (["--cors-allowed-origins", "https://a.example,*"], "* would allow every web page"),
        (["--auth"], "MLFLOW_AUTH_ADMIN_PASSWORD"),
        (["--backend-store-uri", "postgresql://me:secret@127.0.0.1/x"], "PGPASSWORD"),
        (["--auth-database-uri", "postgresql://me:secret@127.0.0.1/x"], "PGPASSWORD"),
    ],
)
def test_unsafe_is_refused(home: Path, arguments: list[str], told: str) -> None:
    line = refused(call("--port", str(services.free_port()), *arguments))
    assert told in line
    assert "secret" not in line


def test_half_of_tls_is_refused(home: Path) -> None:
    (home / "cert.pem").touch()
    assert "go together" in refused(call("--tls-cert", "cert.pem"))


def test_taken_port_is_one_line(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = refused(call("--port", str(taken.getsockname()[1])), code=1)
    assert "cannot listen on 127.0.0.1 port" in line


def test_database_that_does_not_answer_is_one_line(home: Path) -> None:
    uri = "postgresql://me:secret@127.0.0.1:1/x"
    port = str(services.free_port())
    line = refused(call("--port", port, MLFLOW_BACKEND_STORE_URI=uri), code=1)
    assert "postgresql://me:***@127.0.0.1:1/x cannot be used" in line
    assert "secret" not in line


def test_bucket_that_does_not_answer_is_one_line(home: Path) -> None:
    require(importlib.util.find_spec("boto3"), "needs boto3: pip install boto3")
    arguments = ["--port", str(services.free_port()), "--artifacts-destination", "s3://runs/here"]
    environment = services.ACCESS_KEY | {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    line = refused(call(*arguments, **environment), code=1)
    assert "the bucket runs cannot be used" in line
    assert services.ACCESS_KEY["AWS_SECRET_ACCESS_KEY"] not in line


def settings(**changed: object) -> ServerSettings:
    known = {"backend_store_uri": "postgresql://me:secret@db/x", "artifacts_destination": "s3://x"}
    return ServerSettings(**known | changed)


def test_command_line_has_no_secret_and_one_worker() -> None:
    command = server_command(settings(auth=True, admin_password=PASSWORD))
    assert command[command.index("--workers") + 1] == "1"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert not any("secret" in part or PASSWORD in part for part in command)


def test_callers_environment_cannot_undo_safety(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
    monkeypatch.setenv("MLFLOW_UVICORN_OPTS", "--host 0.0.0.0")
    environment = server_environment(settings(), None)
    assert environment["MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"] == "false"
    assert "MLFLOW_UVICORN_OPTS" not in environment


def test_public_server_answers_to_its_names_alone() -> None:
    public = settings(
        host="0.0.0.0",
        auth=True,
        admin_password=PASSWORD,
        behind_tls_proxy=True,
        allowed_hosts=("tracking.example", "other.example:8443"),
    )
    command = server_command(public)
    hosts = command[command.index("--allowed-hosts") + 1].split(",")
    assert hosts == ["tracking.example", "other.example:8443", "tracking.example:5000"]
    origins = command[command.index("--cors-allowed-origins") + 1].split(",")
    assert origins == [f"https://{host}" for host in hosts]


def test_what_is_guarded_is_its_owners_alone(home: Path) -> None:
    users, runs = home / "basic_auth.db", home / "mlflow.db"
    for path in (users, runs):
        path.touch()
        path.chmod(0o644)
    artifacts = home / "mlartifacts"
    artifacts.mkdir(0o755)
    known = {"backend_store_uri": f"sqlite:///{runs}", "artifacts_destination": str(artifacts)}
    restrict_access(settings(**known))
    assert [path.stat().st_mode & 0o777 for path in (users, runs)] == [0o600, 0o644]
    restrict_access(settings(**known, auth=True, admin_password=PASSWORD))
    assert [p.stat().st_mode & 0o777 for p in (users, runs, artifacts)] == [0o600, 0o600, 0o700]


@pytest.mark.slow
def test_it_starts_answers_and_ends(home: Path) -> None:
    """On SQLite, without sign-in: what a first user types."""
    folder = home / "new"
    folder.mkdir()
    with services.mnist_ops_server(environment={}, folder=folder) as uri:
        assert tracking.cell_runs(tracking.connect(uri)).empty
        foreign = requests.get(
            f"{uri}/api/2.0/mlflow/experiments/search?max_results=1",
            headers={"Host": "evil.example"},
            timeout=10,
        )
        assert foreign.status_code == 403
        written = requests.post(
            f"{uri}/api/2.0/mlflow/experiments/create",
            json={"name": "x"},
            headers={"Origin": "https://evil.example"},
            timeout=10,
        )
        assert written.status_code == 403
        # A page of another port of this machine is as foreign; the server's own is not.
        for origin, status in (("http://localhost:1234", 403), ("null", 403), (uri, 200)):
            written = requests.post(
                f"{uri}/api/2.0/mlflow/experiments/create",
                json={"name": f"of {origin}"},
                headers={"Origin": origin},
                timeout=10,
            )
            assert written.status_code == status, origin
        client = tracking.connect(uri)
        run = client.create_run("0")
        client.log_text(run.info.run_id, "x", "x.txt")
        made = [folder / "mlflow.db", *(folder / "mlartifacts").rglob("*")]
        assert len(made) > 3
        assert not any(path.stat().st_mode & 0o077 for path in made)
        # 127.1 is 127.0.0.1 by a name that the server does not know.
        with pytest.raises(TrackingUnavailable, match="does not accept the host name") as caught:
            tracking.connect(uri.replace("127.0.0.1", "127.1"))
        assert "\n" not in str(caught.value)
    with pytest.raises(TrackingUnavailable, match="does not answer"):
        tracking.connect(uri)


@pytest.mark.slow
def test_ctrl_c_leaves_no_process(home: Path) -> None:
    command = [sys.executable, "-m", "mnist_ops", "server", "--port", str(services.free_port())]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ, text=True
    )
    assert process.stdout is not None
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:" in process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not any(child.is_running() for child in children)
