"""Settings of the tracking server, checked for combinations that are not safe."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from mnist_ops.core.errors import InvalidInput

ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    Attributes:
        backend_store_uri: URI of the store of the runs: SQLite, PostgreSQL, or any that MLflow
            supports.
        artifacts_destination: folder or ``s3://BUCKET/PATH`` of the artifacts, which clients access
            through the server.
        host: address to listen on.
        port: 1 to 65535.
        auth: whether clients need a user and password.
        auth_database_uri: URI of the database of users; None is that of the backend store, or for
            SQLite a file beside it.
        admin_password: of the user ``admin``, used when that user is created.
        allowed_hosts: host names of the server for clients. On the loopback device, its own names
            are always allowed.
        cors_allowed_origins: other origins whose web pages may write through a browser.
        tls_certificate: PEM file; with `tls_key` the server uses TLS itself.
        tls_key: PEM file.
        behind_tls_proxy: whether a proxy in front of the server terminates TLS.

    Raises:
        InvalidInput: the settings contradict each other, or are not safe.
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
            raise InvalidInput("* would allow every web page: list the hosts and origins")
        if not self.loopback:
            self._check_public()
        if self.auth and not self.admin_password:
            raise InvalidInput(
                f"--auth needs a password for the user admin: set {ADMIN_PASSWORD}, or give its "
                "file with --admin-password-file"
            )

    def _check_public(self) -> None:
        public = f"listening on {self.host} opens the server to the network"
        if not self.auth:
            raise InvalidInput(f"{public}: add --auth, so that clients sign in")
        if not self.tls_certificate and not self.behind_tls_proxy:
            raise InvalidInput(
                f"{public}, and without TLS passwords are sent in plain text: add --tls-cert and "
                "--tls-key, or --behind-tls-proxy if a proxy in front terminates TLS"
            )
        if not self.allowed_hosts:
            raise InvalidInput(f"{public}: list its host names for clients with --allowed-hosts")

    @property
    def loopback(self) -> bool:
        """Return whether the server is reachable from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def uri(self) -> str:
        """Value of MLFLOW_TRACKING_URI for clients on this machine."""
        scheme = "https" if self.tls_certificate else "http"
        host = self.host
        if not self.loopback:
            host = self.allowed_hosts[0].split(":")[0]
        elif ":" in host:
            host = f"[{host}]"
        return f"{scheme}://{host}:{self.port}"
