"""Who may read what: permissions of files, and MLflow's settings of users and passwords."""

import tempfile
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

from mnist_ops import tracking
from mnist_ops.core import atomic_files
from mnist_ops.ops.server.settings import ServerSettings

# What a user who has signed in may do with the runs of others: add to their experiments, so that
# a team shares one grid, but delete nothing.
DEFAULT_PERMISSION = "EDIT"
# A password is checked with a slow hash at every request. Caching the answer for a minute makes
# writing several times faster, and a changed password counts at once all the same.
_AUTH_CACHE_S = 60


def restrict_access(settings: ServerSettings) -> None:
    """Take from others what they could read past the server: passwords' hashes, guarded runs."""
    stores = [auth_database(settings)]
    guarded = []
    if settings.auth:
        stores.append(settings.backend_store_uri)
        guarded.append(Path(settings.artifacts_destination))
    for path in (*filter(None, map(tracking.sqlite_path, stores)), *guarded):
        atomic_files.tighten(path)


@contextmanager
def auth_config(settings: ServerSettings) -> Iterator[Path | None]:
    """MLflow's file of sign-in settings, which nobody else can read, while the block runs."""
    if not settings.auth:
        yield None
        return
    # Interpolation would take a % in a password for its own.
    config = ConfigParser(interpolation=None)
    config["mlflow"] = _escaped(
        {
            "default_permission": DEFAULT_PERMISSION,
            "database_uri": auth_database(settings),
            "admin_username": "admin",
            "admin_password": settings.admin_password or "",
            "authorization_function": "mnist_ops.ops.server.auth:authenticate",
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


def auth_database(settings: ServerSettings) -> str:
    """Return the URI of the database of users."""
    if settings.auth_database_uri:
        return settings.auth_database_uri
    backend = settings.backend_store_uri
    # SQLite takes one writer at a time: signing in should not wait for runs being written.
    path = tracking.sqlite_path(backend)
    return backend if path is None else tracking.sqlite_uri(path.with_name("basic_auth.db"))
