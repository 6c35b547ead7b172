"""The command line and environment of MLflow's server.

Every user of the machine can read a command line, so it has no secrets: passwords, and addresses
with passwords, are in the environment or in a file that only its owner can read.
"""

import os
import secrets
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit

from mnist_ops.ops.server.settings import ServerSettings

_SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"


def server_command(settings: ServerSettings) -> list[str]:
    """Return the command line of the server, without secrets."""
    uvicorn = ["--no-access-log", "--http", "mnist_ops.ops.server.own_origin:OwnOriginProtocol"]
    if settings.tls_certificate and settings.tls_key:
        uvicorn += ["--ssl-certfile", str(settings.tls_certificate)]
        uvicorn += ["--ssl-keyfile", str(settings.tls_key)]
    if settings.behind_tls_proxy:
        uvicorn += ["--proxy-headers"]
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", settings.host, "--port", str(settings.port)]
    # One worker: several are much slower, as their sockets lack TCP_NODELAY.
    command += ["--workers", "1"]
    command += ["--allowed-hosts", ",".join(_hosts(settings))]
    command += ["--cors-allowed-origins", ",".join(_origins(settings))]
    command += ["--uvicorn-opts", shlex.join(uvicorn)]
    return command + (["--app-name", "basic-auth"] if settings.auth else [])


def _hosts(settings: ServerSettings) -> list[str]:
    names = list(settings.allowed_hosts)
    if settings.loopback:
        names += ["localhost", "127.0.0.1", "[::1]"]
    # A client's Host header has the port, unless it is the default of the scheme.
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
    """Return the environment of the server.

    Args:
        settings: of the server.
        auth_config: MLflow's file of authentication settings; None without authentication.
    """
    # Variables of the user that would override the settings are removed.
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
        # No jobs of MLflow's GenAI part, which run code in processes of their own.
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
