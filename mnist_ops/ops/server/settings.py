"""Settings of the tracking server, which refuse what would let in anybody uninvited."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from mnist_ops.core.errors import InvalidInput

ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"


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
                f"--auth needs a password for the user admin: set {ADMIN_PASSWORD}, or name its "
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
