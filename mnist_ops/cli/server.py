"""``mnist-ops server``: MLflow's tracking server for a team, with safe settings."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click

from mnist_ops.cli.options import GroupedCommand, answer, json_option, log
from mnist_ops.core.errors import InvalidInput
from mnist_ops.core.redaction import redacted


@dataclass(frozen=True)
class Storage:
    """Storage of runs and artifacts."""

    backend_store_uri: str | None
    artifacts_destination: str


@dataclass(frozen=True)
class Network:
    """Network."""

    host: str
    port: int
    allowed_hosts: str
    cors_allowed_origins: str
    tls_cert: Path | None
    tls_key: Path | None
    behind_tls_proxy: bool


@dataclass(frozen=True)
class Users:
    """Access."""

    auth: bool
    admin_password_file: Path | None
    auth_database_uri: str | None


def _refuse_password(ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    source = ctx.get_parameter_source(option.name or "")
    by_hand = source == click.core.ParameterSource.COMMANDLINE
    if value and by_hand and redacted(value) != value:
        raise InvalidInput(
            f"{option.opts[0]} has a password, which every user of this machine could read there: "
            f"leave it out and set PGPASSWORD, or set {option.envvar} instead of the option"
        )
    return value


@click.command(cls=GroupedCommand, groups={"storage": Storage, "network": Network, "users": Users})
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    callback=_refuse_password,
    help="Database of the runs, as postgresql://USER@HOST/NAME. A password goes into PGPASSWORD, "
    "~/.pgpass, or MLFLOW_BACKEND_STORE_URI.  [default: mlflow.db in this folder]",
)
@click.option(
    "--artifacts-destination",
    default="mlartifacts",
    show_default=True,
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    help="Folder of the artifacts, or s3://BUCKET/PATH.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Its port."
)
@click.option("--auth", is_flag=True, help="Clients sign in with a user and a password.")
@click.option(
    "--admin-password-file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="File with the password of the user admin.  [default: MLFLOW_AUTH_ADMIN_PASSWORD]",
)
@click.option(
    "--auth-database-uri",
    envvar="MNIST_OPS_AUTH_DATABASE_URI",
    callback=_refuse_password,
    help="Database of the users.  [default: that of the runs; of SQLite, a file beside it]",
)
@click.option("--allowed-hosts", default="", help="Names that clients reach it under, with commas.")
@click.option(
    "--cors-allowed-origins", default="", help="Origins of other web pages that may write to it."
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Certificate (PEM), to speak TLS.",
)
@click.option(
    "--tls-key",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Its private key (PEM).",
)
@click.option("--behind-tls-proxy", is_flag=True, help="A proxy in front of it ends TLS.")
@json_option
def server(storage: Storage, network: Network, users: Users, as_json: bool) -> None:
    """Serve runs to a team: MLflow with one worker, by default on this machine only.

    Listening to the network needs --auth, TLS (here or in a proxy) and --allowed-hosts. SIGTERM or
    Ctrl-C ends it.
    """
    from mnist_ops import tracking
    from mnist_ops.ops.server.process import serve
    from mnist_ops.ops.server.settings import ServerSettings

    settings = ServerSettings(
        backend_store_uri=storage.backend_store_uri or tracking.sqlite_uri(Path("mlflow.db")),
        artifacts_destination=storage.artifacts_destination,
        host=network.host,
        port=network.port,
        auth=users.auth,
        auth_database_uri=users.auth_database_uri,
        admin_password=_password(users.admin_password_file),
        allowed_hosts=_listed(network.allowed_hosts),
        cors_allowed_origins=_listed(network.cors_allowed_origins),
        tls_certificate=network.tls_cert,
        tls_key=network.tls_key,
        behind_tls_proxy=network.behind_tls_proxy,
    )

    def ready(uri: str) -> None:
        if as_json:
            click.echo(json.dumps({"uri": uri, "pid": os.getpid()}))
        else:
            answer(f"Ready: MLFLOW_TRACKING_URI={uri}  (Ctrl-C ends it)")

    serve(settings, ready, log)
    log("The server has ended.")


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
